//! From a rule's query to where its files are: what a source needs that watches directories and not the whole kernel.

use std::collections::BTreeSet;

use eql::ast::{Comparison, Literal};
use eql::{Expr, ExprKind};

use crate::prefix::Prefix;

/// The beginnings that the path of every event has that `expr` is true for, or `None`: that can be any path.
pub(super) fn derive(expr: &Expr) -> Option<BTreeSet<Prefix>> {
    match &expr.kind {
        // The fewest, and of as many the longest: each directory within costs a mark.
        ExprKind::And(parts) => parts.iter().filter_map(derive).min_by_key(|prefixes| {
            let shortest = prefixes.iter().map(|prefix| prefix.text.len()).min();
            (prefixes.len(), std::cmp::Reverse(shortest))
        }),
        ExprKind::Or(parts) => parts.iter().map(derive).try_fold(BTreeSet::new(), |mut all, part| {
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

fn texts<'t>(
    subject: &Expr,
    texts: impl IntoIterator<Item = &'t str>,
    wildcards: bool,
) -> Option<BTreeSet<Prefix>> {
    match &subject.kind {
        ExprKind::Field(field) if field.name == "file.path" => {
            texts.into_iter().map(|text| prefix(text, wildcards)).collect()
        }
        _ => None,
    }
}

/// The literal beginning. One that does not lead into a directory is none: everything is below `/`.
fn prefix(text: &str, wildcards: bool) -> Option<Prefix> {
    // U+FFFD stands for bytes that are not UTF-8, and those are what directories hold.
    let is_open = |character: char| {
        character == char::REPLACEMENT_CHARACTER || (wildcards && matches!(character, '*' | '?'))
    };
    let (literal, open) = match text.find(is_open) {
        Some(end) => (&text[..end], true),
        None => (text, false),
    };
    let names = literal.strip_prefix('/')?;
    (!open || names.contains('/')).then(|| Prefix { text: literal.as_bytes().to_vec(), open })
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn prefixes(condition: &str) -> Option<Vec<(String, bool)>> {
        let derived = derive(eql::Query::parse_condition(condition).unwrap().condition())?;
        let text = |prefix: Prefix| (String::from_utf8(prefix.text).unwrap(), prefix.open);
        Some(derived.into_iter().map(text).collect())
    }

    #[test]
    fn a_path_is_its_own_beginning_and_a_pattern_has_its_literal_one() {
        let condition =
            r#"process.name == "x" and file.path : ("/etc/ld.so.preload", "/etc/ld.so.conf.d/*")"#;
        assert_eq!(
            prefixes(condition),
            Some(vec![("/etc/ld.so.conf.d/".to_owned(), true), ("/etc/ld.so.preload".to_owned(), false)])
        );
        assert_eq!(
            prefixes(r#"file.path : "/home/*" and file.path in ("/home/a*", "/home/b")"#),
            Some(vec![("/home/".to_owned(), true)])
        );
    }

    #[test]
    fn what_names_no_directory_could_be_anywhere() {
        for condition in [
            r#"file.name == "ld.so.preload""#,
            r#"file.path : "*/ld.so.preload""#,
            r#"file.path : "/*/ld.so.preload""#,
            r#"file.path regex "/etc/.*""#,
            r#"file.path == "/etc/x" or file.name == "y""#,
            r#"not file.path == "/etc/x""#,
            r#"file.path : ("/etc/x", "relative")"#,
        ] {
            assert_eq!(prefixes(condition), None, "{condition}");
        }
    }

    struct OnePath<'p>(&'p str, eql::FieldId);

    impl eql::Document for OnePath<'_> {
        fn field(&self, id: eql::FieldId) -> eql::Value<'_> {
            if id == self.1 { eql::Value::String(self.0) } else { eql::Value::Missing }
        }
    }

    proptest! {
        /// The directory of every file that a rule matches is marked, and so are all above it.
        #[test]
        fn the_way_to_whatever_matches_is_marked(
            patterns in proptest::collection::vec("(/[abB*?.]{0,3}){1,4}", 1..4),
            path in "(/[abAB.]{1,3}){1,5}",
            operator in prop::sample::select(vec![":", "like", "in", "in~"]),
        ) {
            let list = patterns.iter().map(|pattern| format!("{pattern:?}")).collect::<Vec<_>>().join(", ");
            let query = eql::Query::parse_condition(&format!("file.path {operator} ({list})")).unwrap();
            let mut fields = eql::Fields::default();
            let field = fields.intern("file.path");
            let matches = query.compile(&mut fields).unwrap().matches(&OnePath(&path, field));
            if let (true, Some(prefixes)) = (matches, derive(query.condition())) {
                for (slash, _) in path.match_indices('/') {
                    let directory = if slash == 0 { "/" } else { &path[..slash] };
                    let leads = prefixes.iter().any(|prefix| prefix.leads_through(directory.as_bytes()));
                    prop_assert!(leads, "{patterns:?} matches {path}, {directory} is not marked");
                }
            }
        }
    }
}
