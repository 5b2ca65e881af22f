//! The keys of a rule file, as elastic/detection-rules defines them, and reading their values with positions.

use serde_json::{Map, Number, Value};
use toml::Spanned;
use toml::de::{DeTable, DeValue};

use super::diagnostic::{Diagnostic, Level, span};

/// Every key that the schema knows, with dots between tables. `.*` stands for anything below.
/// Keys that `ldsentry` has no use for are here as well: they are not mistakes.
const KEYS: &[&str] = &[
    "internal.*",
    "metadata.bypass_bbr_timing",
    "metadata.comments",
    "metadata.creation_date",
    "metadata.deprecated_reason",
    "metadata.deprecation_date",
    "metadata.extended.*",
    "metadata.integration",
    "metadata.maturity",
    "metadata.min_stack_comments",
    "metadata.min_stack_version",
    "metadata.os_type_list",
    "metadata.promotion",
    "metadata.query_schema_validation",
    "metadata.related_endpoint_rules",
    "metadata.updated_date",
    "rule.actions.*",
    "rule.alert_suppression.*",
    "rule.anomaly_threshold",
    "rule.author",
    "rule.building_block_type",
    "rule.data_view_id",
    "rule.description",
    "rule.enabled",
    "rule.event_category_override",
    "rule.exceptions_list.*",
    "rule.false_positives",
    "rule.filters.*",
    "rule.from",
    "rule.index",
    "rule.interval",
    "rule.investigation_fields.*",
    "rule.language",
    "rule.license",
    "rule.machine_learning_job_id",
    "rule.max_signals",
    "rule.meta.*",
    "rule.name",
    "rule.new_terms.*",
    "rule.note",
    "rule.query",
    "rule.references",
    "rule.related_integrations.*",
    "rule.required_fields.*",
    "rule.response_actions.*",
    "rule.revision",
    "rule.risk_score",
    "rule.risk_score_mapping.*",
    "rule.rule_id",
    "rule.rule_name_override",
    "rule.setup",
    "rule.severity",
    "rule.severity_mapping.*",
    "rule.tags",
    "rule.threat.framework",
    "rule.threat.tactic.id",
    "rule.threat.tactic.name",
    "rule.threat.tactic.reference",
    "rule.threat.technique.id",
    "rule.threat.technique.name",
    "rule.threat.technique.reference",
    "rule.threat.technique.subtechnique.id",
    "rule.threat.technique.subtechnique.name",
    "rule.threat.technique.subtechnique.reference",
    "rule.threat_filters.*",
    "rule.threat_index",
    "rule.threat_indicator_path",
    "rule.threat_language",
    "rule.threat_mapping.*",
    "rule.threat_mappings.*",
    "rule.threat_query",
    "rule.threshold.*",
    "rule.throttle",
    "rule.tiebreaker_field",
    "rule.timeline_id",
    "rule.timeline_title",
    "rule.timestamp_field",
    "rule.timestamp_override",
    "rule.to",
    "rule.type",
    "rule.version",
    "transform.investigate.*",
    "transform.osquery.*",
];

/// Keys that change in Elastic what a rule detects, and that have no effect here.
const INEFFECTIVE: &[&str] = &["alert_suppression", "event_category_override", "exceptions_list", "filters"];

/// A warning for each key of a rule file that [`KEYS`] does not have, and for each that is [`INEFFECTIVE`].
pub(super) fn key_warnings(origin: &str, source: &str, table: &DeTable<'_>) -> Vec<Diagnostic> {
    let mut warnings = Vec::new();
    let rule = table.get("rule").and_then(|rule| rule.get_ref().as_table());
    for (key, _) in rule.into_iter().flat_map(DeTable::iter) {
        if INEFFECTIVE.contains(&key.get_ref().as_ref()) {
            let message = format!("`{}` has no effect in ldsentry: the query alone decides", key.get_ref());
            let error = eql::Error::new(message, span(key.span()))
                .with_help("write the condition into the query, or as [[exceptions]] into the configuration");
            warnings.push(Diagnostic::at(Level::Warning, origin, source, &error));
        }
    }
    visit(table, "", &mut |path, key| {
        let mut error = eql::Error::new(format!("the rule schema has no key `{path}`"), span(key.span()));
        error = match nearest(path) {
            Some(known) => {
                error.with_help(format!("did you mean `{known}`? As it stands, the key has no effect"))
            }
            None => error.with_help("as it stands, the key has no effect: remove it"),
        };
        warnings.push(Diagnostic::at(Level::Warning, origin, source, &error));
    });
    warnings
}

fn visit(table: &DeTable<'_>, prefix: &str, unknown: &mut dyn FnMut(&str, &Spanned<toml::de::DeString<'_>>)) {
    for (key, value) in table {
        let path = format!("{prefix}{}", key.get_ref());
        let below = format!("{path}.");
        if KEYS.iter().any(|known| known.strip_suffix('*') == Some(below.as_str())) {
            continue;
        }
        let is_leaf = KEYS.contains(&path.as_str());
        let is_table = KEYS.iter().any(|known| known.starts_with(&below));
        if !is_leaf && !is_table {
            unknown(&path, key);
        }
        for table in tables(value.get_ref()) {
            if is_table {
                visit(table, &below, unknown);
            }
        }
    }
}

