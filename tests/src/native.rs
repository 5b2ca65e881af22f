//! The daemon on this host's own kernel, with fanotify: in a mount namespace of its own, so that it meddles with nobody
//! and several can run at once.

use std::collections::VecDeque;
use std::fs;
use std::io::{self, BufRead as _, BufReader};
use std::os::unix::process::CommandExt as _;
use std::path::{Path, PathBuf};
use std::process::{Child, ChildStdin, Command, ExitStatus, Stdio};
use std::sync::mpsc::{self, Receiver};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, bail, ensure};
use rustix::process::{Pid, Signal, kill_process};
use rustix::thread::UnshareFlags;
use seccompiler::{
    BpfProgram, SeccompAction, SeccompCmpArgLen, SeccompCmpOp, SeccompCondition, SeccompFilter, SeccompRule,
};
use serde_json::Value;

use crate::alert::{lookup, summary};
use crate::command_line::ldsentry;

/// How long a busy machine may take.
const PATIENCE: Duration = Duration::from_mins(1);
/// Files with which a test finds out that the daemon has come so far.
const MARKER: &str = "test-marker-";
/// The built-in rule, whose paths are moved to where tests may write.
const RULE: &str = include_str!("../../rules/linux/persistence/dynamic_linker_creation_or_modification.toml");

/// Puts this thread, and what it starts from now on, into a mount namespace with a `/run` of its own. Without root, says
/// that the test is skipped and gives `false`.
pub fn isolate() -> Result<bool> {
    if !rustix::process::geteuid().is_root() {
        say("skipped: fanotify and mounts need root");
        return Ok(false);
    }
    // SAFETY: mounts have nothing to do with memory, and no descriptor is closed.
    unsafe { rustix::thread::unshare_unsafe(UnshareFlags::NEWNS) }.context("making a mount namespace")?;
    run("mount", ["--make-rprivate", "/"])?;
    run("mount", ["-t", "tmpfs", "none", "/run"])?;
    Ok(true)
}

/// Says something to whoever runs the test.
#[expect(clippy::print_stderr, reason = "a skipped test must say so")]
pub fn say(text: &str) {
    let thread = std::thread::current();
    eprintln!("{}: {text}", thread.name().unwrap_or("test"));
}

/// Runs a command that must succeed. Gives its standard output.
pub fn run<'a>(program: impl AsRef<Path>, arguments: impl IntoIterator<Item = &'a str>) -> Result<String> {
    let mut command = Command::new(program.as_ref());
    let output = command.args(arguments).stdin(Stdio::null()).output();
    let output = output.with_context(|| format!("running {}", program.as_ref().display()))?;
    let said = String::from_utf8_lossy(&output.stderr);
    ensure!(output.status.success(), "{command:?}: {}: {said}", output.status);
    Ok(String::from_utf8_lossy(&output.stdout).into_owned())
}

/// Runs a shell script that must succeed, with `$T` for the tree. Gives its standard output.
pub fn shell(tree: &Path, script: &str) -> Result<String> {
    let script = format!("set -eu; T={}; {script}", tree.display());
    run("sh", ["-c", &script])
}

/// A shell that did something and waits.
#[derive(Debug)]
pub struct Waiting {
    child: Child,
    _stdin: ChildStdin,
}

impl Waiting {
    /// Runs a script as [`shell`] does, and leaves the shell there for the daemon to find.
    pub fn shell(tree: &Path, script: &str) -> Result<Self> {
        let script = format!("set -eu; T={}; {script}; read forever", tree.display());
        let mut child = Command::new("sh").args(["-c", &script]).stdin(Stdio::piped()).spawn()?;
        let stdin = child.stdin.take().context("the shell has no standard input")?;
        Ok(Self { child, _stdin: stdin })
    }

    /// Its process id.
    pub fn pid(&self) -> u32 {
        self.child.id()
    }
}

impl Drop for Waiting {
    fn drop(&mut self) {
        self.child.kill().ok();
        self.child.wait().ok();
    }
}

/// A daemon with the built-in rule for the files below a directory instead of `/`.
#[derive(Debug)]
pub struct Sensor {
    tree: PathBuf,
    child: Child,
    alerts: Receiver<Value>,
    /// Read before they were asked for.
    waiting: VecDeque<Value>,
    stderr: Option<JoinHandle<String>>,
    markers: u32,
}

