//! From a rule's query to the kernel's filter: names without which the rule cannot match.
//!
//! A condition gives a filter that passes whatever makes the condition true, or none if it does not depend on a name.
//! Of an `and` the narrowest part suffices, of an `or` all parts are needed.

use eql::ast::{Comparison, Literal};
use eql::{Expr, ExprKind};

use crate::filter::Filter;

/// What a pattern is compared with.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Subject {
    Path,
    Name,
}

/// A filter that passes every event that `expr` is true for, or `None`: that can be any event.
pub(super) fn derive(expr: &Expr) -> Option<Filter> {
    match &expr.kind {
        ExprKind::And(parts) => parts.iter().filter_map(derive).min_by_key(cost),
        ExprKind::Or(parts) => parts.iter().map(derive).try_fold(Filter::default(), |mut all, part| {
            all.extend(part?);
            Some(all)
        }),
        ExprKind::Compare { operator: Comparison::Equal, left, right } => match (&left.kind, &right.kind) {
            (_, ExprKind::Constant(Literal::String(text))) => texts(left, [text.as_str()], false),
            (ExprKind::Constant(Literal::String(text)), _) => texts(right, [text.as_str()], false),
            _ => None,
        },
        ExprKind::In { subject, negated: false, list, .. } => {
            let list: Option<Vec<_>> = list
                .iter()
                .map(|constant| match &constant.value {
                    Literal::String(text) => Some(text.as_str()),
                    _ => None,
                })
                .collect();
            texts(subject, list?, false)
        }
        ExprKind::Match { subject, operator, patterns } if !operator.is_regex() => {
            texts(subject, patterns.iter().map(|pattern| pattern.text.as_str()), true)
        }
        _ => None,
    }
}

/// Names of directories are looked for at every level, so they cost more.
fn cost(filter: &Filter) -> usize {
    filter.entries.len() + 8 * filter.directories.len()
}

fn texts<'t>(subject: &Expr, texts: impl IntoIterator<Item = &'t str>, wildcards: bool) -> Option<Filter> {
    let ExprKind::Field(field) = &subject.kind else { return None };
    let (subject, original) = match field.name.as_str() {
        "file.path" => (Subject::Path, false),
        "file.name" => (Subject::Name, false),
        "file.Ext.original.path" => (Subject::Path, true),
        "file.Ext.original.name" => (Subject::Name, true),
        _ => return None,
    };
    let mut filter = Filter { original, ..Filter::default() };
    for text in texts {
        add(&mut filter, text, subject, wildcards)?;
    }
    Some(filter)
}

/// Adds the name that a text or pattern cannot do without.
fn add(filter: &mut Filter, text: &str, subject: Subject, wildcards: bool) -> Option<()> {
    let is_literal = |part: &str| !wildcards || !part.contains(['*', '?']);
    // Stands for bytes that are not UTF-8, and those are what the kernel sees.
    if text.contains(char::REPLACEMENT_CHARACTER) {
        return None;
    }
    let mut parts: Vec<_> = match subject {
        Subject::Path => text.split('/').collect(),
        Subject::Name => vec![text],
    };
    let last = parts.pop().unwrap_or_default();
    if is_literal(last) {
        // No file has an empty name: what asks for one never matches.
        if !last.is_empty() {
            filter.entries.insert(last.as_bytes().to_vec());
        }
        return Some(());
    }
    // Between two slashes there is the whole name of a directory. The first part has none before it.
    let directory = parts.into_iter().skip(1).filter(|part| !part.is_empty() && is_literal(part));
    filter.directories.insert(directory.max_by_key(|part| part.len())?.as_bytes().to_vec());
    Some(())
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn filter(condition: &str) -> Option<Filter> {
        derive(eql::Query::parse_condition(condition).unwrap().condition())
    }

    fn names(names: &[&str]) -> std::collections::BTreeSet<Vec<u8>> {
        names.iter().map(|name| name.as_bytes().to_vec()).collect()
    }

    #[test]
    fn a_path_asks_for_its_last_name_and_a_pattern_for_a_directory() {
        let filter =
            filter(r#"file.path : ("/etc/ld.so.preload", "/etc/ld.so.conf.d/*", "*/x/b*")"#).unwrap();
        assert_eq!(filter.entries, names(&["ld.so.preload"]));
        assert_eq!(filter.directories, names(&["ld.so.conf.d", "x"]));
        assert!(!filter.original && !filter.everything);
    }

    #[test]
    fn the_narrowest_part_of_an_and_is_enough_and_an_or_needs_all() {
        let both = filter(r#"file.path : "/etc/*" and file.name in ("a", "b")"#).unwrap();
        assert_eq!((both.entries, both.directories), (names(&["a", "b"]), names(&[])));
        let either = filter(r#"file.path == "/etc/x*" or file.Ext.original.name == "b""#).unwrap();
        assert_eq!(either.entries, names(&["b", "x*"]));
        assert!(either.original);
    }

    #[test]
    fn what_does_not_name_a_name_cannot_be_pushed_down() {
        for condition in [
            r#"process.name == "x""#,
            r#"file.path : "*.so""#,
            r#"file.path regex "/etc/.*""#,
            r#"not file.path == "/a""#,
            r#"file.path != "/a""#,
            r#"file.path == "/a" or process.name == "x""#,
        ] {
            assert_eq!(filter(condition), None, "{condition}");
        }
    }

    struct OnePath<'p>(&'p str, eql::FieldId);

    impl eql::Document for OnePath<'_> {
        fn field(&self, id: eql::FieldId) -> eql::Value<'_> {
            if id == self.1 { eql::Value::String(self.0) } else { eql::Value::Missing }
        }
    }

    proptest! {
        /// Never dismisses what a rule matches.
        #[test]
        fn the_filter_passes_whatever_matches(
            patterns in proptest::collection::vec("(/?[abB*?.]{0,3}){1,4}", 1..4),
            path in "(/[abAB.]{1,3}){1,5}",
            operator in prop::sample::select(vec![":", "like", "in", "in~"]),
        ) {
            let list = patterns.iter().map(|pattern| format!("{pattern:?}")).collect::<Vec<_>>().join(", ");
            let query = eql::Query::parse_condition(&format!("file.path {operator} ({list})")).unwrap();
            let mut fields = eql::Fields::default();
            let field = fields.intern("file.path");
            let matches = query.compile(&mut fields).unwrap().matches(&OnePath(&path, field));
            let passes = derive(query.condition()).is_none_or(|filter| filter.passes(path.as_bytes()));
            prop_assert!(passes || !matches, "{patterns:?} matches {path}, the filter dismisses it");
        }
    }
}
