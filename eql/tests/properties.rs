//! Random queries and events: the engine says what the naive evaluator says.

mod naive;
mod support;

use eql::{Candidates, ClauseKind, Fields, Index, Query, Verdict};
use proptest::collection::vec;
use proptest::prelude::*;
use proptest::sample::select;
use support::{Elements, Event, Owned};

const FIELDS: &[&str] = &["a", "b.c", "d"];
const TEXTS: &[&str] = &[
    "", "a", "A", "b", "ab", "aB", "AB", "ba", "aab", "a*", "?", "ä", "Ä", "aä", "5", "05", "5.0", "-1",
    "true", "false",
];

fn quoted(text: &str) -> String {
    format!("\"{}\"", text.replace('\\', "\\\\").replace('"', "\\\""))
}

fn text() -> impl Strategy<Value = String> {
    prop_oneof![select(TEXTS).prop_map(str::to_owned), "[abAäÄ5*]{0,6}"]
}

fn number() -> impl Strategy<Value = String> {
    prop_oneof![
        (-3..12).prop_map(|number: i32| number.to_string()),
        select(&["0.5", "5.0", "-1.0", "2.25"]).prop_map(str::to_owned)
    ]
}

fn constant() -> impl Strategy<Value = String> {
    prop_oneof![4 => text().prop_map(|text| quoted(&text)), 2 => number(), 1 => select(&["true", "false"]).prop_map(str::to_owned)]
}

fn field() -> impl Strategy<Value = String> {
    (select(FIELDS), any::<bool>())
        .prop_map(|(name, optional)| if optional { format!("?{name}") } else { name.to_owned() })
}

fn pattern() -> impl Strategy<Value = String> {
    "[abAä*?]{0,7}".prop_map(|text| quoted(&text))
}

/// Expressions that are valid in Lucene.
fn regex() -> impl Strategy<Value = String> {
    let atom = select(&[
        "a", "b", "A", "ä", ".", "[ab]", "[^a]", "[A-a]", "[]a]", "\\.", "\\w", "\\D", "\"a*\"", "@", "#",
        "()", "^",
    ])
    .prop_map(str::to_owned);
    atom.prop_recursive(3, 12, 3, |inner| {
        prop_oneof![
            (inner.clone(), inner.clone()).prop_map(|(a, b)| format!("{a}{b}")),
            (inner.clone(), inner.clone()).prop_map(|(a, b)| format!("({a}|{b})")),
            (inner.clone(), select(&["?", "*", "+", "{2}", "{0,2}", "{1,}"]))
                .prop_map(|(a, times)| format!("({a}){times}")),
            (inner, select(&["?+", "*?", "+?", "{2}{2}"])).prop_map(|(a, times)| format!("({a}){times}")),
        ]
    })
    .prop_map(|text| quoted(&text))
}

fn list(element: impl Strategy<Value = String>) -> impl Strategy<Value = String> {
    vec(element, 1..5).prop_map(|elements| format!("({})", elements.join(", ")))
}

fn numeric() -> impl Strategy<Value = String> {
    prop_oneof![3 => field(), 1 => number()].prop_recursive(2, 6, 2, |inner| {
        prop_oneof![
            (inner.clone(), select(&["+", "-", "*", "/", "%"]), inner.clone())
                .prop_map(|(a, operator, b)| format!("({a} {operator} {b})")),
            (select(&["add", "subtract", "multiply", "divide", "modulo"]), inner.clone(), inner.clone())
                .prop_map(|(function, a, b)| format!("{function}({a}, {b})")),
            inner.prop_map(|a| format!("-({a})")),
            textual().prop_map(|text| format!("length({text})")),
            (textual(), textual(), -2..4).prop_map(|(a, b, start)| format!("indexOf~({a}, {b}, {start})")),
            (textual(), textual()).prop_map(|(a, b)| format!("indexOf({a}, {b})")),
        ]
    })
}

fn textual() -> impl Strategy<Value = String> {
    prop_oneof![3 => field(), 1 => text().prop_map(|text| quoted(&text)), 1 => Just("null".to_owned())]
        .prop_recursive(2, 6, 3, |inner| {
            prop_oneof![
                (inner.clone(), inner.clone()).prop_map(|(a, b)| format!("concat({a}, 5, {b})")),
                inner.clone().prop_map(|a| format!("string({a})")),
                (inner.clone(), -3..4).prop_map(|(a, start)| format!("substring({a}, {start})")),
                (inner.clone(), -3..4, -3..4)
                    .prop_map(|(a, start, end)| format!("substring({a}, {start}, {end})")),
                (inner.clone(), inner.clone(), inner.clone())
                    .prop_map(|(a, b, c)| format!("between({a}, {b}, {c})")),
                (inner.clone(), inner.clone(), inner)
                    .prop_map(|(a, b, c)| format!("between~({a}, {b}, {c}, true)")),
            ]
        })
}

