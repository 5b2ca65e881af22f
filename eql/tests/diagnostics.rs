//! What the author of a query is shown.

use eql::{Error, Fields, Query, Span};

fn rendered(sources: &[&str]) -> String {
    let mut text = String::new();
    for source in sources {
        let error =
            Query::parse(source).and_then(|query| query.compile(&mut Fields::default())).expect_err(source);
        text.push_str(&error.render("rule.toml", source));
        text.push('\n');
    }
    text
}

#[test]
fn slips() {
    insta::assert_snapshot!(rendered(&[
        "file where event.action = \"creation\"",
        "file where file.path == '/etc/passwd'",
        "file where file.path == ?\"C:\\temp\"",
        "file where file.path like \"/etc/*\", \"/usr/*\"",
        "file where file.name not like \"a*\"",
        "file where file.name == (\"a\", \"b\")",
        "file where file.name == \"a\" AND\n  file.path : \"/etc/*\"",
        "file where file.name == \"a\" && true",
        "file where file.path == \"C:\\Windows\"",
        "file where lenght(file.name) > 5",
        "file where length(file.name)",
        "file where startsWith(file.name, 5)",
        "file where process.name is null",
        "file where file.name == process.name",
        "file where process.args[0] == \"a\"",
        "file where file.name regex \"~a\"",
        "file where file.name in (\"a\", null)",
        "file where (file.name == \"a\"",
        "file where",
    ]));
}

#[test]
fn what_needs_several_events() {
    insta::assert_snapshot!(rendered(&[
        "sequence by host.id with maxspan=1m\n  [file where true]\n  [process where true]",
        "sample by host.id [file where true] [process where true]",
        "join [file where true] [process where true]",
        "file where true | head 10",
        "file where true until file.name == \"a\"",
        "process where descendant of [process where true]",
    ]));
}

#[test]
fn long_and_hostile_lines() {
    let long = format!("file where {} file.name = \"a\" {}", "true and ".repeat(40), "and true".repeat(40));
    insta::assert_snapshot!(rendered(&[
        &long,
        "file where\t\u{1b}[31m",
        "file where ä == \"größer\"",
        "file where \"\u{7}\" ~"
    ]));
}

#[test]
fn a_query_inside_a_file() {
    let file = "[rule]\nquery = \"\"\"\nfile where file.pth == 5\n\"\"\"\n";
    let start = file.find("file where").expect("the query");
    let query = Query::parse(&file[start..start + 24]).expect("is fine");
    let (field, span) = query.fields()[0];
    let nearest = eql::suggest(&field.name, ["file.name", "file.path"]).expect("is near");
    let error = Error::new(format!("there is no field `{}`", field.name), span)
        .with_help(format!("did you mean `{nearest}`?"))
        .offset(start);
    assert_eq!(error.span().of(file), "file.pth");
    insta::assert_snapshot!(error.render("rule.toml", file));
    assert_eq!(error.with_span(Span::new(0, 6)).span().of(file), "[rule]");
}
