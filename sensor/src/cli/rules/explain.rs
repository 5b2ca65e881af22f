//! `ldsentry rules explain`.

use std::fmt::Write as _;
use std::fs;
use std::io::{self, Read as _};
use std::path::Path;

use crate::detect::{Engine, Exclusion, Verdict};
use crate::ecs::{self, Field};
use crate::replay::FieldReader;
use anyhow::Context as _;
use eql::{ClauseKind, Document as _, Explanation};
use jiff::Timestamp;
use serde_json::value::RawValue;
use serde_json::{Value, json};

use super::{Exit, ExplainArgs, TextFormat, find, output};

/// As many characters of a clause are shown.
const SHOWN: usize = 140;
/// What a reader of `== null` should know.
const UNKNOWN_IS_NOT_NULL: &str =
    "an executable that could not be learned is `unknown` where fanotify is the source, not null";

pub(super) fn run(args: &ExplainArgs) -> anyhow::Result<Exit> {
    let Some(loaded) = args.show.rules.load()? else { return Ok(Exit::Fault) };
    let Some(rule) = find(&loaded, &args.show.rule) else { return Ok(Exit::Fault) };
    let engine = &loaded.engine;
    let Some(file) = &args.event else {
        return print(args, vec![clauses(engine, rule)], &outline(engine, rule));
    };
    let mut fields = engine.fields().clone();
    let executable = fields.intern(Field::ProcessExecutable.name());
    let untrusted = fields.intern(Field::OwnExecutableUntrusted.name());
    let mut reader = FieldReader::new(&fields);
    let (mut json, mut text) = (Vec::new(), String::new());
    let events = read(file)?;
    let name = if file == Path::new("-") { "standard input".to_owned() } else { file.display().to_string() };
    for (index, event) in serde_json::Deserializer::from_str(&events).into_iter::<&RawValue>().enumerate() {
        let number = index + 1;
        let what = || format!("event {number} of {name} is not a JSON object");
        reader.read(event.with_context(what)?.get().as_bytes()).with_context(what)?;
        let verdict = engine.verdict(rule, &reader, Timestamp::now());
        let clause = engine.clause(rule, verdict);
        let tree = engine.program(rule).explain(&reader);
        let not_honoured = engine.not_honoured(rule, verdict).map(|clause| {
            let doubts = texts(reader.field(untrusted));
            (clause, crate::alert::not_trusted(doubts.into_iter()))
        });
        let is_unknown = matches!(reader.field(executable), eql::Value::String(ecs::UNKNOWN));
        let mut explained = json!({
            "event": number,
            "rule_id": engine.rule(rule).id,
            "verdict": word(verdict),
            "clause": clause,
            "tree": tree_json(&tree),
        });
        if let Some((clause, reason)) = &not_honoured {
            explained["not_honoured"] = json!({"clause": clause, "reason": reason});
        }
        if is_unknown {
            explained["note"] = UNKNOWN_IS_NOT_NULL.into();
        }
        json.push(explained);
        writeln!(text, "event {number}: {}, decided by {}\n", word(verdict), shortened(&clause))?;
        write_tree(&mut text, &tree, 1)?;
        write_values(&mut text, &tree)?;
        if let Verdict::Excluded(Exclusion::Exception(index)) = verdict
            && let Some(exception) = engine.exceptions().nth(index)
        {
            writeln!(text, "  the exception `{}` holds: {}", exception.name, exception.reason)?;
        }
        if let Some((clause, reason)) = &not_honoured {
            writeln!(text, "  not honoured: {}\n    {}", shortened(clause), crate::alert::escape(reason))?;
        }
        if is_unknown {
            writeln!(text, "  note: {UNKNOWN_IS_NOT_NULL}")?;
        }
        text.push('\n');
    }
    print(args, json, &text)
}

fn texts(value: eql::Value<'_>) -> Vec<&str> {
    match value {
        eql::Value::String(text) => vec![text],
        eql::Value::Array(array) => (0..array.len()).flat_map(|index| texts(array.get(index))).collect(),
        _ => Vec::new(),
    }
}

fn print(args: &ExplainArgs, json: Vec<Value>, text: &str) -> anyhow::Result<Exit> {
    if args.show.format == TextFormat::Json {
        output::print_json(&Value::Array(json))?;
    } else {
        output::print(text)?;
    }
    Ok(Exit::Fine)
}

