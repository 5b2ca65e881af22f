//! Rules by the action or type that they ask for.

use std::collections::HashMap;
use std::hash::BuildHasherDefault;

use eql::{Expr, ExprKind, Value};

use super::hash::{Identity, fingerprint};
use super::{RuleBits, set};
use crate::detect::check;

/// Rules that ask for one of a few texts in a field.
#[derive(Debug)]
pub(super) struct Restriction {
    texts: HashMap<u64, RuleBits, BuildHasherDefault<Identity>>,
    /// Those that do not ask.
    unrestricted: RuleBits,
}

/// The rules that a field's value leaves, beside those that do not ask for it.
pub(super) enum Allowed<'i> {
    These(&'i [u64]),
    None,
    /// The value is of a kind that the index does not understand.
    All,
}

impl Restriction {
    /// `none` is a set without rules.
    pub(super) fn new(none: RuleBits) -> Self {
        Self { texts: HashMap::default(), unrestricted: none }
    }

    pub(super) fn add(
        &mut self,
        condition: &Expr,
        field: &str,
        rule: usize,
        none: impl Fn() -> RuleBits + Copy,
    ) {
        let conjuncts = match &condition.kind {
            ExprKind::And(parts) => parts.as_slice(),
            _ => std::slice::from_ref(condition),
        };
        match conjuncts.iter().find_map(|conjunct| check::equals_one_of(conjunct, field)) {
            None => set(&mut self.unrestricted, rule),
            Some(texts) => texts.into_iter().for_each(|text| {
                set(self.texts.entry(fingerprint(text.as_bytes())).or_insert_with(none), rule);
            }),
        }
    }

    /// What a document leaves in which the field has this value.
    pub(super) fn of(&self, value: Value<'_>) -> Allowed<'_> {
        match value {
            Value::Missing => Allowed::None,
            Value::String(text) => self
                .texts
                .get(&fingerprint(text.as_bytes()))
                .map_or(Allowed::None, |rules| Allowed::These(rules)),
            Value::Array(array) if array.len() == 1 => self.of(array.get(0)),
            Value::Array(_) | Value::Bool(_) | Value::Integer(_) | Value::Float(_) => Allowed::All,
        }
    }

    /// A word of the set of rules that are left.
    pub(super) fn word(&self, word: usize, allowed: &Allowed<'_>) -> u64 {
        match allowed {
            Allowed::These(rules) => self.unrestricted[word] | rules[word],
            Allowed::None => self.unrestricted[word],
            Allowed::All => u64::MAX,
        }
    }
}
