//! Watched files, many and fast.

use std::fs::{self, File};
use std::io::{self, Write as _};
use std::time::Duration;

use anyhow::{Context as _, Result};
use rustix::thread::clock_nanosleep_absolute;
use rustix::time::{ClockId, Timespec, clock_gettime};

/// Creates files that give an alert, and removes them: `rate` in a second, or without a pause where it is 0. Prints how many were
/// really made in a second.
pub(crate) fn run(count: u64, rate: u64) -> Result<()> {
    let now = || {
        let Timespec { tv_sec, tv_nsec } = clock_gettime(ClockId::Monotonic);
        Duration::new(tv_sec as u64, tv_nsec as u32)
    };
    let began = now();
    for number in 0..count {
        if let Some(nanoseconds) = (number * 1_000_000_000).checked_div(rate) {
            let due = began + Duration::from_nanos(nanoseconds);
            let due = Timespec { tv_sec: due.as_secs() as i64, tv_nsec: due.subsec_nanos().into() };
            clock_nanosleep_absolute(ClockId::Monotonic, &due).context("waiting")?;
        }
        let path = format!("/etc/ld.so.conf.d/flood-{number}.conf");
        File::create(&path).with_context(|| format!("making {path}"))?;
        fs::remove_file(&path).with_context(|| format!("removing {path}"))?;
    }
    let took = now().saturating_sub(began).as_nanos() as u64;
    Ok(writeln!(io::stdout(), "{}", count * 1_000_000_000 / took.max(1))?)
}
