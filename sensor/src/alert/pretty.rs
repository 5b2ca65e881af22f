//! An alert as a person at a terminal reads it.

use serde_json::{Map, Value};

use super::Alert;
use super::document::{lookup, text, texts};

const BOLD: &str = "\x1b[1m";
const DIM: &str = "\x1b[2m";
const RESET: &str = "\x1b[0m";

pub(super) fn render(alert: &Alert, color: bool) -> String {
    let document = &alert.document;
    let get = |name: &str| shown(document, name);
    let mut page = Page { text: String::new(), color };

    let severity = get("kibana.alert.severity");
    let tint = match severity.as_str() {
        "critical" | "high" => "\x1b[1;31m",
        "medium" => "\x1b[1;33m",
        _ => "\x1b[1;36m",
    };
    let heading = format!("{} {}", severity.to_uppercase(), get("kibana.alert.risk_score"));
    let (heading, name) = (page.paint(tint, &heading), page.paint(BOLD, &get("kibana.alert.rule.name")));
    page.text = format!("{heading}  {name}\n");

    let mut what = get("kibana.alert.original_event.action");
    let original = get("file.Ext.original.path");
    if !original.is_empty() {
        what = format!("{what} from {original}");
    }
    if get("kibana.alert.original_event.outcome") == "unknown" {
        what.push_str(", outcome unknown");
    }
    match get("ldsentry.origin").as_str() {
        "directory_rename" => what.push_str(", with its directory"),
        "directory_link" => what.push_str(", by a link to its directory"),
        "rescan" => what.push_str(", found by looking"),
        _ => {}
    }
    page.line("file", &page.paint(BOLD, &get("file.path")));
    for view in ["process", "host", "other"] {
        for path in texts(document, &format!("ldsentry.file.paths.{view}")) {
            if Some(path) != text(document, "file.path") {
                page.line("", &format!("{} ({view} view)", escape(path)));
            }
        }
    }
    let directory = get("ldsentry.file.assumed_directory");
    if !directory.is_empty() {
        page.line("", &format!("its beginning is not known; it could be in {directory}"));
    } else if lookup(document, "ldsentry.file.truncated").is_some() {
        page.line("", "its beginning is not known");
    }
    page.line("target", &get("file.target_path"));
    page.line("link to", &get("ldsentry.file.linked_path"));
    page.line("event", &what);
    // What the sensor says of itself is about no process.
    if ["process.executable", "process.name", "process.pid"]
        .iter()
        .any(|name| lookup(document, name).is_some())
    {
        page.line("process", &process(document));
    } else {
        page.line("message", &get("message"));
    }
    page.line("command", &get("process.command_line"));
    page.line("parents", &parents(document));
    page.line("user", &user(document));
    page.line("host", &get("host.name"));
    page.line("time", &get("kibana.alert.original_time"));
    page.line("ATT&CK", &techniques(document));
    page.line("decided", &get("ldsentry.decided_by").split_whitespace().collect::<Vec<_>>().join(" "));
    let clause = get("ldsentry.not_honoured.clause");
    if !clause.is_empty() {
        page.line("despite", &clause.split_whitespace().collect::<Vec<_>>().join(" "));
        page.line("", &format!("is not honoured: {}", get("ldsentry.not_honoured.reason")));
    }
    page.line(
        "rule",
        &format!("{} version {}", get("kibana.alert.rule.rule_id"), get("kibana.alert.rule.version")),
    );
    page.text
}

/// A text that a terminal shows as it is: what would steer it, or turn the order of characters around, is escaped.
pub fn escape(text: &str) -> String {
    let mut shown = String::with_capacity(text.len());
    for character in text.chars() {
        let hostile = character.is_control()
            || matches!(character, '\u{200b}'..='\u{200f}' | '\u{2028}'..='\u{202e}' | '\u{2060}'..='\u{206f}' | '\u{feff}');
        if hostile {
            shown.extend(character.escape_default());
        } else {
            shown.push(character);
        }
    }
    shown
}

struct Page {
    text: String,
    color: bool,
}

impl Page {
    fn paint(&self, style: &str, text: &str) -> String {
        if self.color { format!("{style}{text}{RESET}") } else { text.to_owned() }
    }

    /// A line, unless there is nothing to say.
    fn line(&mut self, label: &str, content: &str) {
        if !content.is_empty() {
            let label = self.paint(DIM, &format!("{label:<8}"));
            self.text.extend(["  ", &label, content, "\n"]);
        }
    }
}

/// A field's value, fit for a terminal; empty if it is missing.
fn shown(document: &Map<String, Value>, name: &str) -> String {
    match lookup(document, name) {
        None | Some(Value::Null) => String::new(),
        Some(Value::String(text)) => escape(text),
        Some(other) => escape(&other.to_string()),
    }
}

fn process(document: &Map<String, Value>) -> String {
    let mut line = shown(document, "process.executable");
    if line.is_empty() {
        let name = shown(document, "process.thread.name");
        line = format!(
            "[{name}] executable {}",
            shown(document, "ldsentry.process.executable.status").replace('_', " ")
        );
    }
    let pid = shown(document, "process.pid");
    if !pid.is_empty() {
        line = format!("{line}, pid {pid}");
    }
    for (flag, remark) in [("deleted", "the file is deleted"), ("memfd", "a memfd, never was a file")] {
        if lookup(document, &format!("ldsentry.process.executable.{flag}")) == Some(&Value::Bool(true)) {
            line = format!("{line}, {remark}");
        }
    }
    line
}

fn parents(document: &Map<String, Value>) -> String {
    let executables = texts(document, "ldsentry.process.ancestors.executable");
    let pids = texts(document, "ldsentry.process.ancestors.pid");
    if executables.is_empty() {
        return shown(document, "process.parent.executable");
    }
    let parents =
        executables.iter().zip(pids).map(|(executable, pid)| format!("{} ({pid})", escape(executable)));
    parents.collect::<Vec<_>>().join(" < ")
}

fn user(document: &Map<String, Value>) -> String {
    let name = shown(document, "user.name");
    let id = shown(document, "user.id");
    let mut line = match (name.is_empty(), id.is_empty()) {
        (false, false) => format!("{name} ({id})"),
        (true, false) => id,
        _ => name,
    };
    let login = shown(document, "ldsentry.process.login_user.name");
    let login = if login.is_empty() { shown(document, "ldsentry.process.login_user.id") } else { login };
    if !login.is_empty() {
        line = format!("{line}, logged in as {login}");
    }
    line
}

/// The most specific techniques, each once.
fn techniques(document: &Map<String, Value>) -> String {
    let mut found: Vec<String> = Vec::new();
    let threats = lookup(document, "kibana.alert.rule.threat").and_then(Value::as_array);
    for technique in
        threats.into_iter().flatten().filter_map(|threat| threat.get("technique")?.as_array()).flatten()
    {
        let below = technique.get("subtechnique").and_then(Value::as_array).filter(|list| !list.is_empty());
        for entry in below.map_or(std::slice::from_ref(technique), Vec::as_slice) {
            let part = |key| escape(entry.get(key).and_then(Value::as_str).unwrap_or_default());
            let line = format!("{} {}", part("id"), part("name"));
            if !found.contains(&line) {
                found.push(line);
            }
        }
    }
    found.join(", ")
}
