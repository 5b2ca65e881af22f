//! Runs one script.

use std::fs;
use std::io::Read;
use std::os::unix::process::CommandExt as _;
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::sync::mpsc::{self, Sender};
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result};
use rustix::process::{Pid, Signal, kill_process_group};
use xtask::lab::{Kind, Scenario};

use crate::daemon::{Daemon, exit_code};
use crate::port::Port;

/// What `timeout` exits with.
const TIMED_OUT: i32 = 124;
/// A process that a script left behind may hold its output open.
const OUTPUT_LIMIT: Duration = Duration::from_secs(5);

/// Runs the script as root in a fresh directory, and gives its exit code.
pub(crate) fn run(scenario: &Scenario, daemon: Option<&Daemon>, port: &Port) -> Result<i32> {
    let directory = Path::new("/var/lab").join(&scenario.name);
    fs::create_dir_all(&directory)?;
    let script = directory.join(".script");
    fs::write(&script, &scenario.script)?;
    let mut command = if scenario.script.starts_with("#!") {
        use std::os::unix::fs::PermissionsExt as _;
        fs::set_permissions(&script, fs::Permissions::from_mode(0o755))?;
        Command::new(&script)
    } else {
        let mut shell = Command::new("/bin/sh");
        shell.arg(&script);
        shell
    };
    command
        .current_dir(&directory)
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .process_group(0);
    if let Some(daemon) = daemon {
        command.env("LDSENTRY_PID", daemon.id().to_string());
    }
    let mut child = command.spawn().context("starting the script")?;
    let (ended, outputs) = mpsc::channel();
    if let (Some(stdout), Some(stderr)) = (child.stdout.take(), child.stderr.take()) {
        forward(stdout, Kind::ScriptStdout, port.clone(), ended.clone());
        forward(stderr, Kind::ScriptStderr, port.clone(), ended);
    }
    let code = wait(&mut child, Duration::from_secs(scenario.seconds), port)?;
    for _ in 0..2 {
        outputs.recv_timeout(OUTPUT_LIMIT).ok();
    }
    Ok(code)
}

fn wait(child: &mut Child, limit: Duration, port: &Port) -> Result<i32> {
    let began = Instant::now();
    let group =
        i32::try_from(child.id()).ok().and_then(Pid::from_raw).context("the script has no process id")?;
    let code = loop {
        if let Some(status) = child.try_wait()? {
            break exit_code(status);
        }
        if began.elapsed() > limit {
            let message = format!("lab: the script was still running after {} s\n", limit.as_secs());
            port.send(Kind::ScriptStderr, message.as_bytes());
            kill_process_group(group, Signal::KILL).ok();
            child.wait()?;
            break TIMED_OUT;
        }
        std::thread::sleep(Duration::from_millis(5));
    };
    // Nothing of one scenario may run into the next one.
    kill_process_group(group, Signal::KILL).ok();
    Ok(code)
}

fn forward(mut stream: impl Read + Send + 'static, kind: Kind, port: Port, ended: Sender<()>) {
    std::thread::spawn(move || {
        let mut buffer = vec![0; 64 * 1024];
        while let Ok(length) = stream.read(&mut buffer)
            && length > 0
        {
            port.send(kind, &buffer[..length]);
        }
        ended.send(()).ok();
    });
}