fn comparison() -> impl Strategy<Value = String> {
    select(&["==", "!=", "<", "<=", ">", ">="]).prop_map(str::to_owned)
}

fn predicate() -> impl Strategy<Value = String> {
    prop_oneof![
        3 => (field(), select(&["==", "!="]), constant()).prop_map(|(field, operator, constant)| format!("{field} {operator} {constant}")),
        1 => (field(), comparison(), prop_oneof![number(), text().prop_map(|text| quoted(&text))])
            .prop_map(|(field, operator, constant)| format!("{field} {operator} {constant}")),
        1 => (number(), comparison(), field()).prop_map(|(constant, operator, field)| format!("{constant} {operator} {field}")),
        2 => (field(), select(&["==", "!="])).prop_map(|(field, operator)| format!("{field} {operator} null")),
        3 => (field(), select(&["in", "in~", "not in", "not in~"]), list(constant())).prop_map(|(field, operator, list)| format!("{field} {operator} {list}")),
        4 => (field(), select(&[":", "like", "like~"]), prop_oneof![pattern(), list(pattern())])
            .prop_map(|(field, operator, patterns)| format!("{field} {operator} {patterns}")),
        2 => (field(), select(&["regex", "regex~"]), prop_oneof![regex(), list(regex())])
            .prop_map(|(field, operator, patterns)| format!("{field} {operator} {patterns}")),
        1 => (numeric(), comparison(), number()).prop_map(|(value, operator, constant)| format!("{value} {operator} {constant}")),
        1 => (textual(), select(&[":", "like"]), pattern()).prop_map(|(value, operator, pattern)| format!("{value} {operator} {pattern}")),
        1 => (textual(), select(&["==", "!="])).prop_map(|(value, operator)| format!("{value} {operator} null")),
        2 => (select(&["startsWith", "endsWith", "stringContains", "startsWith~", "endsWith~", "stringContains~"]), textual(), textual(), select(&["", " == true", " == false", " != true"]))
            .prop_map(|(function, a, b, compared)| format!("{function}({a}, {b}){compared}")),
        1 => field(),
        1 => select(&["true", "false"]).prop_map(str::to_owned),
    ]
}

fn condition() -> impl Strategy<Value = String> {
    predicate().prop_recursive(4, 24, 4, |inner| {
        prop_oneof![
            vec(inner.clone(), 2..4).prop_map(|parts| format!("({})", parts.join(" and "))),
            vec(inner.clone(), 2..4).prop_map(|parts| parts.join(" or ")),
            vec(inner.clone(), 2..5).prop_map(|parts| parts.join("\n and not ")),
            inner.clone().prop_map(|part| format!("not ({part})")),
            inner.prop_map(|part| format!("({part}) == false")),
        ]
    })
}

fn scalar() -> impl Strategy<Value = Owned> {
    prop_oneof![
        6 => text().prop_map(Owned::String),
        2 => (-3..12_i64).prop_map(Owned::Integer),
        1 => select(&[0.5, 5.0, -1.0, 2.25]).prop_map(Owned::Float),
        1 => any::<bool>().prop_map(Owned::Bool),
        1 => Just(Owned::Missing),
    ]
}

fn value() -> impl Strategy<Value = Owned> {
    scalar().prop_recursive(2, 6, 3, |inner| {
        vec(inner, 0..4).prop_map(|elements| Owned::Array(Elements(elements)))
    })
}

fn event() -> impl Strategy<Value = Event> {
    let category = prop_oneof![
        Just(Owned::from("file")),
        Just(Owned::Array(Elements(vec![Owned::from("process"), Owned::from("file")]))),
        Just(Owned::from("process")),
    ];
    let fields = FIELDS.iter().map(|name| (Just((*name).to_owned()), value())).collect::<Vec<_>>();
    (category, fields).prop_map(|(category, fields)| {
        Event(fields.into_iter().chain([("event.category".to_owned(), category)]).collect())
    })
}

