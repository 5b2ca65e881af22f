//! A guest for one script, without a daemon that the agent starts.

use anyhow::Result;
use xtask::lab::{Binaries, Guest, GuestOptions, Payload, Plan, SILENCE_LIMIT, Scenario, Series};

/// What the script is given.
#[derive(Debug)]
pub struct Alone<'a> {
    /// The agent's place.
    pub binaries: &'a Binaries,
    /// The guest's files.
    pub payload: &'a Payload,
    /// Whether systemd is the first process.
    pub systemd: bool,
    /// What is run before systemd.
    pub before_systemd: &'a str,
}

impl Alone<'_> {
    /// Runs the script with `set -eux`; gives what it printed, fails if it fails.
    pub fn run(&self, series: Series, script: &str) -> Result<String> {
        let script = format!("set -eux\n{script}");
        let scenario = Scenario { name: "alone".to_owned(), script, seconds: 400 };
        let before_systemd = self.before_systemd.to_owned();
        let plan =
            Plan { scenarios: vec![scenario], systemd: self.systemd, before_systemd, ..Plan::default() };
        let (binaries, payload) = (self.binaries, self.payload);
        let guest = Guest::boot(&GuestOptions { series, binaries, payload, plan: &plan })?;
        guest.transcript(SILENCE_LIMIT)?.success()
    }
}