fn read(file: &Path) -> anyhow::Result<String> {
    if file == Path::new("-") {
        let mut text = String::new();
        io::stdin().read_to_string(&mut text).context("cannot read standard input")?;
        return Ok(text);
    }
    fs::read_to_string(file).with_context(|| format!("cannot read {}", file.display()))
}

fn word(verdict: Verdict) -> &'static str {
    match verdict {
        Verdict::Alert | Verdict::NotHonoured(_) => "alert",
        Verdict::Excluded(_) => "excluded",
        Verdict::NoMatch(_) | Verdict::NotOffered => "no_match",
    }
}

/// The rule without an event: what it asks for and what it excludes.
fn outline(engine: &Engine, rule: usize) -> String {
    let clauses = engine.program(rule).clauses();
    let of_kind = |kind: ClauseKind| clauses.iter().filter(move |clause| clause.kind == kind);
    let mut text = format!("{}\n\nalerts if all of these hold:\n", engine.rule(rule).name);
    for clause in of_kind(ClauseKind::Condition) {
        text.extend(["  ", &shortened(&clause.text), "\n"]);
    }
    if of_kind(ClauseKind::Exclusion).next().is_some() {
        text.push_str("and none of these:\n");
    }
    for clause in of_kind(ClauseKind::Exclusion) {
        text.extend(["  ", &shortened(&clause.text), "\n"]);
        if is_about_no_executable(&clause.text) {
            text.extend(["    note: ", UNKNOWN_IS_NOT_NULL, "\n"]);
        }
    }
    text
}

/// Whether a clause is what excludes a process without an executable, as it is printed.
fn is_about_no_executable(clause: &str) -> bool {
    ["process.executable == null", "process.name == null"].contains(&clause)
}

fn clauses(engine: &Engine, rule: usize) -> Value {
    let clauses = engine.program(rule).clauses().iter().map(|clause| {
        let kind = match clause.kind {
            ClauseKind::Condition => "condition",
            ClauseKind::Exclusion => "exclusion",
        };
        json!({"kind": kind, "clause": clause.text})
    });
    json!({"rule_id": engine.rule(rule).id, "clauses": clauses.collect::<Vec<_>>()})
}

fn write_tree(text: &mut String, tree: &Explanation, depth: usize) -> std::fmt::Result {
    let indent = "  ".repeat(depth);
    for child in &tree.children {
        let mark = if child.decided { "   <- decided" } else { "" };
        writeln!(text, "{indent}{:<5} {}{mark}", child.truth, shortened(&child.text))?;
        write_tree(text, child, depth + 1)?;
    }
    Ok(())
}

/// The fields that the rule reads, each once, with what they hold.
fn write_values(text: &mut String, tree: &Explanation) -> std::fmt::Result {
    let mut values = Vec::new();
    collect_values(tree, &mut values);
    let width = values.iter().map(|(field, _)| field.len()).max().unwrap_or_default();
    text.push_str("\n  the event says:\n");
    for (field, value) in values {
        writeln!(text, "    {field:<width$}  {}", shortened(value))?;
    }
    Ok(())
}

fn collect_values<'t>(tree: &'t Explanation, found: &mut Vec<&'t (String, String)>) {
    for value in &tree.values {
        if !found.contains(&value) {
            found.push(value);
        }
    }
    for child in &tree.children {
        collect_values(child, found);
    }
}

fn tree_json(tree: &Explanation) -> Value {
    let mut node = json!({"clause": tree.text, "truth": tree.truth});
    if tree.decided {
        node["decided"] = json!(true);
    }
    if !tree.values.is_empty() {
        let values = tree.values.iter().map(|(field, value)| (field.clone(), json!(value)));
        node["values"] = Value::Object(values.collect());
    }
    if !tree.children.is_empty() {
        node["children"] = tree.children.iter().map(tree_json).collect();
    }
    node
}

fn shortened(text: &str) -> String {
    let mut shown: String = text.chars().take(SHOWN).collect();
    if text.chars().nth(SHOWN).is_some() {
        shown.push('…');
    }
    crate::alert::escape(&shown)
}
