//! Watched files, many and fast.

use std::fs::{self, File};
use std::io::{self, Write as _};
use std::thread;
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result};

/// Creates files that give an alert, and removes them: `rate` in a second, or without a pause where it is 0. Prints how many were
/// really made in a second.
pub(crate) fn run(count: u64, rate: u64) -> Result<()> {
    let began = Instant::now();
    for number in 0..count {
        if let Some(nanoseconds) = (number * 1_000_000_000).checked_div(rate) {
            let due = began + Duration::from_nanos(nanoseconds);
            thread::sleep(due.saturating_duration_since(Instant::now()));
        }
        let path = format!("/etc/ld.so.conf.d/flood-{number}.conf");
        File::create(&path).with_context(|| format!("making {path}"))?;
        fs::remove_file(&path).with_context(|| format!("removing {path}"))?;
    }
    let took = began.elapsed().as_nanos() as u64;
    Ok(writeln!(io::stdout(), "{}", count * 1_000_000_000 / took.max(1))?)
}
