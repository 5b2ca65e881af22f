//! What a condition cannot do without.

use eql::ast::{Comparison, Literal};
use eql::{Expr, ExprKind};

/// What a document can have for a rule to be asked.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Atom {
    /// `file.path` as a whole.
    Path,
    /// A directory at the beginning of `file.path`, with its final `/`.
    Directory,
    /// A part of `file.path` after a `/`.
    Component,
    /// `file.name`
    Name,
    /// `file.extension`
    Extension,
}

impl Atom {
    pub(super) const COUNT: usize = Self::Extension as usize + 1;
}

/// The atoms of which `expr` needs one, or nothing if it can be true without any.
pub(super) fn needed(expr: &Expr) -> Option<Vec<(Atom, &str)>> {
    match &expr.kind {
        ExprKind::And(parts) => parts.iter().filter_map(needed).min_by_key(Vec::len),
        ExprKind::Or(parts) => parts.iter().map(needed).try_fold(Vec::new(), |mut all, part| {
            all.extend(part?);
            Some(all)
        }),
        ExprKind::Compare { operator: Comparison::Equal, left, right } => match (&left.kind, &right.kind) {
            (ExprKind::Field(field), ExprKind::Constant(Literal::String(text))) => {
                atom(&field.name, text, false).map(|atom| vec![atom])
            }
            _ => None,
        },
        ExprKind::In { subject, negated: false, list, .. } => {
            let ExprKind::Field(field) = &subject.kind else { return None };
            let texts = list.iter().map(|constant| match &constant.value {
                Literal::String(text) => atom(&field.name, text, false),
                _ => None,
            });
            texts.collect()
        }
        ExprKind::Match { subject, operator, patterns } if !operator.is_regex() => {
            let ExprKind::Field(field) = &subject.kind else { return None };
            patterns.iter().map(|pattern| atom(&field.name, &pattern.text, true)).collect()
        }
        _ => None,
    }
}

/// What a document must have for `field` to equal or match `text`.
fn atom<'t>(field: &str, text: &'t str, wildcards: bool) -> Option<(Atom, &'t str)> {
    let literal = |text: &str| !wildcards || !text.contains(['*', '?']);
    let whole = |atom: Atom| literal(text).then_some((atom, text));
    match field {
        "file.name" => whole(Atom::Name),
        "file.extension" => whole(Atom::Extension),
        "file.path" if literal(text) => whole(Atom::Path),
        "file.path" => {
            let beginning = text.split(['*', '?']).next().unwrap_or_default();
            let directory = beginning.rfind('/').map_or("", |slash| &beginning[..=slash]);
            let components = text.split('/').skip(1).filter(|part| !part.is_empty() && literal(part));
            // A directory says more than a name that can be anywhere, and the root says nothing.
            if directory.len() > 1 {
                Some((Atom::Directory, directory))
            } else {
                let longest = components.max_by_key(|component| component.len());
                longest.map(|component| (Atom::Component, component))
            }
        }
        _ => None,
    }
}
