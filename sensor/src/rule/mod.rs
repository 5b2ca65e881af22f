//! Detection rules: TOML files in the schema of elastic/detection-rules, each with a query in EQL.
//!
//! [`Rule::parse`] reads one, [`RuleSet::load`] a directory of any size and content: what this sensor cannot run (other
//! types, languages and categories) is skipped with the reason, what is wrong is an error with its place.

mod diagnostic;
mod schema;
mod set;

use std::path::Path;

use serde_json::Value;
use toml::Spanned;
use toml::de::{DeTable, DeValue};

use self::diagnostic::span;
pub use self::diagnostic::{Diagnostic, Embedded, Level};
use self::schema::{Reader, key_warnings, to_json};
pub use self::set::{BUILTIN, RuleSet, Skipped};

/// The category of the sensor's events.
const FILE: &str = "file";

/// A detection rule that this sensor runs.
#[derive(Debug, Clone)]
pub struct Rule {
    /// The file that it comes from; `builtin:…` for the ones in the binary.
    pub origin: String,
    /// `rule_id`: the rule's identity, whatever its version.
    pub id: String,
    /// `name`
    pub name: String,
    /// `description`
    pub description: String,
    /// `version`, 1 if the file has none (Elastic keeps its rules' versions elsewhere).
    pub version: u32,
    /// `severity`
    pub severity: Severity,
    /// `risk_score`, up to 100.
    pub risk_score: u32,
    /// `max_signals`: how many alerts a network output takes of this rule in an [`Rule::interval`].
    pub max_signals: u32,
    /// `interval`, as written (`5m`).
    pub interval: String,
    /// `from`, as written (`now-9m`).
    pub from: String,
    /// `author`
    pub author: Vec<String>,
    /// `license`
    pub license: String,
    /// `tags`
    pub tags: Vec<String>,
    /// `references`
    pub references: Vec<String>,
    /// `false_positives`
    pub false_positives: Vec<String>,
    /// `index`
    pub index: Vec<String>,
    /// `note`: the investigation guide, Markdown.
    pub note: Option<String>,
    /// `setup`, Markdown.
    pub setup: Option<String>,
    /// `threat`, in the schema of ECS alerts.
    pub threat: Vec<Threat>,
    /// `timestamp_override`
    pub timestamp_override: Option<String>,
    /// `building_block_type`: such a rule's alerts are material for other rules.
    pub building_block_type: Option<String>,
    /// The query.
    pub query: eql::Query,
    /// The whole `[rule]` table.
    pub table: Value,
    location: Embedded,
}

/// `severity`
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
#[expect(missing_docs, reason = "the schema's four words")]
pub enum Severity {
    Low,
    Medium,
    High,
    Critical,
}

impl Severity {
    /// The schema's word.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Low => "low",
            Self::Medium => "medium",
            Self::High => "high",
            Self::Critical => "critical",
        }
    }

    fn from_word(word: &str) -> Option<Self> {
        [Self::Low, Self::Medium, Self::High, Self::Critical].into_iter().find(|s| s.as_str() == word)
    }
}

/// One `[[rule.threat]]`: a tactic and the techniques that serve it.
#[derive(Debug, Clone, PartialEq, serde::Serialize, serde::Deserialize)]
#[expect(missing_docs, reason = "the schema's names")]
pub struct Threat {
    #[serde(default)]
    pub framework: String,
    pub tactic: Reference,
    #[serde(default)]
    pub technique: Vec<Technique>,
}

/// A tactic, technique or sub-technique.
#[derive(Debug, Clone, PartialEq, serde::Serialize, serde::Deserialize)]
#[expect(missing_docs, reason = "the schema's names")]
pub struct Reference {
    pub id: String,
    pub name: String,
    pub reference: String,
}

/// A technique with its sub-techniques.
#[derive(Debug, Clone, PartialEq, serde::Serialize, serde::Deserialize)]
#[expect(missing_docs, reason = "the schema's names")]
pub struct Technique {
    pub id: String,
    pub name: String,
    pub reference: String,
    #[serde(default)]
    pub subtechnique: Vec<Reference>,
}

