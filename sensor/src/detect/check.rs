//! What can be read from a rule's query before there is an event.

use std::collections::BTreeSet;

use eql::ast::{Comparison, Literal};
use eql::{Expr, ExprKind, Query};

use super::pushdown;
use crate::ecs::{self, Field};
use crate::event::Action;
use crate::filter::Filters;
use crate::rule::{Diagnostic, Level, Rule};

/// Warnings about a rule that could silently never fire, or that costs more than it needs to: `filters` is what the
/// kernel passes for it.
pub(super) fn rule_warnings(rule: &Rule, filters: &Filters) -> Vec<Diagnostic> {
    let mut warnings = field_warnings(&rule.query, &|error| rule.diagnostic(Level::Warning, error));
    warnings.extend(never_fires(rule, filters));
    let everything = |action: &Action| filters.get(*action).is_some_and(|filter| filter.everything);
    let actions: Vec<_> = filters.actions().filter(everything).map(ecs::action).collect();
    if !actions.is_empty() {
        warnings.push(cost_warning(rule, &actions));
    }
    warnings
}

/// A warning if a rule asks for what no hook reports.
fn never_fires(rule: &Rule, filters: &Filters) -> Option<Diagnostic> {
    let actions: Vec<_> = ecs::ACTIONS.iter().map(|action| ecs::action(*action)).collect();
    let types: Vec<_> = ecs::ACTIONS.iter().flat_map(|action| ecs::event_type(*action)).copied().collect();
    never_warning(rule, "event.action", &actions)
        .or_else(|| never_warning(rule, "event.type", &types))
        .or_else(|| (filters.actions().next().is_none()).then(|| never_true_warning(rule)))
}

/// A warning for each field that the sensor never fills.
pub(super) fn field_warnings(
    query: &Query,
    diagnostic: &dyn Fn(&eql::Error) -> Diagnostic,
) -> Vec<Diagnostic> {
    let mut seen = BTreeSet::new();
    let mut warnings = Vec::new();
    for (field, span) in query.fields() {
        if Field::from_name(&field.name).is_some() || !seen.insert(&field.name) {
            continue;
        }
        let message = format!("the sensor never fills `{}`: it is always missing here", field.name);
        let nearest = Field::ALL
            .iter()
            .map(|known| (strsim::levenshtein(known.name(), &field.name), known.name()))
            .min();
        let help = match nearest.filter(|(distance, _)| *distance <= 1 + field.name.len() / 6) {
            Some((_, name)) => format!("did you mean `{name}`?"),
            None => "a condition on it never holds, an exclusion by it never excludes".to_owned(),
        };
        warnings.push(diagnostic(&eql::Error::new(message, span).with_help(help)));
    }
    warnings
}

/// A warning if a rule asks for values of `field` of which the sensor reports none.
fn never_warning(rule: &Rule, field: &str, reported: &[&str]) -> Option<Diagnostic> {
    conjuncts(rule).iter().find_map(|conjunct| {
        let asked = equals_one_of(conjunct, field)?;
        if asked.iter().any(|value| reported.contains(value)) {
            return None;
        }
        let message = format!("no hook reports `{}`: the rule never fires", asked.join("`, `"));
        let help = format!("the sensor reports `{}` in `{field}`", reported.join("`, `"));
        Some(rule.diagnostic(Level::Warning, &eql::Error::new(message, conjunct.span).with_help(help)))
    })
}

/// A warning that nothing of what the sensor reports makes a rule true, at the part that is to blame, if it is one.
fn never_true_warning(rule: &Rule) -> Diagnostic {
    let never = |part: &Expr| {
        let filters = ecs::ACTIONS.iter().map(|action| pushdown::derive_part(&rule.query, part, *action));
        filters.into_iter().all(|filter| filter.is_some_and(|filter| filter.is_empty()))
    };
    let part = conjuncts(rule).iter().find(|part| never(part)).unwrap_or(rule.query.condition());
    let message = "no event of the sensor makes this true: the rule never fires";
    let help = "ask for what the sensor reports, or leave the rule out";
    rule.diagnostic(Level::Warning, &eql::Error::new(message, part.span).with_help(help))
}

/// What all must hold.
fn conjuncts(rule: &Rule) -> &[Expr] {
    match &rule.query.condition().kind {
        ExprKind::And(parts) => parts,
        _ => std::slice::from_ref(rule.query.condition()),
    }
}