/// The table that a value is, or the tables in the array that it is.
fn tables<'v, 'i>(value: &'v DeValue<'i>) -> Vec<&'v DeTable<'i>> {
    match value {
        DeValue::Table(table) => vec![table],
        DeValue::Array(array) => array.iter().filter_map(|element| element.get_ref().as_table()).collect(),
        _ => Vec::new(),
    }
}

fn nearest(path: &str) -> Option<&'static str> {
    let known = KEYS.iter().filter(|known| !known.ends_with('*'));
    let (distance, known) = known.map(|known| (strsim::levenshtein(path, known), *known)).min()?;
    (distance <= 1 + path.len() / 8).then_some(known)
}

/// A table of a rule file, read with its mistakes collected.
pub(super) struct Reader<'a, 'i> {
    pub(super) origin: &'a str,
    pub(super) source: &'a str,
    pub(super) table: &'a Spanned<DeTable<'i>>,
    pub(super) errors: &'a mut Vec<Diagnostic>,
}

impl<'a, 'i> Reader<'a, 'i> {
    pub(super) fn get(&self, key: &str) -> Option<&'a Spanned<DeValue<'i>>> {
        self.table.get_ref().get(key)
    }

    pub(super) fn error(&mut self, range: std::ops::Range<usize>, message: impl Into<String>, help: &str) {
        let error = eql::Error::new(message, span(range)).with_help(help);
        self.errors.push(Diagnostic::at(Level::Error, self.origin, self.source, &error));
    }

    fn wrong_type(&mut self, key: &str, value: &Spanned<DeValue<'_>>, wanted: &str) {
        let message = format!("`{key}` is {}, not {wanted}", kind(value.get_ref()));
        self.error(value.span(), message, &format!("write {wanted}"));
    }

    /// The string `key`; nothing if it is absent.
    pub(super) fn text(&mut self, key: &str) -> Option<String> {
        let value = self.get(key)?;
        let text = value.get_ref().as_str().map(str::to_owned);
        if text.is_none() {
            self.wrong_type(key, value, "a string");
        }
        text
    }

    /// The string `key`, which must be there.
    pub(super) fn required_text(&mut self, key: &str) -> Option<String> {
        if self.get(key).is_none() {
            self.missing(key);
        }
        self.text(key)
    }

    /// Reports that `key` is missing.
    pub(super) fn missing(&mut self, key: &str) {
        let range = self.table.span();
        self.error(range, format!("the rule has no `{key}`"), &format!("add `{key} = …` under `[rule]`"));
    }

    /// The whole number `key` within bounds.
    pub(super) fn integer(&mut self, key: &str, bounds: std::ops::RangeInclusive<u32>) -> Option<u32> {
        let value = self.get(key)?;
        let number = match value.get_ref() {
            DeValue::Integer(number) => u32::from_str_radix(number.as_str(), number.radix()).ok(),
            _ => None,
        };
        let number = number.filter(|number| bounds.contains(number));
        if number.is_none() {
            self.wrong_type(key, value, &format!("a number from {} to {}", bounds.start(), bounds.end()));
        }
        number
    }

    /// The truth value `key`.
    pub(super) fn boolean(&mut self, key: &str) -> Option<bool> {
        let value = self.get(key)?;
        let truth = value.get_ref().as_bool();
        if truth.is_none() {
            self.wrong_type(key, value, "true or false");
        }
        truth
    }

    /// The list of strings `key`; a single string is a list of one.
    pub(super) fn texts(&mut self, key: &str) -> Vec<String> {
        let Some(value) = self.get(key) else { return Vec::new() };
        let texts = match value.get_ref() {
            DeValue::String(text) => Some(vec![text.clone().into_owned()]),
            DeValue::Array(array) => {
                array.iter().map(|element| element.get_ref().as_str().map(str::to_owned)).collect()
            }
            _ => None,
        };
        texts.unwrap_or_else(|| {
            self.wrong_type(key, value, "a list of strings");
            Vec::new()
        })
    }
}

fn kind(value: &DeValue<'_>) -> String {
    match value {
        DeValue::Integer(number) => format!("the number {number}"),
        DeValue::Boolean(truth) => format!("{truth}"),
        DeValue::String(_) => "a string".to_owned(),
        DeValue::Float(_) => "a number with a fraction".to_owned(),
        DeValue::Datetime(_) => "a date".to_owned(),
        DeValue::Array(_) => "a list".to_owned(),
        DeValue::Table(_) => "a table".to_owned(),
    }
}

/// A TOML value as JSON.
pub(super) fn to_json(value: &DeValue<'_>) -> Value {
    match value {
        DeValue::String(text) => Value::String(text.clone().into_owned()),
        DeValue::Integer(number) => {
            i64::from_str_radix(number.as_str(), number.radix()).map_or(Value::Null, Value::from)
        }
        DeValue::Float(number) => {
            number.as_str().parse().ok().and_then(Number::from_f64).map_or(Value::Null, Value::Number)
        }
        DeValue::Boolean(truth) => Value::Bool(*truth),
        DeValue::Datetime(time) => Value::String(time.to_string()),
        DeValue::Array(array) => array.iter().map(|element| to_json(element.get_ref())).collect(),
        DeValue::Table(table) => {
            let entries =
                table.iter().map(|(key, value)| (key.get_ref().to_string(), to_json(value.get_ref())));
            Value::Object(entries.collect::<Map<_, _>>())
        }
    }
}