/// What a daemon said until its end.
#[derive(Debug)]
pub struct Ended {
    /// How it ended.
    pub status: ExitStatus,
    /// Its standard error.
    pub stderr: String,
}

impl Ended {
    /// The value of a counter.
    pub fn counter(&self, series: &str) -> Result<u64> {
        let line = self.stderr.lines().rfind(|line| line.starts_with("{\"counters\""));
        let line = line.with_context(|| format!("no counters in {}", self.stderr))?;
        let document: Value = serde_json::from_str(line)?;
        document["counters"][series].as_u64().with_context(|| format!("no counter {series} in {line}"))
    }
}

impl Sensor {
    /// Starts it for the files in `tree`/etc, with these further arguments, and waits until it watches.
    pub fn start(tree: &Path, arguments: &[&str]) -> Result<Self> {
        Self::start_by(&mut Command::new(ldsentry()), tree, arguments)
    }

    /// Does the same where nobody reads its standard output any more.
    pub fn start_unread(tree: &Path, arguments: &[&str]) -> Result<Self> {
        let mut child = spawn(&mut Command::new(ldsentry()), tree, arguments)?;
        drop(child.stdout.take());
        Self::watch(child, tree)
    }

    /// Does the same in a pid namespace of its own. Only [`Signal::KILL`] reaches it there.
    pub fn start_apart(tree: &Path, arguments: &[&str]) -> Result<Self> {
        let mut command = Command::new("unshare");
        command.args(["--pid", "--fork", "--kill-child"]).arg(ldsentry());
        Self::start_by(&mut command, tree, arguments)
    }

    /// Starts it with a socket on which a service manager would listen, one that wants to hear each second that it works.
    pub fn start_notifying(tree: &Path, arguments: &[&str], socket: &Path) -> Result<Self> {
        let mut command = Command::new(ldsentry());
        command.env("NOTIFY_SOCKET", socket).env("WATCHDOG_USEC", "1000000");
        Self::start_by(&mut command, tree, arguments)
    }

    /// Does the same on a kernel whose fanotify does not know these flags of `fanotify_init`.
    pub fn start_without(tree: &Path, arguments: &[&str], flags: u32) -> Result<Self> {
        let filter = refusing_group_with(flags)?;
        let refuse = move || seccompiler::apply_filter(&filter).map_err(io::Error::other);
        let mut command = Command::new(ldsentry());
        // SAFETY: between fork and exec it makes system calls, and takes memory only to say why one failed.
        unsafe { command.pre_exec(refuse) };
        Self::start_by(&mut command, tree, arguments)
    }

    fn start_by(command: &mut Command, tree: &Path, arguments: &[&str]) -> Result<Self> {
        Self::watch(spawn(command, tree, arguments)?, tree)
    }

    /// Waits until it watches, and reads what it says from then on.
    fn watch(mut child: Child, tree: &Path) -> Result<Self> {
        let stderr = child.stderr.take().context("the daemon has no standard error")?;
        let (sender, alerts) = mpsc::channel();
        if let Some(stdout) = child.stdout.take() {
            std::thread::spawn(move || {
                for line in BufReader::new(stdout).lines().map_while(Result::ok) {
                    let alert = serde_json::from_str(&line).unwrap_or(Value::String(line));
                    sender.send(alert).ok();
                }
            });
        }
        let (ready, is_ready) = mpsc::channel();
        let stderr = std::thread::spawn(move || {
            let mut text = String::new();
            for line in BufReader::new(stderr).lines().map_while(Result::ok) {
                if line.contains("INFO watching") {
                    ready.send(()).ok();
                }
                text.push_str(&line);
                text.push('\n');
            }
            text
        });
        let sensor = Self {
            tree: tree.to_owned(),
            child,
            alerts,
            waiting: VecDeque::new(),
            stderr: Some(stderr),
            markers: 0,
        };
        if is_ready.recv_timeout(PATIENCE).is_err() {
            bail!("the daemon does not watch: {}", sensor.end(Signal::TERM)?.stderr);
        }
        Ok(sensor)
    }

