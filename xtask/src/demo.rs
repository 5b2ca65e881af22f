//! `cargo xtask run`: the daemon at work, on this kernel if it can be hooked, else on a stock one in the lab.

use std::io::Write as _;
use std::process::Command;

use anyhow::{Context as _, Result, bail};

use crate::command::{Step, complain, shown};
use crate::lab::{
    Attach, Binaries, Guest, GuestOptions, Kind, Payload, Plan, Scenario, Series, build, daemon_command,
};

/// Where to run it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Place {
    /// Here if possible.
    Anywhere,
    /// In the lab.
    Lab,
    /// On this kernel or not at all.
    Here,
}

/// Runs the daemon. Gives the exit code.
pub fn run(place: Place) -> Result<i32> {
    let binaries = build(&[("sensor", "ldsentry")])?;
    if place == Place::Lab {
        return in_lab(&binaries);
    }
    let check = |arguments: &[&str]| {
        let check = Command::new(binaries.path("ldsentry")).arg("check").args(arguments).output();
        check.context("running ldsentry check")
    };
    // fanotify would do, but it is not what there is to see.
    let report: serde_json::Value =
        serde_json::from_slice(&check(&["--format", "json"])?.stdout).context("reading ldsentry's check")?;
    if report["attach"].is_string() {
        return here(&binaries);
    }
    let check = check(&[])?;
    let why = format!("{}{}", String::from_utf8_lossy(&check.stdout), String::from_utf8_lossy(&check.stderr));
    if place == Place::Here {
        bail!("this host's kernel cannot be hooked:\n{}", why.trim_end());
    }
    complain(
        "this host's kernel cannot be hooked (`ldsentry check` tells why): using a stock kernel in the lab",
    );
    in_lab(&binaries)
}

fn here(binaries: &Binaries) -> Result<i32> {
    let mut command = Command::new(binaries.path("ldsentry"));
    command.args(["run", "--output", "pretty"]);
    complain(
        "this host is being watched. In another terminal, as root, try (and remove the file afterwards):",
    );
    complain("    touch /etc/ld.so.conf.d/ldsentry-demo.conf");
    let status = command.status().with_context(|| format!("running `{}`", shown(&command)))?;
    Ok(status.code().unwrap_or(1))
}

fn in_lab(binaries: &Binaries) -> Result<i32> {
    let series = Series::V6_12;
    let mut payload = Payload::new()?;
    payload.add_program("bin/ldsentry", &binaries.path("ldsentry"))?;
    let script = include_str!("demo.sh").to_owned();
    let plan = Plan {
        daemon: daemon_command(Attach::Auto, "pretty", false),
        scenarios: vec![Scenario { name: "demo".to_owned(), script, seconds: 120 }],
        ..Plan::default()
    };
    let step = Step::begin(format!("booting Debian's {} kernel under emulation", series.name()));
    let guest = Guest::boot(&GuestOptions { series, binaries, payload: &payload, plan: &plan })?;
    step.done();
    show(&guest)
}

/// Shows commands and alerts together, as a person at the guest's screen would see them.
fn show(guest: &Guest) -> Result<i32> {
    let mut code = 0;
    loop {
        let frame = guest.next_frame()?;
        match frame.kind {
            Kind::DaemonStdout | Kind::ScriptStdout => {
                let mut stdout = std::io::stdout().lock();
                stdout
                    .write_all(&frame.payload)
                    .and_then(|()| stdout.flush())
                    .context("writing the output")?;
            }
            Kind::DaemonStderr | Kind::ScriptStderr => {
                std::io::stderr().write_all(&frame.payload).context("writing to standard error")?;
            }
            Kind::End => code = frame.text().parse().context("reading the script's exit code")?,
            Kind::Done => return Ok(code),
            Kind::Hello | Kind::Ready | Kind::DaemonExit | Kind::Begin | Kind::Failed => {}
        }
    }
}
