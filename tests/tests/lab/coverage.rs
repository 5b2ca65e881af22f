//! docs/coverage.md: for each row of the list of evasions the scenarios that try it, and what came of them on each kernel
//! with each way to attach.
//!
//! The page is where the results are kept: a run writes its own into it (`UPDATE_DOCS=1`) and leaves the others.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Write as _;
use std::fs;
use std::sync::{Mutex, PoisonError};

use anyhow::{Context as _, Result, ensure};

use crate::rows::{ROWS, Row};

const PAGE: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/../docs/coverage.md");
const UPDATE: &str = "UPDATE_DOCS";
const PASSED: &str = "yes";
const FAILED: &str = "**no**";
const UNKNOWN: &str = "not run";

/// By scenario and boot.
type Results = BTreeMap<(String, String), bool>;

/// What came of the scenarios of this run.
#[derive(Debug, Default)]
pub(crate) struct Coverage(Mutex<Results>);

impl Coverage {
    pub(crate) fn note(&self, scenario: &str, boot: &str, passed: bool) {
        let mut results = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        results.insert((scenario.to_owned(), boot.to_owned()), passed);
    }

    /// Writes the results into the page, if that is wanted.
    pub(crate) fn write(&self, scenarios: &[String], boots: &[String]) -> Result<()> {
        if !is_updating() {
            return Ok(());
        }
        let mut results = parse(&fs::read_to_string(PAGE).unwrap_or_default(), boots);
        results.extend(self.0.lock().unwrap_or_else(PoisonError::into_inner).clone());
        fs::write(PAGE, render(scenarios, boots, &results)).with_context(|| format!("writing {PAGE}"))
    }
}

/// Whether the page says of each row what there is to say and of each scenario what came of it, and nothing of scenarios that
/// there are not.
pub(crate) fn check(scenarios: &[String], boots: &[String]) -> Result<()> {
    ensure!(
        ROWS.iter().map(|row| row.number).eq(1..=30),
        "the list of evasions has 30 rows, and not those of rows.rs"
    );
    if is_updating() {
        return Ok(());
    }
    let page = fs::read_to_string(PAGE).with_context(|| format!("reading {PAGE}"))?;
    let remedy = "run the lab with UPDATE_DOCS=1";
    let known: BTreeSet<&String> = scenarios.iter().collect();
    for row in ROWS {
        ensure!(page.contains(&heading(row)), "docs/coverage.md has no row {}; {remedy}", row.number);
        ensure!(
            !row.note.is_empty() || scenarios.iter().any(|name| row.has(name)),
            "row {} has no scenario, and does not say why",
            row.number
        );
        for pattern in row.scenarios {
            ensure!(
                scenarios.iter().any(|name| fits(pattern, name)),
                "row {} names scenarios {pattern}, and there are none",
                row.number
            );
        }
    }
    let results = parse(&page, boots);
    for scenario in scenarios.iter().filter(|name| ROWS.iter().any(|row| row.has(name))) {
        for boot in boots {
            ensure!(
                results.contains_key(&(scenario.clone(), boot.clone())),
                "docs/coverage.md does not say what came of {scenario} on {boot}; {remedy}"
            );
        }
    }
    for (scenario, boot) in results.keys() {
        ensure!(
            known.contains(scenario),
            "docs/coverage.md names {scenario}, which does not exist; {remedy}"
        );
        ensure!(
            results[&(scenario.clone(), boot.clone())],
            "docs/coverage.md says that {scenario} failed on {boot}"
        );
    }
    Ok(())
}

fn is_updating() -> bool {
    std::env::var_os(UPDATE).is_some_and(|value| !value.is_empty())
}

impl Row {
    fn has(&self, scenario: &str) -> bool {
        self.scenarios.iter().any(|pattern| fits(pattern, scenario))
    }
}

/// Whether a scenario's name begins with the parts of a pattern, of which `*` is any.
fn fits(pattern: &str, name: &str) -> bool {
    let mut parts = name.split('/');
    pattern.split('/').all(|wanted| parts.next().is_some_and(|part| wanted == "*" || wanted == part))
}

