//! When a program has said that it is ready.

use std::fs;
use std::io::{self, Write as _};
use std::path::Path;
use std::thread;
use std::time::Duration;

use anyhow::{Context as _, Result, bail};

use crate::operation::instructions;

/// Time between two looks, which take little of it: the program shares the guest's only processor.
const PAUSE: Duration = Duration::from_millis(2);
/// A minute of the guest's time, of which the program takes a few seconds.
const LOOKS: usize = 30_000;

/// Waits until a program has written the text to the file, and prints how many instructions the guest has had then.
pub(crate) fn run(file: &Path, text: &str) -> Result<()> {
    for _ in 0..LOOKS {
        let said = fs::read_to_string(file).with_context(|| format!("reading {}", file.display()))?;
        if said.contains(text) {
            return Ok(writeln!(io::stdout(), "{}", instructions())?);
        }
        thread::sleep(PAUSE);
    }
    bail!("there is no `{text}` in {} after a minute", file.display())
}