/// A warning that every event of these actions has to be looked at because of a rule.
fn cost_warning(rule: &Rule, actions: &[&str]) -> Diagnostic {
    let fields = rule.query.fields();
    let about_file = fields.iter().find(|(field, _)| field.name.starts_with("file."));
    let span = about_file.or(fields.first()).map_or(rule.query.category_span(), |(_, span)| *span);
    let message = format!(
        "the kernel cannot tell which files this rule is about: it passes every {} on",
        actions.join(" and every ")
    );
    let help = "ask for a `file.name` or `file.extension`, or for a `file.path` with the whole name of a directory, or of \
                a file or its end behind the last wildcard";
    rule.diagnostic(Level::Warning, &eql::Error::new(message, span).with_help(help))
}

/// The texts of which `field` must equal one for `expr` to hold, if that is what it says.
pub(super) fn equals_one_of<'q>(expr: &'q Expr, field: &str) -> Option<Vec<&'q str>> {
    let is_field = |expr: &Expr| matches!(&expr.kind, ExprKind::Field(found) if found.name == field);
    match &expr.kind {
        ExprKind::Compare { operator: Comparison::Equal, left, right } if is_field(left) => match &right.kind
        {
            ExprKind::Constant(Literal::String(text)) => Some(vec![text]),
            _ => None,
        },
        ExprKind::In { subject, negated: false, list, .. } if is_field(subject) => list
            .iter()
            .map(|constant| match &constant.value {
                Literal::String(text) => Some(text.as_str()),
                _ => None,
            })
            .collect(),
        _ => None,
    }
}

/// Whether `expr` compares `field` with `value` anywhere.
pub(super) fn names(expr: &Expr, field: &str, value: &str) -> bool {
    let mut named = false;
    for_each_text(expr, field, &mut |text| named |= text == value);
    named
}

/// The directories that the rules' literal paths and patterns begin with, `/etc/` and `/etc/ld.so.conf.d/` for
/// `/etc/ld.so.conf.d/*`. Wildcards in them stay as they are: each matches its own character.
pub(super) fn directories(rules: &[Rule]) -> Vec<String> {
    let mut found = BTreeSet::new();
    for rule in rules {
        for_each_text(rule.query.condition(), "file.path", &mut |path| {
            found.extend(path.match_indices('/').map(|(slash, _)| path[..=slash].to_owned()));
        });
    }
    found.into_iter().collect()
}

/// Calls `visit` with each text that `field` is compared with in `expr`.
fn for_each_text<'q>(expr: &'q Expr, field: &str, visit: &mut dyn FnMut(&'q str)) {
    let is_field = |expr: &Expr| matches!(&expr.kind, ExprKind::Field(found) if found.name == field);
    match &expr.kind {
        ExprKind::Constant(_) | ExprKind::Field(_) => {}
        ExprKind::Not(operand) | ExprKind::Negate(operand) => for_each_text(operand, field, visit),
        ExprKind::And(parts) | ExprKind::Or(parts) | ExprKind::Call { arguments: parts, .. } => {
            for part in parts {
                for_each_text(part, field, visit);
            }
            if matches!(expr.kind, ExprKind::Call { .. }) && parts.iter().any(is_field) {
                parts.iter().filter_map(text_of).for_each(&mut *visit);
            }
        }
        ExprKind::Compare { left, right, .. } | ExprKind::Arithmetic { left, right, .. } => {
            if is_field(left) {
                text_of(right).into_iter().for_each(&mut *visit);
            } else if is_field(right) {
                text_of(left).into_iter().for_each(&mut *visit);
            }
            for_each_text(left, field, visit);
            for_each_text(right, field, visit);
        }
        ExprKind::In { subject, list, .. } => {
            if is_field(subject) {
                for constant in list {
                    if let Literal::String(text) = &constant.value {
                        visit(text);
                    }
                }
            }
            for_each_text(subject, field, visit);
        }
        ExprKind::Match { subject, patterns, .. } => {
            if is_field(subject) {
                patterns.iter().map(|pattern| pattern.text.as_str()).for_each(&mut *visit);
            }
            for_each_text(subject, field, visit);
        }
    }
}

fn text_of(expr: &Expr) -> Option<&str> {
    match &expr.kind {
        ExprKind::Constant(Literal::String(text)) => Some(text),
        _ => None,
    }
}
