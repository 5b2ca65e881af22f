//! One sensor a host: a second one would report everything twice.
//!
//! The kernel holds the lock for the process, so that it ends with the process, however that ends.

use std::fs::{DirBuilder, File, OpenOptions};
use std::io::{self, Read, Write};
use std::os::fd::OwnedFd;
use std::os::unix::fs::{DirBuilderExt, OpenOptionsExt};
use std::path::{Path, PathBuf};

use rustix::fs::{FlockOperation, OFlags, flock};
use rustix::io::Errno;
use rustix::net::{AddressFamily, SocketAddrUnix, SocketFlags, SocketType};

/// Where the daemon keeps what only lives as long as the system runs.
pub const RUN_DIRECTORY: &str = "/run/ldsentry";

/// What came of the last reload.
const RELOAD: &str = "/run/ldsentry/reload";

/// Abstract socket that stands in for the lock file where /run is read-only.
const SOCKET: &[u8] = b"ldsentry";

/// Why this process is not the host's sensor.
#[derive(Debug, thiserror::Error)]
pub enum InstanceError {
    /// Another one is.
    #[error(
        "another ldsentry is running already{}; stop it first (`systemctl stop ldsentry`, or kill that process)",
        .pid.map(|pid| format!(" (pid {pid})")).unwrap_or_default()
    )]
    Running {
        /// Its process id, if it can be known.
        pid: Option<u32>,
    },
    /// The lock cannot be had.
    #[error("cannot take the lock {}: {error}; run as root, and let {RUN_DIRECTORY} be a directory that root can write to", path.display())]
    Lock {
        /// The lock file.
        path: PathBuf,
        /// What the system said.
        error: io::Error,
    },
}

impl InstanceError {
    /// The lock is not for this user.
    pub fn is_permission(&self) -> bool {
        matches!(self, Self::Lock { error, .. } if error.kind() == io::ErrorKind::PermissionDenied)
    }
}

/// What the daemon says about a reload.
#[derive(Debug, Clone, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
pub struct ReloadReport {
    /// Of which daemon.
    pub pid: u32,
    /// Which of its reloads.
    pub number: u64,
    /// Why the old configuration stays in force, if it does.
    pub error: Option<String>,
}

/// Tells whoever asked for a reload what came of it.
pub fn report_reload(number: u64, outcome: Result<(), String>) -> io::Result<()> {
    let report = ReloadReport { pid: std::process::id(), number, error: outcome.err() };
    // Readers of half of it try again.
    std::fs::write(RELOAD, serde_json::to_vec(&report)?)
}

/// What the daemon said about its last reload.
pub fn last_reload() -> Option<ReloadReport> {
    serde_json::from_slice(&std::fs::read(RELOAD).ok()?).ok()
}

/// The process id of the sensor that runs, if one does.
pub fn running() -> Result<Option<u32>, InstanceError> {
    let path = Path::new(RUN_DIRECTORY).join("lock");
    let failure = |error| InstanceError::Lock { path: path.clone(), error };
    let mut file = match File::open(&path) {
        Ok(file) => file,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
        Err(error) => return Err(failure(error)),
    };
    match flock(&file, FlockOperation::NonBlockingLockShared) {
        Ok(()) => Ok(None),
        Err(Errno::WOULDBLOCK) => {
            let mut pid = String::new();
            file.read_to_string(&mut pid).map_err(failure)?;
            Ok(pid.trim().parse().ok())
        }
        Err(error) => Err(failure(error.into())),
    }
}

/// The right to be this host's sensor, as long as it is held.
#[derive(Debug)]
pub struct Instance {
    _lock: Option<OwnedFd>,
}

impl Instance {
    /// Takes the lock.
    pub fn acquire() -> Result<Self, InstanceError> {
        Self::acquire_at(Path::new(RUN_DIRECTORY), SOCKET)
    }

    fn acquire_at(directory: &Path, socket: &[u8]) -> Result<Self, InstanceError> {
        let path = directory.join("lock");
        let lock = match lock_file(directory, &path) {
            Err(Refusal::Io(error)) if error.raw_os_error() == Some(Errno::ROFS.raw_os_error()) => {
                lock_socket(socket)
            }
            other => other.map(|file| Some(file.into())),
        };
        match lock {
            Ok(lock) => Ok(Self { _lock: lock }),
            Err(Refusal::Running(pid)) => Err(InstanceError::Running { pid }),
            Err(Refusal::Io(error)) => Err(InstanceError::Lock { path, error }),
        }
    }
}

enum Refusal {
    Running(Option<u32>),
    Io(io::Error),
}

impl From<io::Error> for Refusal {
    fn from(error: io::Error) -> Self {
        Self::Io(error)
    }
}

impl From<Errno> for Refusal {
    fn from(error: Errno) -> Self {
        Self::Io(error.into())
    }
}

fn lock_file(directory: &Path, path: &Path) -> Result<File, Refusal> {
    if let Err(error) = DirBuilder::new().mode(0o755).create(directory)
        && error.kind() != io::ErrorKind::AlreadyExists
    {
        return Err(error.into());
    }
    let mut file = OpenOptions::new()
        .read(true)
        .write(true)
        .create(true)
        .truncate(false)
        // Whoever can open the file can lock it: nobody but root may.
        .mode(0o600)
        .custom_flags(OFlags::NOFOLLOW.bits() as i32)
        .open(path)?;
    match flock(&file, FlockOperation::NonBlockingLockExclusive) {
        Ok(()) => {}
        Err(Errno::WOULDBLOCK) => {
            let mut pid = String::new();
            let _ = file.take(32).read_to_string(&mut pid);
            return Err(Refusal::Running(pid.trim().parse().ok()));
        }
        Err(error) => return Err(error.into()),
    }
    file.set_len(0)?;
    file.write_all(format!("{}\n", std::process::id()).as_bytes())?;
    Ok(file)
}