/// What became of a rule file.
#[derive(Debug)]
pub enum Parsed {
    /// A rule to run, and what its author should know.
    Rule(Box<Rule>, Vec<Diagnostic>),
    /// A rule that is not for this sensor.
    Skipped(Skipped),
    /// A file that is wrong.
    Invalid(Vec<Diagnostic>),
}

impl Rule {
    /// Reads a rule file. `origin` names it in messages.
    pub fn parse(origin: &str, source: &str) -> Parsed {
        let table = match DeTable::parse(source) {
            Ok(table) => table,
            Err(error) => {
                let range = error.span().unwrap_or_default();
                let error = eql::Error::new(format!("this is not TOML: {}", error.message()), span(range));
                return Parsed::Invalid(vec![Diagnostic::at(Level::Error, origin, source, &error)]);
            }
        };
        let mut errors = Vec::new();
        let parsed = parse_table(origin, source, &table, &mut errors);
        if !errors.is_empty() {
            // A key that is missing may be there under a wrong name.
            errors.extend(key_warnings(origin, source, table.get_ref()));
            return Parsed::Invalid(errors);
        }
        match parsed {
            Some(Ok(rule)) => {
                let warnings = key_warnings(origin, source, table.get_ref());
                Parsed::Rule(rule, warnings)
            }
            Some(Err(skipped)) => Parsed::Skipped(skipped),
            None => {
                Parsed::Invalid(vec![Diagnostic::whole(Level::Error, origin, "the file holds no rule", None)])
            }
        }
    }

    /// A finding about the query, with its place in the rule's file.
    pub fn diagnostic(&self, level: Level, error: &eql::Error) -> Diagnostic {
        self.location.diagnostic(level, error)
    }

    /// Whether `name` means this rule: its `rule_id`, its name, or its file's name without `.toml`.
    pub fn is_called(&self, name: &str) -> bool {
        self.id == name
            || self.name.eq_ignore_ascii_case(name)
            || Path::new(&self.origin).file_stem().is_some_and(|stem| stem == name)
    }

    /// `interval` as a duration; five minutes if it cannot be read.
    pub fn interval(&self) -> std::time::Duration {
        parse_interval(&self.interval).unwrap_or(std::time::Duration::from_mins(5))
    }
}

