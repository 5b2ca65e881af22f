//! Rules tried on ECS events from a file: one JSON object a line, plain or as an Elasticsearch hit.
//!
//! Of each line only the fields that rules read are taken out; the whole of it is parsed for an alert alone.

mod document;
mod fields;

use std::io::{self, BufRead, Write};

use jiff::Timestamp;
use serde::Serialize;

pub use self::fields::FieldReader;
use crate::alert::Alert;
use crate::detect::{Engine, Verdict};

/// What is printed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, clap::ValueEnum)]
pub enum Format {
    /// One alert a line.
    Alerts,
    /// One line for each event and rule, with the clause that decided.
    Verdicts,
}

/// A line that is not an event.
#[derive(Debug, thiserror::Error)]
#[error("line {line} is not a JSON object: {reason}")]
pub struct LineError {
    /// Its number, from 1.
    pub line: u64,
    /// What is wrong with it.
    pub reason: String,
}

/// What a replay came to.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
#[expect(missing_docs, reason = "counts of what their names say")]
pub struct Summary {
    pub events: u64,
    pub alerts: u64,
    pub bad_lines: u64,
}

/// Why a replay ended early.
#[derive(Debug, thiserror::Error)]
pub enum ReplayError {
    /// The events could not be read.
    #[error("cannot read the events: {0}")]
    Read(#[source] io::Error),
    /// What came of them could not be written.
    #[error("cannot write the results: {0}")]
    Write(#[source] io::Error),
}

#[derive(Serialize)]
struct VerdictLine<'a> {
    event: u64,
    rule_id: &'a str,
    verdict: &'static str,
    clause: &'a str,
    /// An alert's, that an exclusion does not prevent.
    #[serde(skip_serializing_if = "Option::is_none")]
    not_honoured: Option<&'a str>,
}

/// Reads events from `input` and writes what `engine` says about them to `output`, in the order of the input.
///
/// Blank lines are no events and no errors. A line that is wrong goes to `bad_line`, and the rest goes on. `clock` tells
/// the time of an alert.
pub fn replay(
    engine: &Engine,
    mut input: impl BufRead,
    format: Format,
    output: &mut impl Write,
    clock: impl Fn() -> Timestamp,
    mut bad_line: impl FnMut(LineError),
) -> Result<Summary, ReplayError> {
    let mut reader = FieldReader::new(engine.fields());
    let mut summary = Summary::default();
    let mut line = Vec::new();
    let mut number = 0;
    let now = clock();
    loop {
        line.clear();
        if input.read_until(b'\n', &mut line).map_err(ReplayError::Read)? == 0 {
            break;
        }
        number += 1;
        if line.ends_with(b"\n") {
            line.pop();
        }
        if line.iter().all(u8::is_ascii_whitespace) {
            continue;
        }
        let mut bad = |reason: String| {
            summary.bad_lines += 1;
            bad_line(LineError { line: number, reason });
        };
        if let Err(error) = reader.read(&line).or_else(|error| reread_as_utf8(&mut reader, &mut line, error))
        {
            bad(reason(&error));
            continue;
        }
        summary.events += 1;
        let written = match format {
            Format::Verdicts => write_verdicts(engine, &reader, summary.events, now, output),
            Format::Alerts => {
                let mut matching = Vec::new();
                engine.detect(&reader, now, |rule, verdict| {
                    if verdict.is_alert() {
                        matching.push((rule, verdict));
                    }
                });
                match alerts(engine, &line, &matching, &clock) {
                    Ok(alerts) => {
                        summary.alerts += alerts.len() as u64;
                        alerts.iter().try_for_each(|alert| writeln!(output, "{}", alert.to_line()))
                    }
                    Err(error) => {
                        bad(reason(&error));
                        Ok(())
                    }
                }
            }
        };
        written.map_err(ReplayError::Write)?;
    }
    output.flush().map_err(ReplayError::Write)?;
    Ok(summary)
}

/// Tries a line again whose text is not UTF-8, as logs with raw file names have them: a strange byte must not hide an
/// event.
fn reread_as_utf8(
    reader: &mut FieldReader,
    line: &mut Vec<u8>,
    error: serde_json::Error,
) -> Result<(), serde_json::Error> {
    match String::from_utf8_lossy(line) {
        std::borrow::Cow::Borrowed(_) => Err(error),
        std::borrow::Cow::Owned(text) => {
            *line = text.into_bytes();
            reader.read(line)
        }
    }
}

fn write_verdicts(
    engine: &Engine,
    document: &FieldReader,
    event: u64,
    now: Timestamp,
    output: &mut impl Write,
) -> io::Result<()> {
    for (index, rule) in engine.rules().enumerate() {
        let verdict = engine.verdict(index, document, now);
        let word = match verdict {
            Verdict::Alert | Verdict::NotHonoured(_) => "alert",
            Verdict::Excluded(_) => "excluded",
            Verdict::NoMatch(_) | Verdict::NotOffered => "no_match",
        };
        let clause = engine.clause(index, verdict);
        serde_json::to_writer(
            &mut *output,
            &VerdictLine {
                event,
                rule_id: &rule.id,
                verdict: word,
                clause: &clause,
                not_honoured: engine.not_honoured(index, verdict),
            },
        )?;
        output.write_all(b"\n")?;
    }
    Ok(())
}

/// The alerts of the rules `matching` about the event in `line`.
fn alerts(
    engine: &Engine,
    line: &[u8],
    matching: &[(usize, Verdict)],
    clock: &impl Fn() -> Timestamp,
) -> Result<Vec<Alert>, serde_json::Error> {
    if matching.is_empty() {
        return Ok(Vec::new());
    }
    let hit = document::Hit::parse(line)?;
    let alert = |&(rule, verdict): &(usize, Verdict)| {
        let clause = engine.clause(rule, verdict);
        let not_honoured = engine.not_honoured(rule, verdict);
        Alert::new(engine.rule(rule), hit.source(&clause, not_honoured), clock())
    };
    Ok(matching.iter().map(alert).collect())
}

/// The parser's message without its line, which always is 1.
fn reason(error: &serde_json::Error) -> String {
    error.to_string().replace(" at line 1 column ", " at column ")
}

#[cfg(test)]
mod tests;
