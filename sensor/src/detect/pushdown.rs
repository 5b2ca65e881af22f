//! From a rule's query to the kernel's filter: names without which the rule cannot match.
//!
//! A condition gives, for an action, a filter that passes whatever makes the condition true, or none if that can be
//! anything. Of an `and` the narrowest part suffices, of an `or` all parts are needed, and a `not` exchanges the two. A
//! part that reads only what is the same in all events of the action is asked once, here.

use std::collections::BTreeSet;

use eql::ast::{Comparison, Literal};
use eql::{Expr, ExprKind, Fields, Query, Value};

use crate::ecs;
use crate::event::Action;
use crate::filter::Filter;

/// A filter that passes every event of `action` that `query` is true for, or `None`: that can be any event.
pub(super) fn derive(query: &Query, action: Action) -> Option<Filter> {
    derive_part(query, query.condition(), action)
}

/// The same for a part of a query's condition.
pub(super) fn derive_part(query: &Query, part: &Expr, action: Action) -> Option<Filter> {
    Scope { source: query.source(), action }.derive(part, true)
}

struct Scope<'q> {
    source: &'q str,
    action: Action,
}

impl Scope<'_> {
    /// What has to pass for `expr` to have the truth that is `wanted`.
    fn derive(&self, expr: &Expr, wanted: bool) -> Option<Filter> {
        if let Some(truth) = self.constant(expr) {
            return if truth == wanted { None } else { Some(Filter::default()) };
        }
        match &expr.kind {
            ExprKind::Not(operand) => self.derive(operand, !wanted),
            ExprKind::And(parts) if wanted => self.narrowest(parts, wanted),
            ExprKind::Or(parts) if !wanted => self.narrowest(parts, wanted),
            ExprKind::And(parts) | ExprKind::Or(parts) => {
                parts.iter().try_fold(Filter::default(), |mut all, part| {
                    all.extend(self.derive(part, wanted)?);
                    Some(all)
                })
            }
            ExprKind::Compare { operator, left, right } => {
                let equal = if wanted { Comparison::Equal } else { Comparison::NotEqual };
                let (subject, text) = text_and_other(left, right)?;
                (*operator == equal).then(|| names(subject, [vec![text]]))?
            }
            ExprKind::In { subject, negated, list, .. } if *negated != wanted => {
                let texts = list.iter().map(|constant| text_of(&constant.value).map(|text| vec![text]));
                names(subject, texts.collect::<Option<Vec<_>>>()?)
            }
            ExprKind::Match { subject, operator, patterns } if wanted && !operator.is_regex() => {
                names(subject, patterns.iter().map(|pattern| pattern.text.split(['*', '?']).collect()))
            }
            ExprKind::Call { function, arguments, .. } if wanted => {
                let [subject, Expr { kind: ExprKind::Constant(literal), .. }] = arguments.as_slice() else {
                    return None;
                };
                match function.to_ascii_lowercase().as_str() {
                    "startswith" => names(subject, [vec![text_of(literal)?, ""]]),
                    "endswith" => names(subject, [vec!["", text_of(literal)?]]),
                    _ => None,
                }
            }
            _ => None,
        }
    }

    fn narrowest(&self, parts: &[Expr], wanted: bool) -> Option<Filter> {
        let filters: Vec<_> = parts.iter().filter_map(|part| self.derive(part, wanted)).collect();
        if filters.iter().any(Filter::is_empty) {
            // A part that is never so.
            return Some(Filter::default());
        }
        // What is the narrowest need not know of directories that are renamed.
        let above: BTreeSet<_> = filters.iter().flat_map(|filter| filter.above.iter().cloned()).collect();
        filters.into_iter().min_by_key(cost).map(|filter| Filter { above, ..filter })
    }

    /// The truth of an expression that has the same for all events of the action.
    fn constant(&self, expr: &Expr) -> Option<bool> {
        let mut same = true;
        expr.for_each_field(&mut |field, _| same &= ecs::constant(self.action, &field.name).is_some());
        if !same {
            return None;
        }
        let mut fields = Fields::default();
        let program = Query::parse_condition(expr.span.of(self.source)).ok()?.compile(&mut fields).ok()?;
        let values = fields.iter().map(|(_, name)| ecs::constant(self.action, name));
        Some(program.matches(&Constants(values.map(Option::unwrap_or_default).collect())))
    }
}