/// The rule in `file`, or why it is skipped. Nothing if `errors` say why not.
fn parse_table(
    origin: &str,
    source: &str,
    file: &Spanned<DeTable<'_>>,
    errors: &mut Vec<Diagnostic>,
) -> Option<Result<Box<Rule>, Skipped>> {
    let entry = file.get_ref().get_key_value("rule");
    let Some((key, DeValue::Table(table))) = entry.map(|(key, value)| (key, value.get_ref())) else {
        let help = "a rule file has a table `[rule]` with `name`, `rule_id`, `type`, `query` and more";
        errors.push(Diagnostic::whole(
            Level::Error,
            origin,
            "there is no `[rule]` table",
            Some(help.to_owned()),
        ));
        return None;
    };
    // The table's own span covers its first line only, or nothing: errors about it as a whole point at its name.
    let table = Spanned::new(key.span(), table.clone());
    let mut rule = Reader { origin, source, table: &table, errors };

    let id = rule.text("rule_id").unwrap_or_default();
    let name = rule.text("name").unwrap_or_default();
    let skip = |reason: String| {
        Some(Err(Skipped { origin: origin.to_owned(), id: id.clone(), name: name.clone(), reason }))
    };
    let kind = rule.required_text("type")?;
    if kind != "eql" {
        return skip(format!("type `{kind}`: only `eql` rules can be run on a host"));
    }
    if let Some(language) = rule.text("language").filter(|language| language != "eql") {
        return skip(format!("language `{language}`: only `eql` rules can be run on a host"));
    }
    let maturity = file.get_ref().get("metadata").and_then(|metadata| metadata.get_ref().get("maturity"));
    if maturity.and_then(|value| value.get_ref().as_str()) == Some("deprecated") {
        return skip("maturity `deprecated`".to_owned());
    }
    if rule.boolean("enabled") == Some(false) {
        return skip("enabled is false".to_owned());
    }

    let query_text = rule.required_text("query")?;
    let literal = rule.get("query")?.span();
    let query = match eql::Query::parse(&query_text) {
        Ok(query) => query,
        Err(error) if error.needs_several_events() => return skip(error.message().to_owned()),
        Err(error) => {
            // What is wrong with a rule that this sensor would not run anyway is for others to say.
            if let Some(eql::Category::Name(category)) = eql::Category::of(&query_text)
                && category != FILE
            {
                return skip(other_category(&category));
            }
            rule.errors.push(Embedded::new(origin, source, literal).diagnostic(Level::Error, &error));
            return None;
        }
    };
    if let eql::Category::Name(category) = query.category()
        && category != FILE
    {
        return skip(other_category(category));
    }

    for (key, value) in [("rule_id", &id), ("name", &name)] {
        if value.is_empty() {
            rule.missing(key);
        }
    }
    let severity = read_severity(&mut rule);
    let threat = read_threat(&mut rule);
    let parsed = Rule {
        origin: origin.to_owned(),
        description: rule.text("description").unwrap_or_default().trim().to_owned(),
        version: rule.integer("version", 1..=u32::MAX).unwrap_or(1),
        severity: severity.unwrap_or(Severity::Low),
        risk_score: rule.integer("risk_score", 0..=100).unwrap_or_default(),
        max_signals: rule.integer("max_signals", 1..=u32::MAX).unwrap_or(100),
        interval: read_interval(&mut rule),
        from: rule.text("from").unwrap_or_else(|| "now-6m".to_owned()),
        author: rule.texts("author"),
        license: rule.text("license").unwrap_or_default(),
        tags: rule.texts("tags"),
        references: rule.texts("references"),
        false_positives: rule.texts("false_positives"),
        index: rule.texts("index"),
        note: rule.text("note"),
        setup: rule.text("setup"),
        threat,
        timestamp_override: rule.text("timestamp_override"),
        building_block_type: rule.text("building_block_type"),
        query,
        table: to_json(&DeValue::Table(table.get_ref().clone())),
        location: Embedded::new(origin, source, literal),
        id,
        name,
    };
    Some(Ok(Box::new(parsed)))
}

fn other_category(category: &str) -> String {
    format!("category `{category}`: the sensor reports `{FILE}` events")
}

fn read_severity(rule: &mut Reader<'_, '_>) -> Option<Severity> {
    let word = rule.required_text("severity")?;
    let severity = Severity::from_word(&word);
    if severity.is_none() {
        let range = rule.get("severity").map(Spanned::span).unwrap_or_default();
        rule.error(
            range,
            format!("there is no severity `{word}`"),
            "write \"low\", \"medium\", \"high\" or \"critical\"",
        );
    }
    severity
}

fn read_interval(rule: &mut Reader<'_, '_>) -> String {
    let Some(interval) = rule.text("interval") else { return "5m".to_owned() };
    if parse_interval(&interval).is_none() {
        let range = rule.get("interval").map(Spanned::span).unwrap_or_default();
        rule.error(
            range,
            format!("`{interval}` is not an interval"),
            "write a number and s, m, h or d, as in \"5m\"",
        );
    }
    interval
}

fn read_threat(rule: &mut Reader<'_, '_>) -> Vec<Threat> {
    let Some(value) = rule.get("threat") else { return Vec::new() };
    match serde_json::from_value(to_json(value.get_ref())) {
        Ok(threat) => threat,
        Err(error) => {
            let help =
                "each `[[rule.threat]]` has a `tactic` and techniques with `id`, `name` and `reference`";
            rule.error(value.span(), format!("`threat` cannot be read: {error}"), help);
            Vec::new()
        }
    }
}

/// What `interval` says: a number and one of the units that detection-rules has.
pub(crate) fn parse_interval(text: &str) -> Option<std::time::Duration> {
    let (number, unit) = text.split_at_checked(text.len().checked_sub(1)?)?;
    let seconds: u64 = match unit {
        "s" => 1,
        "m" => 60,
        "h" => 3600,
        "d" => 86400,
        _ => return None,
    };
    let number: u64 = number.parse().ok().filter(|number| *number > 0)?;
    Some(std::time::Duration::from_secs(number.checked_mul(seconds)?))
}

#[cfg(test)]
mod tests;
