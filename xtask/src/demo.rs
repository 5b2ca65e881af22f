//! `cargo xtask run`: the daemon at work, on this host, or on a stock kernel in the lab that it attacks.

use std::io::{IsTerminal as _, Write as _};
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

/// What `ldsentry check` says of this host.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Host {
    Hooks,
    Fanotify,
    Nothing,
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
    let report: serde_json::Value =
        serde_json::from_slice(&check(&["--format", "json"])?.stdout).context("reading ldsentry's check")?;
    let host = match report["source"].as_str() {
        Some("ebpf") => Host::Hooks,
        Some("fanotify") => Host::Fanotify,
        _ => Host::Nothing,
    };
    if is_shown_here(place, host, std::io::stdin().is_terminal()) {
        return here(&binaries, host);
    }
    if place == Place::Here {
        let check = check(&[])?;
        let why =
            format!("{}{}", String::from_utf8_lossy(&check.stdout), String::from_utf8_lossy(&check.stderr));
        bail!("this host cannot be watched:\n{}", why.trim_end());
    }
    complain(match host {
        Host::Fanotify => {
            "this host's kernel takes fanotify only, and nobody is at a terminal to try it (`--native` watches it all the \
             same): showing the hooks on a stock kernel in the lab"
        }
        Host::Hooks | Host::Nothing => {
            "this host cannot be watched (`ldsentry check` tells why): using a stock kernel in the lab"
        }
    });
    in_lab(&binaries)
}

/// Whether this host is watched. With fanotify somebody has to be there to try it: the lab attacks itself, with hooks.
fn is_shown_here(place: Place, host: Host, somebody: bool) -> bool {
    match (place, host) {
        (Place::Lab, _) | (_, Host::Nothing) => false,
        (Place::Anywhere, Host::Fanotify) => somebody,
        (Place::Anywhere, Host::Hooks) | (Place::Here, Host::Hooks | Host::Fanotify) => true,
    }
}

fn here(binaries: &Binaries, host: Host) -> Result<i32> {
    let mut command = Command::new(binaries.path("ldsentry"));
    command.args(["run", "--output", "pretty"]);
    if host == Host::Fanotify {
        complain(
            "this kernel takes no hooks: `cargo xtask run --vm` shows them at work on a stock kernel in the lab",
        );
    }
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn this_host_is_preferred_where_there_is_something_to_see() {
        for (place, host, somebody, here) in [
            (Place::Anywhere, Host::Hooks, false, true),
            (Place::Anywhere, Host::Fanotify, true, true),
            // A pipe or a script would wait for ever.
            (Place::Anywhere, Host::Fanotify, false, false),
            (Place::Here, Host::Fanotify, false, true),
            (Place::Here, Host::Nothing, true, false),
            (Place::Anywhere, Host::Nothing, true, false),
            (Place::Lab, Host::Hooks, true, false),
        ] {
            assert_eq!(is_shown_here(place, host, somebody), here, "{place:?}, {host:?}, {somebody}");
        }
    }
}