/// As many cases as take some seconds; `PROPTEST_CASES` asks for others.
fn config() -> ProptestConfig {
    let mut config = ProptestConfig::default();
    if std::env::var_os("PROPTEST_CASES").is_none() {
        config.cases = 4_000;
    }
    config
}

proptest! {
    #![proptest_config(config())]

    #[test]
    fn the_engine_agrees_with_the_naive_evaluator(
        condition in condition(),
        category in select(&["file", "any", "\"file\""]),
        events in vec(event(), 1..6),
    ) {
        let source = format!("{category} where {condition}");
        let query = match Query::parse(&source) {
            Ok(query) => query,
            Err(error) => return Err(TestCaseError::fail(error.render("query", &source))),
        };
        let mut fields = Fields::default();
        // Constants that cannot be calculated, and types that do not fit, are refused, which other tests look at.
        let Ok(program) = query.compile(&mut fields) else {
            return Err(TestCaseError::reject("does not compile"));
        };
        for event in events {
            let seen = event.seen_by(&fields);
            let verdict = program.verdict(&seen);
            let told = match verdict {
                Verdict::Match => None,
                Verdict::NoMatch(clause) => Some((clause.index(), false)),
                Verdict::Excluded(clause) => Some((clause.index(), true)),
            };
            prop_assert_eq!(told, naive::verdict(&query, &event), "{:?}", event);
            prop_assert_eq!(program.matches(&seen), verdict == Verdict::Match);
            if let Some((clause, excluded)) = told {
                prop_assert_eq!(program.clauses()[clause].kind == ClauseKind::Exclusion, excluded);
            }
            let explanation = program.explain(&seen);
            prop_assert_eq!(explanation.truth, told.is_none());
        }
    }

    /// The index leaves out only what does not match.
    #[test]
    fn the_index_finds_whatever_is_not_ruled_out(
        conditions in vec((select(&["file", "any"]), vec(predicate(), 1..4)), 1..8),
        events in vec(event(), 1..6),
    ) {
        let mut fields = Fields::default();
        let mut programs = Vec::new();
        for (category, parts) in conditions {
            let source = format!("{category} where ({})", parts.join(") and ("));
            let query = Query::parse(&source).map_err(|error| TestCaseError::fail(error.to_string()))?;
            let Ok(program) = query.compile(&mut fields) else { return Err(TestCaseError::reject("does not compile")) };
            programs.push(program);
        }
        let index = Index::new(&programs);
        let mut candidates = Candidates::default();
        for event in events {
            let seen = event.seen_by(&fields);
            index.find(&seen, &mut candidates);
            for (number, program) in programs.iter().enumerate() {
                let ruled_out = matches!(program.verdict(&seen), Verdict::NoMatch(_));
                prop_assert!(ruled_out || candidates.contains(number), "{} {:?}", program.source(), event);
            }
            let listed: Vec<_> = candidates.iter().collect();
            let contained: Vec<_> = (0..programs.len()).filter(|number| candidates.contains(*number)).collect();
            prop_assert_eq!(listed, contained);
        }
    }

    /// Where it is in doubt what an event says, each of the two readings can make a match and none can prevent one.
    #[test]
    fn a_doubt_makes_no_match_less(condition in condition(), event in event(), other in event()) {
        let query = Query::parse_condition(&condition).map_err(|error| TestCaseError::fail(error.to_string()))?;
        let mut fields = Fields::default();
        let Ok(program) = query.compile(&mut fields) else {
            return Err(TestCaseError::reject("does not compile"));
        };
        let (event, other) = (event.seen_by(&fields), other.seen_by(&fields));
        prop_assert_eq!(program.verdict_without(&event, &event), program.verdict(&event));
        let matches = program.matches(&event) || program.matches(&other);
        let verdict = program.verdict_without(&event, &other);
        prop_assert!(!matches || verdict == Verdict::Match, "{} {:?}", condition, verdict);
    }

    /// What ignores case says the same of an event and of its other-case twin.
    #[test]
    fn insensitive_operators_ignore_the_case_of_ascii(
        (operator, patterns) in prop_oneof![
            (select(&[":", "like~"]), list(pattern())),
            (Just("regex~"), list(regex())),
            (select(&["in~", "not in~"]), list(text().prop_map(|text| quoted(&text)))),
        ],
        text in text(),
    ) {
        let query = Query::parse_condition(&format!("a {operator} {patterns}")).map_err(|error| TestCaseError::fail(error.to_string()))?;
        let mut fields = Fields::default();
        let program = query.compile(&mut fields).map_err(|error| TestCaseError::fail(error.to_string()))?;
        let truth = |text: String| program.matches(&Event([("a".to_owned(), Owned::String(text))].into()).seen_by(&fields));
        let flipped = text.chars().map(|c| if c.is_ascii_lowercase() { c.to_ascii_uppercase() } else { c.to_ascii_lowercase() }).collect();
        prop_assert_eq!(truth(text), truth(flipped));
    }

    /// A list says what its elements say one by one.
    #[test]
    fn a_list_is_the_or_of_its_elements(
        (operator, elements) in prop_oneof![
            (select(&[":", "like"]), vec("\\*[abA]{0,3}|[abA]{0,3}\\*|[abA?]{0,3}|[ab*?]{0,4}".prop_map(|text| quoted(&text)), 1..12)),
            (select(&["in", "in~"]), vec(prop_oneof!["[abAB]{0,3}".prop_map(|text| quoted(&text)), constant()], 1..12)),
        ],
        value in prop_oneof!["[abcA]{0,5}".prop_map(Owned::String), scalar()],
    ) {
        let event = Event([("a".to_owned(), value)].into());
        let truth = |list: &str| {
            let query = Query::parse_condition(&format!("a {operator} ({list})")).map_err(|error| TestCaseError::fail(error.to_string()))?;
            let mut fields = Fields::default();
            let program = query.compile(&mut fields).map_err(|error| TestCaseError::fail(error.to_string()))?;
            Ok::<bool, TestCaseError>(program.matches(&event.seen_by(&fields)))
        };
        let mut any = false;
        for element in &elements {
            any |= truth(element)?;
        }
        prop_assert_eq!(truth(&elements.join(", "))?, any, "{} {:?}", operator, elements);
    }

    /// Wildcards are what the regular expression of the same meaning is.
    #[test]
    fn wildcards_agree_with_regular_expressions(
        pattern in "[abA*?ä./+-]{0,14}|(\\*[ab?]{1,4}){1,5}|[ab?]{0,70}\\*[ab?]{60,80}\\*a",
        text in "[abAä./\n]{0,24}|[ab]{100,160}",
        insensitive in any::<bool>(),
    ) {
        let expression: String = pattern.chars().map(|c| match c {
            '*' => "(?s:.*)".to_owned(),
            '?' => "(?s:.)".to_owned(),
            c if insensitive && c.is_ascii_alphabetic() => format!("[{}{}]", c.to_ascii_lowercase(), c.to_ascii_uppercase()),
            c => format!("\\x{{{:x}}}", c as u32),
        }).collect();
        let reference = regex_automata::meta::Regex::new(&format!(r"\A(?:{expression})\z")).map_err(|error| TestCaseError::fail(error.to_string()))?;
        let operator = if insensitive { ":" } else { "like" };
        let query = Query::parse_condition(&format!("a {operator} {}", quoted(&pattern))).map_err(|error| TestCaseError::fail(error.to_string()))?;
        let mut fields = Fields::default();
        let program = query.compile(&mut fields).map_err(|error| TestCaseError::fail(error.to_string()))?;
        let event = Event([("a".to_owned(), Owned::from(text.as_str()))].into());
        prop_assert_eq!(program.matches(&event.seen_by(&fields)), reference.is_match(text.as_str()));
    }

    /// No text makes the parser or the compiler panic, and every error points into the text.
    #[test]
    fn any_text_is_answered(text in prop_oneof![
        any::<String>(),
        "[abc.:=<>!()\\[\\]\"'`?*/+%|,~ \\\\u{}0-9\n-]{0,40}",
        vec(select(&["file", "where", "and", "or", "not", "in", "in~", "like", "regex~", ":", "==", "(", ")", ",", "\"a\"", "a", "5", "null", "true", "+", "-", "length", "?", ".", "|", "["]), 0..20).prop_map(|words| words.join(" ")),
    ]) {
        for parsed in [Query::parse(&text), Query::parse_condition(&text)] {
            let error = match parsed.map(|query| query.compile(&mut Fields::default())) {
                Ok(Ok(_)) => continue,
                Ok(Err(error)) | Err(error) => error,
            };
            let span = error.span();
            prop_assert!(span.start <= span.end && text.get(span.start..span.end).is_some(), "{:?} in {:?}", span, text);
            prop_assert!(error.render("query", &text).contains("query:"));
        }
    }
}
