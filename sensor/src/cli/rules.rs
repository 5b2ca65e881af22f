//! `ldsentry rules`.
#![expect(clippy::print_stderr, reason = "this is where errors are told")]

mod explain;

use std::collections::BTreeSet;
use std::fmt::Write as _;
use std::path::PathBuf;

use crate::detect::Engine;
use crate::filter::{Filter, Filters};
use crate::load::Loaded;
use crate::rule::{Rule, Skipped};
use clap::{Args, Subcommand};
use serde_json::{Value, json};

use super::{Exit, RuleArgs, TextFormat, output};

#[derive(Debug, Subcommand)]
pub(super) enum RulesCommand {
    /// List the rules in the order in which they are tried, and those that are skipped
    #[command(after_help = "\
Examples:
  ldsentry rules list
  ldsentry rules list --rules ./rules --rules builtin
  ldsentry rules list --format json | jq -r '.skipped[].reason'")]
    List(ListArgs),
    /// Show a rule
    #[command(after_help = "\
Examples:
  ldsentry rules show dynamic_linker_creation_or_modification
  ldsentry rules show 'Dynamic Linker Creation or Modification' --format json | jq -r .rule.rule.query")]
    Show(ShowArgs),
    /// Check rules: what is wrong, what could silently never fire
    #[command(after_help = "\
Examples:
  ldsentry rules check --rules ./rules
  ldsentry rules check --config /etc/ldsentry/ldsentry.toml     with its exceptions
  ldsentry rules check --rules ./rules --format json | jq '.errors'")]
    Check(ListArgs),
    /// Show a rule as a tree, with the truth of each clause for an event
    #[command(after_help = "\
Examples:
  ldsentry rules explain dynamic_linker_creation_or_modification
  ldsentry rules explain 'Dynamic Linker Creation or Modification' event.json")]
    Explain(ExplainArgs),
}

#[derive(Debug, Args)]
pub(super) struct ListArgs {
    #[command(flatten)]
    rules: RuleArgs,
    /// How the list looks
    #[arg(long, default_value = "text")]
    format: TextFormat,
}

#[derive(Debug, Args)]
pub(super) struct ShowArgs {
    #[command(flatten)]
    rules: RuleArgs,
    /// How the rule looks
    #[arg(long, default_value = "text")]
    format: TextFormat,
    /// Id, name or file name of the rule
    rule: String,
}

#[derive(Debug, Args)]
pub(super) struct ExplainArgs {
    #[command(flatten)]
    show: ShowArgs,
    /// File with events as JSON, `-` for standard input
    event: Option<PathBuf>,
}

pub(super) fn run(command: &RulesCommand) -> anyhow::Result<Exit> {
    match command {
        RulesCommand::List(args) => list(args),
        RulesCommand::Show(args) => show(args),
        RulesCommand::Check(args) => check(args),
        RulesCommand::Explain(args) => explain::run(args),
    }
}

fn list(args: &ListArgs) -> anyhow::Result<Exit> {
    let Some(Loaded { engine, skipped, .. }) = args.rules.load()? else { return Ok(Exit::Fault) };
    if args.format == TextFormat::Json {
        let rules: Vec<Value> = engine.rules().map(summary).collect();
        output::print_json(&json!({"rules": rules, "skipped": skipped}))?;
        return Ok(Exit::Fine);
    }
    let mut text = String::new();
    let width = engine.rules().map(|rule| rule.id.len()).max().unwrap_or_default();
    for rule in engine.rules() {
        writeln!(
            text,
            "{:<width$}  v{:<3} {:<8} {:>3}  {}  ({})",
            rule.id,
            rule.version,
            rule.severity.as_str(),
            rule.risk_score,
            rule.name,
            rule.origin
        )?;
    }
    if !skipped.is_empty() {
        writeln!(text, "\nskipped, {}:", skipped.len())?;
        for Skipped { origin, reason, .. } in &skipped {
            writeln!(text, "  {origin}: {reason}")?;
        }
    }
    output::print(&text)?;
    Ok(Exit::Fine)
}

fn summary(rule: &Rule) -> Value {
    json!({
        "rule_id": rule.id,
        "name": rule.name,
        "version": rule.version,
        "severity": rule.severity.as_str(),
        "risk_score": rule.risk_score,
        "origin": rule.origin,
    })
}