/// Takes an abstract socket's name. Any user can do that, so only one that is held by root, or by this user, counts:
/// nobody may keep the sensor from starting.
fn lock_socket(name: &[u8]) -> Result<Option<OwnedFd>, Refusal> {
    let new_socket = || {
        let flags = SocketFlags::CLOEXEC | SocketFlags::NONBLOCK;
        rustix::net::socket_with(AddressFamily::UNIX, SocketType::STREAM, flags, None)
    };
    let address = SocketAddrUnix::new_abstract_name(name)?;
    let socket = new_socket()?;
    match rustix::net::bind(&socket, &address) {
        Ok(()) => {
            rustix::net::listen(&socket, i32::from(i16::MAX))?;
            return Ok(Some(socket));
        }
        Err(Errno::ADDRINUSE) => {}
        Err(error) => return Err(error.into()),
    }
    let probe = new_socket()?;
    let holder =
        rustix::net::connect(&probe, &address).and_then(|()| rustix::net::sockopt::socket_peercred(&probe));
    match holder {
        Ok(holder) if holder.uid.is_root() || holder.uid == rustix::process::geteuid() => {
            Err(Refusal::Running(u32::try_from(holder.pid.as_raw_nonzero().get()).ok()))
        }
        Ok(holder) => {
            let (pid, uid) = (holder.pid.as_raw_nonzero(), holder.uid.as_raw());
            tracing::warn!(
                "process {pid} of user {uid} holds the name of the sensor's lock; going on without the lock"
            );
            Ok(None)
        }
        Err(error) => {
            tracing::warn!(
                "cannot learn who holds the name of the sensor's lock: {error}; going on without the lock"
            );
            Ok(None)
        }
    }
}

#[cfg(test)]
mod tests {
    use std::io::{BufRead, BufReader};
    use std::process::Stdio;

    use super::*;

    fn error(result: Result<Instance, InstanceError>) -> String {
        result.expect_err("this must be refused").to_string()
    }

    /// A child that another test is starting shares our descriptors until it runs its program, and so the lock.
    fn acquire_when_free(directory: &Path) {
        while let Err(error) = Instance::acquire_at(directory, b"unused") {
            assert!(matches!(error, InstanceError::Running { .. }), "{error}");
            std::thread::yield_now();
        }
    }

    #[test]
    fn a_second_sensor_names_the_first_and_leaves_it_alone() {
        let directory = tempfile::tempdir().unwrap();
        let run = directory.path().join("ldsentry");
        let first = Instance::acquire_at(&run, b"unused").unwrap();
        for _ in 0..2 {
            let message = error(Instance::acquire_at(&run, b"unused"));
            assert!(message.contains(&format!("(pid {})", std::process::id())), "{message}");
        }
        drop(first);
        acquire_when_free(&run);
    }

    #[test]
    fn the_lock_is_for_root_alone() {
        use std::os::unix::fs::MetadataExt;
        let directory = tempfile::tempdir().unwrap();
        let _instance = Instance::acquire_at(directory.path(), b"unused").unwrap();
        assert_eq!(directory.path().join("lock").metadata().unwrap().mode() & 0o777, 0o600);
    }

    #[test]
    #[ignore = "run by the test below"]
    fn a_sensor_that_runs_until_it_is_killed() {
        let directory = std::env::var_os("LDSENTRY_TEST_DIRECTORY").unwrap();
        let _instance = Instance::acquire_at(Path::new(&directory), b"unused").unwrap();
        println!("\nlocked");
        loop {
            std::thread::park();
        }
    }

    #[test]
    fn the_lock_dies_with_a_killed_sensor() {
        let directory = tempfile::tempdir().unwrap();
        let mut sensor = crate::testing::rerun("instance::tests::a_sensor_that_runs_until_it_is_killed")
            .env("LDSENTRY_TEST_DIRECTORY", directory.path())
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        let mut lines = BufReader::new(sensor.stdout.take().unwrap()).lines();
        assert!(lines.any(|line| line.unwrap() == "locked"));
        let message = error(Instance::acquire_at(directory.path(), b"unused"));
        assert!(message.contains(&format!("(pid {})", sensor.id())), "{message}");
        sensor.kill().unwrap();
        sensor.wait().unwrap();
        acquire_when_free(directory.path());
    }

    #[test]
    fn a_missing_run_directory_is_named() {
        let message = error(Instance::acquire_at(Path::new("/nonexistent/ldsentry"), b"unused"));
        assert!(
            message.starts_with("cannot take the lock /nonexistent/ldsentry/lock: No such file"),
            "{message}"
        );
    }

    #[test]
    fn a_socket_stands_in_for_the_file() {
        let name = format!("ldsentry-test-{}", std::process::id());
        let Ok(first) = lock_socket(name.as_bytes()) else { panic!("the name is free") };
        assert!(first.is_some());
        let Err(Refusal::Running(pid)) = lock_socket(name.as_bytes()) else { panic!("the name is taken") };
        assert_eq!(pid, Some(std::process::id()));
        drop(first);
        assert!(matches!(lock_socket(name.as_bytes()), Ok(Some(_))));
    }
}
