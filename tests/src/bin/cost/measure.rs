//! Batches of each operation in turn, and the median of the batches' medians.

use std::io::{self, Write as _};
use std::time::Duration;

use anyhow::{Context as _, Result};

use crate::operation::{self, Operation};

const ROUNDS: usize = 7;
/// Of operations in a batch.
const BATCH: usize = 15;
/// What is watched costs more, and those who are told of it need time.
const WATCHED_BATCH: usize = 3;
/// Long enough for whoever is told of a file to be done with it, and to sleep: to wake nobody costs 5,000 instructions less. Nobody
/// waits for it, since a guest that counts has nothing else to do.
const SETTLE: Duration = Duration::from_millis(400);

/// Measures everything and prints it.
pub(crate) fn run(label: &str) -> Result<()> {
    run_first().context("running before all others")?;
    let mut operations = operation::all()?;
    let mut medians = vec![Vec::with_capacity(ROUNDS); operations.len()];
    for round in 0..=ROUNDS {
        for (operation, medians) in operations.iter_mut().zip(&mut medians) {
            let median = batch(operation).with_context(|| format!("doing {}", operation.name))?;
            // The first round is for caches to fill.
            if round > 0 {
                medians.push(median);
            }
        }
    }
    let mut stdout = io::stdout().lock();
    for (operation, medians) in operations.iter().zip(medians) {
        writeln!(stdout, "{label}\t{}\t{}", operation.name, median(medians))?;
    }
    Ok(())
}

fn batch(operation: &mut Operation) -> io::Result<u64> {
    let size = if operation.watched { WATCHED_BATCH } else { BATCH };
    let mut samples = Vec::with_capacity(size);
    for _ in 0..size {
        samples.push((operation.act)()?);
        if operation.watched {
            std::thread::sleep(SETTLE);
        }
    }
    Ok(median(samples))
}

pub(crate) fn median(mut samples: Vec<u64>) -> u64 {
    samples.sort_unstable();
    samples[samples.len() / 2]
}

/// Nobody else runs while an operation is under way: what is woken by it, and does its work later, is not the operation's
/// cost.
fn run_first() -> io::Result<()> {
    std::fs::write("/proc/sys/kernel/sched_rt_runtime_us", "-1")?;
    let priority = libc::sched_param { sched_priority: 50 };
    // SAFETY: a valid structure.
    if unsafe { libc::sched_setscheduler(0, libc::SCHED_FIFO, &raw const priority) } != 0 {
        return Err(io::Error::last_os_error());
    }
    Ok(())
}