struct Constants(Vec<Value<'static>>);

impl eql::Document for Constants {
    fn field(&self, id: eql::FieldId) -> Value<'_> {
        self.0.get(id.index()).copied().unwrap_or_default()
    }
}

/// A rough measure of how much passes, and of what it takes to find out. Few files have one certain name.
fn cost(filter: &Filter) -> usize {
    filter.entries.len() + 64 * (filter.beginnings.len() + filter.ends.len()) + 128 * filter.directories.len()
}

fn text_and_other<'e>(left: &'e Expr, right: &'e Expr) -> Option<(&'e Expr, &'e str)> {
    match (&left.kind, &right.kind) {
        (_, ExprKind::Constant(literal)) => Some((left, text_of(literal)?)),
        (ExprKind::Constant(literal), _) => Some((right, text_of(literal)?)),
        _ => None,
    }
}

fn text_of(literal: &Literal) -> Option<&str> {
    match literal {
        Literal::String(text) => Some(text),
        _ => None,
    }
}

/// What `subject` can be if it is one of `texts`. Each is what stands between wildcards: the first piece begins the
/// value, the last one ends it, a single one is all of it.
fn names<'t>(subject: &Expr, texts: impl IntoIterator<Item = Vec<&'t str>>) -> Option<Filter> {
    let ExprKind::Field(field) = &subject.kind else { return None };
    let part = field.name.strip_prefix("file.")?;
    let of_original = part.strip_prefix("Ext.original.");
    let add = match of_original.unwrap_or(part) {
        "path" => add_path,
        "name" => add_name,
        "extension" => add_extension,
        _ => return None,
    };
    let mut filter = Filter { original: of_original.is_some(), ..Filter::default() };
    for pieces in texts {
        // Stands for bytes that are not UTF-8, and those are what the kernel sees.
        if pieces.iter().any(|piece| piece.contains(char::REPLACEMENT_CHARACTER)) {
            return None;
        }
        add(&mut filter, &pieces)?;
    }
    Some(filter)
}

fn add_path(filter: &mut Filter, pieces: &[&str]) -> Option<()> {
    filter.above.extend(directories(pieces).map(Into::into));
    let last = pieces.last()?;
    let (_, end) = last.rsplit_once('/').unwrap_or(("", last));
    if pieces.len() == 1 || end.len() < last.len() {
        // No file has an empty name: what asks for one never matches. Mounts can be at the root.
        if !end.is_empty() || *last == "/" {
            filter.entries.insert(if end.is_empty() { "/" } else { end }.into());
        }
        return Some(());
    }
    match directories(pieces).max_by_key(|name| name.len()) {
        Some(directory) if directory.len() > end.len() => filter.directories.insert(directory.into()),
        _ if end.is_empty() => return None,
        _ => filter.ends.insert(end.into()),
    };
    Some(())
}

/// Names of directories: what is between two slashes is the whole name of one.
fn directories<'p>(pieces: &[&'p str]) -> impl Iterator<Item = &'p str> {
    pieces.iter().flat_map(|piece| {
        let within = piece.split_once('/').and_then(|(_, rest)| rest.rsplit_once('/'));
        within.into_iter().flat_map(|(names, _)| names.split('/')).filter(|name| !name.is_empty())
    })
}

fn add_name(filter: &mut Filter, pieces: &[&str]) -> Option<()> {
    match pieces {
        // As above.
        [""] => {}
        [name] => {
            filter.entries.insert((*name).into());
        }
        [beginning, .., end] if beginning.len() > end.len() => {
            filter.beginnings.insert((*beginning).into());
        }
        [.., end] if !end.is_empty() => {
            filter.ends.insert((*end).into());
        }
        _ => return None,
    }
    Some(())
}

fn add_extension(filter: &mut Filter, pieces: &[&str]) -> Option<()> {
    match pieces {
        [""] => {}
        [extension] => {
            filter.ends.insert(format!(".{extension}").into());
        }
        [.., end] if !end.is_empty() => {
            filter.ends.insert((*end).into());
        }
        _ => return None,
    }
    Some(())
}

#[cfg(test)]
mod tests;
