//! A real server that a test starts, and that ends with it.

use std::net::{TcpListener, TcpStream, UdpSocket};
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, bail, ensure};

/// How long a busy machine may take.
const PATIENCE: Duration = Duration::from_mins(1);

/// A running server.
#[derive(Debug)]
pub struct Server {
    child: Child,
    log: std::path::PathBuf,
}

impl Server {
    /// Starts it, with what it says in `directory`, and waits until `is_ready`.
    pub fn start(mut command: Command, directory: &Path, is_ready: impl Fn() -> bool) -> Result<Self> {
        let log = directory.join("server.log");
        let said = std::fs::File::create(&log)?;
        command.stdin(Stdio::null()).stdout(said.try_clone()?).stderr(said);
        let child = command.spawn().with_context(|| format!("starting {command:?}"))?;
        let mut server = Self { child, log };
        let deadline = Instant::now() + PATIENCE;
        while !is_ready() {
            let said = || std::fs::read_to_string(&server.log).unwrap_or_default();
            if let Some(status) = server.child.try_wait()? {
                bail!("{command:?} ended: {status}\n{}", said());
            }
            ensure!(Instant::now() < deadline, "{command:?} is not ready:\n{}", said());
            std::thread::sleep(Duration::from_millis(5));
        }
        Ok(server)
    }

    /// What it said so far.
    pub fn said(&self) -> String {
        std::fs::read_to_string(&self.log).unwrap_or_default()
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        self.child.kill().ok();
        self.child.wait().ok();
    }
}

/// A port of the loopback that nothing listened on a moment ago, for TCP and UDP.
pub fn free_port() -> Result<u16> {
    loop {
        let port = TcpListener::bind("127.0.0.1:0")?.local_addr()?.port();
        if UdpSocket::bind(("127.0.0.1", port)).is_ok() {
            return Ok(port);
        }
    }
}

/// Whether something listens on this port.
pub fn listens(port: u16) -> bool {
    TcpStream::connect(("127.0.0.1", port)).is_ok()
}

/// Whether something has taken this port for datagrams.
pub fn takes_datagrams(port: u16) -> bool {
    UdpSocket::bind(("127.0.0.1", port)).is_err()
}

/// Waits until `find` finds something.
pub fn wait_for<T>(what: &str, mut find: impl FnMut() -> Result<Option<T>>) -> Result<T> {
    let deadline = Instant::now() + PATIENCE;
    loop {
        if let Some(found) = find()? {
            return Ok(found);
        }
        ensure!(Instant::now() < deadline, "there is no {what}");
        std::thread::sleep(Duration::from_millis(5));
    }
}
