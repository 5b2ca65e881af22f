//! A query made ready to be evaluated.

mod call;
mod explain;
mod node;

pub(crate) use call::{Call, Function, Network};
pub use explain::Explanation;
pub(crate) use explain::collapsed;
pub(crate) use node::{
    Constants, Node, NodeKind, Operand, Ordered, Scalar, Test, any_scalar, constant_values, with_text,
};

use crate::fields::FieldId;
use crate::span::Span;
use crate::text::TextSet;
use crate::value::{Document, Value};

/// A compiled query.
///
/// Evaluation is total: it has no error, and its time is bounded by the sizes of query and event.
#[derive(Debug)]
pub struct Program {
    pub(crate) source: Box<str>,
    /// `event.category` and the name it must have; nothing for `any`.
    pub(crate) category: Option<(FieldId, TextSet)>,
    pub(crate) clauses: Box<[Clause]>,
    /// The conjuncts of the condition, in source order.
    pub(crate) conjuncts: Box<[Conjunct]>,
    /// Indices into `conjuncts`, the cheap ones first.
    pub(crate) order: Box<[usize]>,
    /// The fields that are read, in the order of their numbers.
    pub(crate) fields: Box<[FieldId]>,
    /// Their names.
    pub(crate) names: Box<[Box<str>]>,
}

/// An operand of the topmost `and`.
#[derive(Debug)]
pub(crate) struct Conjunct {
    pub(crate) span: Span,
    pub(crate) kind: ClauseKind,
    /// The first of its clauses.
    pub(crate) clause: usize,
    /// A condition has one node, an exclusion one for each of its clauses.
    pub(crate) nodes: Box<[Node]>,
}

/// The number of a clause: its index in [`Program::clauses`].
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct ClauseId(pub(crate) usize);

impl ClauseId {
    /// The index in [`Program::clauses`].
    pub fn index(self) -> usize {
        self.0
    }
}

/// A part of a query that can decide by itself that an event does not match.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Clause {
    /// Its source text, runs of blanks and comments collapsed to one space.
    pub text: String,
    /// Where it stands.
    pub span: Span,
    /// How it decides.
    pub kind: ClauseKind,
}

/// How a clause decides.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum ClauseKind {
    /// The event matches only if the clause holds.
    Condition,
    /// The event matches only if the clause does not hold: it is an operand of the `or` in a `not (… or …)`.
    Exclusion,
}

/// What a program says about an event.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Verdict {
    /// The event matches.
    Match,
    /// This condition, the first such in the source, does not hold. Clause 0 is the category.
    NoMatch(ClauseId),
    /// All conditions hold, but so does this exclusion, the first such in the source.
    Excluded(ClauseId),
}

impl Program {
    /// Whether the event is of the query's category and fulfils its condition.
    pub fn matches<D: Document + ?Sized>(&self, document: &D) -> bool {
        self.is_of_category(document) && self.order.iter().all(|index| self.conjuncts[*index].holds(document))
    }

    /// Whether the event matches, and if not, which clause decided that.
    pub fn verdict<D: Document + ?Sized>(&self, document: &D) -> Verdict {
        if !self.is_of_category(document) {
            return Verdict::NoMatch(ClauseId(0));
        }
        let of_kind = |kind| self.conjuncts.iter().filter(move |conjunct| conjunct.kind == kind);
        for condition in of_kind(ClauseKind::Condition) {
            if !condition.holds(document) {
                return Verdict::NoMatch(ClauseId(condition.clause));
            }
        }
        for exclusion in of_kind(ClauseKind::Exclusion) {
            if let Some(index) = exclusion.nodes.iter().position(|node| node.holds(document)) {
                return Verdict::Excluded(ClauseId(exclusion.clause + index));
            }
        }
        Verdict::Match
    }

    /// As [`Program::verdict`], where some of what `document` says is not to be relied upon: `without` is the event that says
    /// something else there. A condition has to hold for one of the two, an exclusion for both.
    pub fn verdict_without<D, W>(&self, document: &D, without: &W) -> Verdict
    where
        D: Document + ?Sized,
        W: Document + ?Sized,
    {
        if !self.is_of_category(document) && !self.is_of_category(without) {
            return Verdict::NoMatch(ClauseId(0));
        }
        for conjunct in &self.conjuncts {
            if conjunct.kind == ClauseKind::Condition
                && !conjunct.nodes.iter().all(|node| node.holds(document) || node.holds(without))
            {
                return Verdict::NoMatch(ClauseId(conjunct.clause));
            }
        }
        for conjunct in self.conjuncts.iter().filter(|conjunct| conjunct.kind == ClauseKind::Exclusion) {
            let holds = |node: &Node| node.holds(document) && node.holds(without);
            if let Some(index) = conjunct.nodes.iter().position(holds) {
                return Verdict::Excluded(ClauseId(conjunct.clause + index));
            }
        }
        Verdict::Match
    }

    /// The clauses that read one of `fields`, in source order.
    pub fn clauses_that_read(&self, fields: &[FieldId]) -> Vec<ClauseId> {
        let mut found = Vec::new();
        if self.category.as_ref().is_some_and(|(field, _)| fields.contains(field)) {
            found.push(ClauseId(0));
        }
        for conjunct in &self.conjuncts {
            for (index, node) in conjunct.nodes.iter().enumerate() {
                let mut reads = false;
                node.for_each_field(&mut |field| reads |= fields.contains(&field));
                if reads {
                    found.push(ClauseId(conjunct.clause + index));
                }
            }
        }
        found
    }

    /// All clauses, in source order. Clause 0 is the category.
    pub fn clauses(&self) -> &[Clause] {
        &self.clauses
    }

    /// One clause.
    ///
    /// # Panics
    /// If `id` comes from another program that has more clauses.
    pub fn clause(&self, id: ClauseId) -> &Clause {
        &self.clauses[id.0]
    }

    /// The fields that are read, each once, in the order of their numbers.
    pub fn fields(&self) -> &[FieldId] {
        &self.fields
    }

    /// The text of the query.
    pub fn source(&self) -> &str {
        &self.source
    }

    fn is_of_category<D: Document + ?Sized>(&self, document: &D) -> bool {
        let Some((field, names)) = &self.category else {
            return true;
        };
        match document.field(*field) {
            Value::String(category) => names.contains(category),
            value => any_scalar(
                value,
                &mut |scalar| matches!(scalar, Scalar::String(text) if names.contains(text)),
            ),
        }
    }
}

impl Conjunct {
    fn holds<D: Document + ?Sized>(&self, document: &D) -> bool {
        match self.kind {
            ClauseKind::Condition => self.nodes.iter().all(|node| node.holds(document)),
            ClauseKind::Exclusion => !self.nodes.iter().any(|node| node.holds(document)),
        }
    }
}