/// What the page's tables of scenarios say.
fn parse(page: &str, boots: &[String]) -> Results {
    let mut results = Results::new();
    for line in page.lines() {
        let Some((name, cells)) = line.strip_prefix("| `").and_then(|rest| rest.split_once("` | ")) else {
            continue;
        };
        for (boot, cell) in boots.iter().zip(cells.trim_end_matches('|').split('|').map(str::trim)) {
            if cell != UNKNOWN {
                results.insert((name.to_owned(), boot.clone()), cell == PASSED);
            }
        }
    }
    results
}

fn heading(row: &Row) -> String {
    format!("## {}. {}\n", row.number, row.technique)
}

const BEGINNING: &str = "# What is covered, and what is not

Ways to put a library into the dynamic linker's files, and what ldsentry says. Each is tried in a virtual machine on Debian's
stock kernels, with fentry and with kprobes, by a program that does nothing else. This page is made from what came of it:
`UPDATE_DOCS=1 cargo xtask test` (or `cargo test -p integration-tests --test lab -- FILTER` for some of it, which leaves the
other results) writes it, and a test fails where it names scenarios that do not exist, or leaves one out.

A scenario passes if the alerts are exactly those that it expects: the path, what happened, who did it, and how many. The
scenarios are in `tests/tests/lab`.
";

fn render(scenarios: &[String], boots: &[String], results: &Results) -> String {
    let mut page = format!(
        "{BEGINNING}\n| | technique | gives |{}\n|---|---|---|{}\n",
        head(boots),
        "---|".repeat(boots.len())
    );
    for row in ROWS {
        let cells = cells(boots, |boot| tally(row, scenarios, boot, results));
        let link = format!("[{}](#{})", row.number, anchor(row));
        writeln!(page, "| {link} | {} | {} |{cells}", row.technique, row.gives).ok();
    }
    page.push_str("\n## Not covered, or in part\n\n");
    for row in ROWS.iter().filter(|row| !row.note.is_empty()) {
        writeln!(page, "- {} ({}): {}", row.technique, row.number, row.note).ok();
    }
    for row in ROWS {
        writeln!(page, "\n{}\n{}", heading(row), if row.note.is_empty() { row.gives } else { row.note }).ok();
        let names: Vec<&String> = scenarios.iter().filter(|name| row.has(name)).collect();
        if names.is_empty() {
            continue;
        }
        writeln!(page, "\n| scenario |{}\n|---|{}", head(boots), "---|".repeat(boots.len())).ok();
        for name in names {
            let cells = cells(boots, |boot| cell(name, boot, results).to_owned());
            writeln!(page, "| `{name}` |{cells}").ok();
        }
    }
    page
}

fn head(boots: &[String]) -> String {
    cells(boots, |boot| boot.replace('/', " "))
}

/// The end of a table's line: a cell for each boot.
fn cells(boots: &[String], cell: impl Fn(&str) -> String) -> String {
    let cells: Vec<String> = boots.iter().map(|boot| cell(boot)).collect();
    format!(" {} |", cells.join(" | "))
}

fn cell(scenario: &str, boot: &str, results: &Results) -> &'static str {
    match results.get(&(scenario.to_owned(), boot.to_owned())) {
        Some(true) => PASSED,
        Some(false) => FAILED,
        None => UNKNOWN,
    }
}

/// How many of a row's scenarios passed.
fn tally(row: &Row, scenarios: &[String], boot: &str, results: &Results) -> String {
    let names: Vec<&String> = scenarios.iter().filter(|name| row.has(name)).collect();
    if names.is_empty() {
        return "-".to_owned();
    }
    let passed = names.iter().filter(|name| cell(name, boot, results) == PASSED).count();
    format!("{passed} of {}", names.len())
}

/// As GitHub makes it of a heading.
fn anchor(row: &Row) -> String {
    let kept = format!("{}. {}", row.number, row.technique).to_lowercase();
    kept.chars()
        .filter(|character| character.is_alphanumeric() || matches!(character, ' ' | '-' | '_'))
        .map(|character| if character == ' ' { '-' } else { character })
        .collect()
}
