//! The guest's first process: finds the root, starts the daemon, runs the plan, tells the host.
//!
//! It is started twice: by the kernel out of the initramfs, where it brings up the disk and moves to
//! it ([`early`]), and then by itself or by systemd, from `/lab` in the guest's Debian root.

mod daemon;
mod early;
mod port;
mod scenario;
mod system;

use std::path::Path;
use std::process::Command;

use anyhow::{Context as _, Result};
use xtask::lab::{Kind, LAB, Plan};

use crate::daemon::Daemon;
use crate::port::Port;

fn main() {
    let result = if Path::new(early::PAYLOAD).exists() { early::move_to_root() } else { serve() };
    if let Err(error) = result {
        // Without a port there is the console, which the host shows when a guest ends too early.
        system::complain(&format!("{error:#}"));
    }
    system::power_off();
}

fn serve() -> Result<()> {
    let plan = plan()?;
    if plan.systemd {
        system::complete_systemd()?;
    } else {
        system::mount_all().context("mounting the guest's file systems")?;
    }
    let port = Port::open().context("opening the port to the host")?;
    let result = follow_plan(&plan, &port);
    if let Err(error) = &result {
        port.send(Kind::Failed, format!("{error:#}").as_bytes());
    }
    port::wait_for_host();
    result
}

/// What the host wants done.
fn plan() -> Result<Plan> {
    let plan = std::fs::read(Path::new(LAB).join("plan.json")).context("reading the plan")?;
    serde_json::from_slice(&plan).context("reading the plan")
}

fn follow_plan(plan: &Plan, port: &Port) -> Result<()> {
    let release = rustix::system::uname().release().to_string_lossy().into_owned();
    port.send(Kind::Hello, release.as_bytes());
    if plan.shell {
        return give_shell(plan);
    }
    let daemon = if plan.daemon.is_empty() { None } else { Some(Daemon::start(&plan.daemon, port)?) };
    let linker_files = system::LinkerFiles::remember();
    for (number, scenario) in plan.scenarios.iter().enumerate() {
        port.set_scenario(number);
        port.send(Kind::Begin, scenario.name.as_bytes());
        let code = scenario::run(scenario, daemon.as_ref(), port)
            .with_context(|| format!("running scenario {}", scenario.name))?;
        if plan.markers {
            linker_files.restore();
            if let Some(daemon) = &daemon {
                daemon.wait_for_marker(number)?;
            }
        }
        port.send(Kind::End, code.to_string().as_bytes());
    }
    if let Some(daemon) = daemon {
        daemon.stop(port)?;
    }
    port.send(Kind::Done, b"");
    Ok(())
}

/// What can control a session, which `/dev/console` cannot.
const CONSOLE: &str = if cfg!(target_arch = "aarch64") { "/dev/ttyAMA0" } else { "/dev/ttyS0" };

/// A shell on the console, with the daemon's output on it too.
fn give_shell(plan: &Plan) -> Result<()> {
    let mut daemon = None;
    if let [program, arguments @ ..] = plan.daemon.as_slice() {
        daemon = Some(Command::new(program).args(arguments).spawn().context("starting the daemon")?);
    }
    let console = std::fs::File::options().read(true).write(true).open(CONSOLE)?;
    Command::new("setsid")
        .args(["--ctty", "--wait", "bash", "--login"])
        .current_dir("/root")
        .stdin(console.try_clone()?)
        .stdout(console.try_clone()?)
        .stderr(console)
        .status()
        .context("starting a shell")?;
    if let Some(mut daemon) = daemon {
        system::terminate(daemon.id());
        daemon.wait()?;
    }
    Ok(())
}
