//! From a system call to the alert about it.

use std::fs::{self, File};
use std::io::{self, BufRead as _, BufReader, Write as _};
use std::path::Path;

use anyhow::{Context as _, Result};

use crate::operation::instructions;

/// Creates files and waits for each one's alert.
pub(crate) fn run(alerts: &Path, process: u32, count: usize) -> Result<()> {
    let mut alerts = BufReader::new(File::open(alerts).context("opening the pipe of alerts")?);
    let mut line = String::new();
    let mut samples = Vec::with_capacity(count);
    let before = switches(process)?;
    for number in 0..count {
        let path = format!("/etc/ld.so.conf.d/cost-{number}.conf");
        let began = instructions();
        File::create(&path).with_context(|| format!("making {path}"))?;
        loop {
            line.clear();
            alerts.read_line(&mut line).context("reading an alert")?;
            if line.contains(&path) {
                break;
            }
        }
        samples.push(instructions().wrapping_sub(began));
        fs::remove_file(&path).with_context(|| format!("removing {path}"))?;
    }
    let after = switches(process)?;
    samples.sort_unstable();
    let mut stdout = io::stdout().lock();
    writeln!(stdout, "latency_median={}", samples[count / 2])?;
    writeln!(stdout, "latency_99={}", samples[count * 99 / 100])?;
    for (name, before, after) in [("voluntary", before.0, after.0), ("involuntary", before.1, after.1)] {
        writeln!(stdout, "{name}_switches_per_100={}", (after - before) * 100 / count as u64)?;
    }
    Ok(())
}

/// How often a process's threads gave up the processor, and how often it was taken from them.
fn switches(process: u32) -> Result<(u64, u64)> {
    let mut sums = (0, 0);
    for thread in fs::read_dir(format!("/proc/{process}/task"))? {
        let text = fs::read_to_string(thread?.path().join("status"))?;
        let number = |name: &str| {
            text.lines().find_map(|line| line.strip_prefix(name)?.trim().parse::<u64>().ok()).unwrap_or(0)
        };
        sums.0 += number("voluntary_ctxt_switches:");
        sums.1 += number("nonvoluntary_ctxt_switches:");
    }
    Ok(sums)
}