fn show(args: &ShowArgs) -> anyhow::Result<Exit> {
    let Some(loaded) = args.rules.load()? else { return Ok(Exit::Fault) };
    let Some(index) = find(&loaded, &args.rule) else { return Ok(Exit::Fault) };
    let rule = loaded.engine.rule(index);
    if args.format == TextFormat::Json {
        output::print_json(&json!({"origin": rule.origin, "rule": rule.table}))?;
        return Ok(Exit::Fine);
    }
    let mut text = format!("{}\n\n{}\n\n", rule.name, rule.description);
    let mut line = |label: &str, content: &str| {
        if !content.is_empty() {
            text.extend([format!("{label:<15}").as_str(), content, "\n"]);
        }
    };
    line("rule_id", &rule.id);
    line("version", &rule.version.to_string());
    line("severity", &format!("{} ({})", rule.severity.as_str(), rule.risk_score));
    line("max_signals", &format!("{} in {}", rule.max_signals, rule.interval));
    for threat in &rule.threat {
        for technique in &threat.technique {
            let most_specific = technique.subtechnique.last();
            let (id, name) =
                most_specific.map_or((&technique.id, &technique.name), |sub| (&sub.id, &sub.name));
            line("ATT&CK", &format!("{} {}: {id} {name}", threat.tactic.id, threat.tactic.name));
        }
    }
    line("file", &rule.origin);
    writeln!(text, "\n{}", rule.query.source().trim())?;
    if let Some(note) = &rule.note {
        writeln!(text, "\n{}", note.trim())?;
    }
    output::print(&text)?;
    Ok(Exit::Fine)
}

fn check(args: &ListArgs) -> anyhow::Result<Exit> {
    let (engine, skipped, warnings) = match args.rules.try_load()? {
        Ok(Loaded { engine, skipped, warnings, .. }) => (engine, skipped, warnings),
        Err(errors) if args.format == TextFormat::Json => {
            output::print_json(&json!({"rules": [], "errors": errors, "warnings": [], "skipped": []}))?;
            return Ok(Exit::Fault);
        }
        Err(errors) => {
            super::print_diagnostics(&errors);
            return Ok(Exit::Fault);
        }
    };
    if args.format == TextFormat::Json {
        let rules: Vec<Value> =
            (0..engine.rules().len()).map(|rule| summary_with_cost(&engine, rule)).collect();
        output::print_json(&json!({"rules": rules, "errors": [], "warnings": warnings, "skipped": skipped}))?;
        return Ok(Exit::Fine);
    }
    let mut text = String::new();
    for warning in &warnings {
        writeln!(text, "{warning}\n")?;
    }
    writeln!(text, "what the kernel looks for:")?;
    for (index, rule) in engine.rules().enumerate() {
        writeln!(text, "  {}: {}", rule.name, cost(&engine.rule_filters(index)))?;
    }
    let (rules, warnings) = (plural(engine.rules().len(), "rule"), plural(warnings.len(), "warning"));
    writeln!(text, "\n{rules}, {warnings}, {} skipped", skipped.len())?;
    output::print(&text)?;
    Ok(Exit::Fine)
}

/// What the kernel has to look for, action by action where that differs.
fn cost(filters: &Filters) -> String {
    let mut costs: Vec<(String, Vec<&str>)> = Vec::new();
    for action in filters.actions() {
        let cost = filters.get(action).map(filter_cost).unwrap_or_default();
        match costs.iter_mut().find(|(same, _)| *same == cost) {
            Some((_, actions)) => actions.push(crate::ecs::action(action)),
            None => costs.push((cost, vec![crate::ecs::action(action)])),
        }
    }
    if costs.is_empty() {
        return "nothing, the rule never fires".to_owned();
    }
    let costs = costs.into_iter().map(|(cost, actions)| format!("{} of {cost}", actions.join(" and ")));
    costs.collect::<Vec<_>>().join("; ")
}

fn filter_cost(filter: &Filter) -> String {
    if filter.everything {
        return "anything".to_owned();
    }
    let names = names(filter).into_iter().filter(|(_, names)| !names.is_empty());
    names.map(|(noun, names)| plural(names.len(), noun)).collect::<Vec<_>>().join(", ")
}

fn names(filter: &Filter) -> [(&'static str, &BTreeSet<Vec<u8>>); 4] {
    [
        ("file name", &filter.entries),
        ("beginning", &filter.beginnings),
        ("end", &filter.ends),
        ("directory name", &filter.directories),
    ]
}

fn summary_with_cost(engine: &Engine, rule: usize) -> Value {
    let filters = engine.rule_filters(rule);
    let texts = |names: &BTreeSet<Vec<u8>>| -> Vec<String> {
        names.iter().map(|name| String::from_utf8_lossy(name).into_owned()).collect()
    };
    let actions = filters.actions().filter_map(|action| {
        let filter = filters.get(action)?;
        let cost = json!({
            "everything": filter.everything,
            "files": texts(&filter.entries),
            "beginnings": texts(&filter.beginnings),
            "ends": texts(&filter.ends),
            "directories": texts(&filter.directories),
        });
        Some((crate::ecs::action(action).to_owned(), cost))
    });
    let mut summary = summary(engine.rule(rule));
    summary["kernel"] = Value::Object(actions.collect());
    summary
}

/// The index of the rule that `name` means; or nothing, and the error is on standard error.
fn find(loaded: &Loaded, name: &str) -> Option<usize> {
    let found = loaded.engine.rules().position(|rule| rule.is_called(name));
    if found.is_none() {
        eprintln!(
            "error: there is no rule `{name}`\n  = help: `ldsentry rules list` shows the ids and names of those that are"
        );
    }
    found
}

fn plural(count: usize, noun: &str) -> String {
    format!("{count} {noun}{}", if count == 1 { "" } else { "s" })
}
