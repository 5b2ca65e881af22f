//! `cargo xtask test`: everything that must hold, natively and in the lab, and one line at the end that sums it up.

use std::io::{BufRead as _, BufReader, Write as _};
use std::process::{Command, Stdio};

use anyhow::{Context as _, Result};

use crate::command::{Step, cargo, complain, output, shown};
use crate::tidy;

/// What has been counted so far.
#[derive(Debug, Default)]
struct Tally {
    passed: u64,
    failed: u64,
    failures: Vec<String>,
}

/// Runs the checks and tests, or only the tests whose names contain the filter. Gives the exit code.
pub fn run(filter: Option<&str>) -> Result<i32> {
    let mut tally = Tally::default();
    if filter.is_none() {
        tally.check("formatting", || output(cargo().args(["fmt", "--all", "--check"])).map(drop));
        tally.check("clippy", || output(&mut clippy()).map(drop));
        tally.check("tidy", || tidy::run(false));
    }
    // The kernel side compiles for BPF only, and the lab comes last: it takes longest.
    let native = ["--workspace", "--exclude", "sensor-ebpf", "--exclude", "integration-tests"];
    tally.cargo_test("tests", &native, filter)?;
    tally.cargo_test("whole-program tests", &["--package", "integration-tests"], filter)?;

    let mut stdout = std::io::stdout().lock();
    for failure in &tally.failures {
        writeln!(stdout, "failed: {failure}")?;
    }
    writeln!(stdout, "{} passed, {} failed", tally.passed, tally.failed)?;
    Ok(i32::from(tally.failed > 0))
}

fn clippy() -> Command {
    let mut command = cargo();
    command.args(["clippy", "--quiet", "--workspace", "--exclude", "sensor-ebpf", "--all-targets"]);
    command.args(["--", "-D", "warnings"]);
    command
}

impl Tally {
    /// One check that holds or does not.
    fn check(&mut self, name: &str, check: impl FnOnce() -> Result<()>) {
        let step = Step::begin(name);
        match check() {
            Ok(()) => self.passed += 1,
            Err(error) => {
                complain(&format!("{name}: {error:#}"));
                self.fail(name.to_owned());
            }
        }
        step.done();
    }

    fn fail(&mut self, what: String) {
        self.failed += 1;
        self.failures.push(what);
    }

    /// Runs `cargo test`, showing what it shows, and counts what it counts.
    fn cargo_test(&mut self, name: &str, packages: &[&str], filter: Option<&str>) -> Result<()> {
        let step = Step::begin(name);
        let mut command = cargo();
        command.args(["test", "--quiet", "--no-fail-fast"]).args(packages);
        command.args(["--"]).args(filter);
        // A snapshot that differs fails; none is written behind anybody's back.
        command.env("INSTA_UPDATE", "no").stdout(Stdio::piped());
        let mut child = command.spawn().with_context(|| format!("running `{}`", shown(&command)))?;
        let stdout = child.stdout.take().context("cargo has no standard output")?;
        let failed_before = self.failed;
        for line in BufReader::new(stdout).split(b'\n') {
            let line = line.context("reading what cargo says")?;
            let text = String::from_utf8_lossy(&line);
            self.count(&text);
            let mut ours = std::io::stdout().lock();
            ours.write_all(&line)?;
            ours.write_all(b"\n")?;
        }
        let status = child.wait()?;
        if !status.success() && self.failed == failed_before {
            self.fail(format!("{name}: `{}`: {status}", shown(&command)));
        }
        step.done();
        Ok(())
    }

    /// Reads `test result: ok. 3 passed; 0 failed; …`, and the names below `failures:`.
    fn count(&mut self, line: &str) {
        let Some(result) = line.strip_prefix("test result: ") else { return };
        for part in result.split(['.', ';']) {
            let Some((number, what)) = part.trim().split_once(' ') else { continue };
            let Ok(number) = number.parse::<u64>() else { continue };
            match what {
                "passed" => self.passed += number,
                "failed" if number > 0 => {
                    self.failed += number;
                    self.failures.push(format!("{number} tests, named above"));
                }
                _ => {}
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn closing_lines_are_added_up() {
        let mut tally = Tally::default();
        for line in [
            "running 3 tests",
            "test result: ok. 3 passed; 0 failed; 0 ignored; 0 measured; 0 filtered out; finished in 0.01s",
            "test result: FAILED. 4 passed; 2 failed; 1 ignored; 0 measured; 9 filtered out; finished in 0.01s",
            "7 passed of course",
        ] {
            tally.count(line);
        }
        assert_eq!((tally.passed, tally.failed), (7, 2));
    }
}
