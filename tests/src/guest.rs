//! A guest for one script, without a daemon that the agent starts.

use anyhow::{Result, ensure};
use xtask::lab::{Binaries, Guest, GuestOptions, Kind, Payload, Plan, Scenario, Series};

/// What the script is given.
#[derive(Debug)]
pub struct Alone<'a> {
    /// The agent's place.
    pub binaries: &'a Binaries,
    /// The guest's files.
    pub payload: &'a Payload,
    /// Whether systemd is the first process.
    pub systemd: bool,
}

impl Alone<'_> {
    /// Runs the script with `set -eux`; gives what it printed, fails if it fails.
    pub fn run(&self, series: Series, script: &str) -> Result<String> {
        let script = format!("set -eux\n{script}");
        let scenario = Scenario { name: "alone".to_owned(), script, seconds: 400 };
        let plan = Plan { scenarios: vec![scenario], systemd: self.systemd, ..Plan::default() };
        let (binaries, payload) = (self.binaries, self.payload);
        let guest = Guest::boot(&GuestOptions { series, binaries, payload, plan: &plan })?;
        let (mut stdout, mut stderr, mut code) = (String::new(), String::new(), String::new());
        loop {
            let frame = guest.next_frame()?;
            match frame.kind {
                Kind::ScriptStdout => stdout.push_str(&frame.text()),
                Kind::ScriptStderr => stderr.push_str(&frame.text()),
                Kind::End => code = frame.text(),
                Kind::Done => break,
                Kind::Hello
                | Kind::Ready
                | Kind::DaemonStdout
                | Kind::DaemonStderr
                | Kind::DaemonExit
                | Kind::Begin
                | Kind::Failed => {}
            }
        }
        ensure!(
            code == "0",
            "the script's exit code is {code}\n--- output:\n{stdout}\n--- errors:\n{stderr}"
        );
        Ok(stdout)
    }
}
