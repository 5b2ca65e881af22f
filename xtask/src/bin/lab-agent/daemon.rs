//! The daemon in the guest: started, watched, told to stop.

use std::fs;
use std::io::{BufRead as _, BufReader, Read, Write as _};
use std::os::unix::net::UnixDatagram;
use std::os::unix::process::ExitStatusExt as _;
use std::path::Path;
use std::process::{Child, Command, ExitStatus, Stdio};
use std::sync::mpsc::{self, Receiver, RecvTimeoutError, Sender};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, bail};
use xtask::lab::{Kind, MARKER};

use crate::port::Port;
use crate::system;

/// Verifying programs under emulation is slow.
const START_LIMIT: Duration = Duration::from_secs(150);
/// What a flood left behind is worked off first.
const MARKER_LIMIT: Duration = Duration::from_mins(1);
const STOP_LIMIT: Duration = Duration::from_secs(30);
const NOTIFY_SOCKET: &str = "/run/lab-notify";
/// Copies of what the daemon says, for scripts that wait for it.
const STDOUT_COPY: &str = "/run/ldsentry.stdout";
const STDERR_COPY: &str = "/run/ldsentry.stderr";
/// A file here for each marker that was reported, for scripts that make their own.
const SEEN: &str = "/run/lab-markers";

/// The running daemon.
#[derive(Debug)]
pub(crate) struct Daemon {
    child: Child,
    /// Open for as long as it runs: it may have more to say than that it is ready.
    notifications: UnixDatagram,
    markers: Receiver<String>,
    readers: [JoinHandle<()>; 2],
}

impl Daemon {
    /// Starts it and waits until it says, as to systemd, that it is ready.
    pub(crate) fn start(command: &[String], port: &Port) -> Result<Self> {
        let [program, arguments @ ..] = command else { bail!("there is no daemon to start") };
        fs::create_dir_all(SEEN)?;
        let notifications = UnixDatagram::bind(NOTIFY_SOCKET).context("making the notification socket")?;
        notifications.set_read_timeout(Some(Duration::from_millis(100)))?;
        let mut child = Command::new(program)
            .args(arguments)
            .env("NOTIFY_SOCKET", NOTIFY_SOCKET)
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .with_context(|| format!("starting {program}"))?;
        let (sender, markers) = mpsc::channel();
        let stdout = child.stdout.take().context("the daemon has no standard output")?;
        let stderr = child.stderr.take().context("the daemon has no standard error")?;
        let readers = [
            forward(stdout, Kind::DaemonStdout, STDOUT_COPY, port, Some(sender))?,
            forward(stderr, Kind::DaemonStderr, STDERR_COPY, port, None)?,
        ];
        let mut daemon = Self { child, notifications, markers, readers };
        daemon.wait_until_ready()?;
        port.send(Kind::Ready, b"");
        Ok(daemon)
    }

    /// Its process id.
    pub(crate) fn id(&self) -> u32 {
        self.child.id()
    }

    fn wait_until_ready(&mut self) -> Result<()> {
        let began = Instant::now();
        let mut message = [0; 4096];
        while began.elapsed() < START_LIMIT {
            if let Ok(length) = self.notifications.recv(&mut message)
                && message[..length].split(|byte| *byte == b'\n').any(|line| line == b"READY=1")
            {
                return Ok(());
            }
            if let Some(status) = self.child.try_wait()? {
                bail!("the daemon ended before it was ready: {status}");
            }
        }
        bail!("the daemon did not say READY=1 on $NOTIFY_SOCKET within {} s", START_LIMIT.as_secs())
    }

    /// Makes the scenario's marker and waits for its alert.
    pub(crate) fn wait_for_marker(&self, number: usize) -> Result<()> {
        let path = format!("/etc/ld.so.conf.d/{MARKER}{number}");
        fs::File::create(&path).with_context(|| format!("making {path}"))?;
        let began = Instant::now();
        loop {
            match self.markers.recv_timeout(MARKER_LIMIT.saturating_sub(began.elapsed())) {
                Ok(seen) if seen == number.to_string() => break,
                Ok(_) => {}
                Err(RecvTimeoutError::Timeout) => {
                    bail!("the daemon did not report {path} within {} s", MARKER_LIMIT.as_secs())
                }
                Err(RecvTimeoutError::Disconnected) => bail!("the daemon is gone, and did not report {path}"),
            }
        }
        fs::remove_file(&path).with_context(|| format!("removing {path}"))
    }

    /// Tells it to stop, and sends what it still has to say.
    pub(crate) fn stop(mut self, port: &Port) -> Result<()> {
        system::terminate(self.child.id());
        let began = Instant::now();
        let status = loop {
            if let Some(status) = self.child.try_wait()? {
                break status;
            }
            if began.elapsed() > STOP_LIMIT {
                bail!("the daemon did not stop within {} s of SIGTERM", STOP_LIMIT.as_secs());
            }
            std::thread::sleep(Duration::from_millis(10));
        };
        for reader in self.readers {
            reader.join().ok();
        }
        port.send(Kind::DaemonExit, exit_code(status).to_string().as_bytes());
        Ok(())
    }
}

/// As a shell counts it: 128 and the signal for a process that was killed.
pub(crate) fn exit_code(status: ExitStatus) -> i32 {
    status.code().unwrap_or_else(|| 128 + status.signal().unwrap_or_default())
}

/// Sends a stream to the host line by line, as it comes.
fn forward(
    stream: impl Read + Send + 'static,
    kind: Kind,
    copy: &str,
    port: &Port,
    markers: Option<Sender<String>>,
) -> Result<JoinHandle<()>> {
    let port = port.clone();
    let mut copy = fs::File::create(copy).with_context(|| format!("making {copy}"))?;
    Ok(std::thread::spawn(move || {
        let mut stream = BufReader::new(stream);
        let mut line = Vec::new();
        while stream.read_until(b'\n', &mut line).is_ok_and(|length| length > 0) {
            copy.write_all(&line).ok();
            port.send(kind, &line);
            if let (Some(markers), Some(marker)) = (&markers, marker_in(&line)) {
                fs::write(Path::new(SEEN).join(&marker), "").ok();
                markers.send(marker).ok();
            }
            line.clear();
        }
    }))
}

/// What follows in a marker's name.
fn marker_in(line: &[u8]) -> Option<String> {
    let text = String::from_utf8_lossy(line);
    let (_, rest) = text.split_once(MARKER)?;
    rest.split(|character: char| !character.is_ascii_alphanumeric()).next().map(str::to_owned)
}
