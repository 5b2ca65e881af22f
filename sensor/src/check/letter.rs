//! The report for people: the verdict first, then each finding.

use std::fmt::{self, Display, Formatter};

use textwrap::{Options, fill};

use super::cause::list;
use super::report::{Finding, Report, Status};

/// As wide as a terminal and a mail bear.
const WIDTH: usize = 100;

impl Display for Report {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        let missing = |finding: &&Finding| finding.status == Status::Missing;
        let missing: Vec<_> = self.findings.iter().filter(missing).map(|finding| finding.id).collect();
        let missing = list(&missing);
        let with = match (self.source, self.attach) {
            (Some(_), Some(mode)) => Some(format!("{mode} programs")),
            (Some(_), None) => Some("fanotify, which sees less than hooks do (docs/sources.md)".to_owned()),
            (None, _) => None,
        };
        let verdict = match with {
            Some(with) if self.watchable => format!("This host can be watched, with {with}."),
            Some(with) => format!("This host could be watched, with {with}. At fault: {missing}."),
            None => format!("This host cannot be watched. Missing: {missing}."),
        };
        let verdict = fill(&verdict, WIDTH);
        writeln!(f, "{verdict}\n")?;
        let mut told = Vec::new();
        for finding in &self.findings {
            finding.write(f, &mut told)?;
        }
        Ok(())
    }
}

impl Finding {
    /// `told` are the meanings so far: one cause can stand behind several findings.
    fn write<'a>(&'a self, f: &mut Formatter<'_>, told: &mut Vec<&'a str>) -> fmt::Result {
        let status = match self.status {
            Status::Ok => "ok",
            Status::Note => "note",
            Status::Missing => "missing",
        };
        writeln!(f, "{status:<9}{}", self.requirement)?;
        paragraph(f, "found:", &self.found)?;
        if let Some(meaning) = &self.meaning {
            if told.contains(&meaning.as_str()) {
                return paragraph(f, "means:", "The same as above.");
            }
            told.push(meaning);
            paragraph(f, "means:", meaning)?;
        }
        self.remedy.iter().try_for_each(|text| paragraph(f, "do:", text))
    }
}

fn paragraph(f: &mut Formatter<'_>, label: &str, text: &str) -> fmt::Result {
    let first = format!("{:9}{label:<9}", "");
    let further = " ".repeat(first.len());
    let mut indent = first.as_str();
    for line in text.lines() {
        writeln!(
            f,
            "{}",
            fill(line, Options::new(WIDTH).initial_indent(indent).subsequent_indent(&further))
        )?;
        indent = &further;
    }
    Ok(())
}