    /// Does something of which the daemon is told only when it is over.
    pub fn behind_its_back<T>(&self, act: impl FnOnce() -> Result<T>) -> Result<T> {
        let pid = Pid::from_child(&self.child);
        kill_process(pid, Signal::STOP)?;
        let done = act();
        kill_process(pid, Signal::CONT)?;
        done
    }

    /// Waits for an alert of which `wanted` holds. Those before it stay for whoever asks next.
    pub fn wait_for(&mut self, what: &str, wanted: impl Fn(&Value) -> bool) -> Result<Value> {
        if let Some(place) = self.waiting.iter().position(&wanted) {
            return self.waiting.remove(place).context("it was there");
        }
        let deadline = Instant::now() + PATIENCE;
        loop {
            let Ok(alert) = self.alerts.recv_timeout(deadline.saturating_duration_since(Instant::now()))
            else {
                let others: Vec<_> = self.waiting.iter().map(summary).collect();
                bail!("no alert for {what}; all others:\n{}", others.join("\n"));
            };
            if wanted(&alert) {
                return Ok(alert);
            }
            self.waiting.push_back(alert);
        }
    }

    /// Waits for an alert about this file of the tree.
    pub fn alert_for(&mut self, file: &str) -> Result<Value> {
        let path = self.tree.join(file).display().to_string();
        self.wait_for(&path, |alert| lookup(alert, "file.path") == Some(&Value::from(path.as_str())))
    }

    /// All alerts so far, none of which was waited for.
    pub fn others(&mut self) -> Result<Vec<Value>> {
        let name = format!("{MARKER}{}", self.markers);
        self.markers += 1;
        let path = self.tree.join("etc/ld.so.conf.d").join(&name);
        fs::write(&path, "").with_context(|| format!("making {}", path.display()))?;
        self.wait_for(&name, |alert| lookup(alert, "file.name") == Some(&Value::from(name.as_str())))?;
        fs::remove_file(&path)?;
        Ok(self.waiting.drain(..).collect())
    }

    /// Ends it and gives what it said.
    pub fn end(self, signal: Signal) -> Result<Ended> {
        self.end_with_alerts(signal).map(|(_, ended)| ended)
    }

    /// Ends it and gives what it said, and the alerts that nobody has waited for.
    pub fn end_with_alerts(mut self, signal: Signal) -> Result<(Vec<Value>, Ended)> {
        // One that has ended cannot be told to.
        kill_process(Pid::from_child(&self.child), signal).ok();
        let status = self.child.wait()?;
        let mut alerts: Vec<_> = self.waiting.drain(..).collect();
        alerts.extend(self.alerts.iter());
        let stderr = self.stderr.take().and_then(|reader| reader.join().ok()).unwrap_or_default();
        Ok((alerts, Ended { status, stderr }))
    }
}

fn spawn(command: &mut Command, tree: &Path, arguments: &[&str]) -> Result<Child> {
    let rules = tree.join("rules");
    fs::create_dir_all(&rules)?;
    fs::write(rules.join("rule.toml"), RULE.replace("\"/etc/", &format!("\"{}/etc/", tree.display())))?;
    command
        .args(["run", "--output", "ndjson", "--rules"])
        .arg(&rules)
        .args(arguments)
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .context("starting the daemon")
}

/// Has `fanotify_init` answer as a kernel does that does not know a flag.
fn refusing_group_with(flags: u32) -> Result<BpfProgram> {
    let mask = u64::from(flags);
    let single = |bit: u64| {
        let condition = SeccompCondition::new(0, SeccompCmpArgLen::Dword, SeccompCmpOp::MaskedEq(bit), bit)?;
        SeccompRule::new(vec![condition])
    };
    let bits = (0..u32::BITS).map(|bit| 1 << bit).filter(|bit| mask & bit != 0);
    let rules = bits.map(single).collect::<Result<Vec<_>, _>>()?;
    let filter = SeccompFilter::new(
        [(libc::SYS_fanotify_init, rules)].into(),
        SeccompAction::Allow,
        SeccompAction::Errno(libc::EINVAL as u32),
        std::env::consts::ARCH.try_into()?,
    )?;
    Ok(filter.try_into()?)
}

impl Drop for Sensor {
    fn drop(&mut self) {
        self.child.kill().ok();
        self.child.wait().ok();
    }
}
