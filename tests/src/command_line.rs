//! Running `ldsentry` on this host, as a user would.

use std::ffi::OsStr;
use std::fs::Permissions;
use std::io::Write as _;
use std::os::unix::fs::PermissionsExt as _;
use std::os::unix::process::CommandExt as _;
use std::path::PathBuf;
use std::process::{Command, Stdio};
use std::sync::OnceLock;

use serde_json::Value;

/// The user that owns nothing.
const NOBODY: u32 = 65534;

/// What a command did.
#[derive(Clone, Debug)]
pub struct Said {
    /// Its exit code.
    pub code: Option<i32>,
    /// Its standard output.
    pub stdout: String,
    /// Its standard error.
    pub stderr: String,
}

impl Said {
    /// The JSON documents on standard output, one a line.
    pub fn documents(&self) -> Result<Vec<Value>, serde_json::Error> {
        self.stdout.lines().map(serde_json::from_str).collect()
    }
}

/// The built daemon.
///
/// # Panics
/// If it cannot be built.
pub fn ldsentry() -> &'static PathBuf {
    static PROGRAM: OnceLock<PathBuf> = OnceLock::new();
    PROGRAM.get_or_init(|| {
        let mut build = xtask::command::cargo();
        build.args(["build", "--quiet", "--package", "sensor"]);
        assert!(build.status().is_ok_and(|status| status.success()), "the daemon cannot be built");
        xtask::command::target_directory().join("debug/ldsentry")
    })
}

/// Runs `ldsentry` with these arguments and this on its standard input.
///
/// # Panics
/// If it cannot be started.
pub fn run(arguments: impl IntoIterator<Item = impl AsRef<OsStr>>, input: impl AsRef<[u8]>) -> Said {
    finish(Command::new(ldsentry()).args(arguments), input.as_ref())
}

/// Runs `ldsentry` as a user without rights, whoever runs the test.
///
/// # Panics
/// If it cannot be started.
pub fn run_without_rights(arguments: impl IntoIterator<Item = impl AsRef<OsStr>>) -> Said {
    if !rustix::process::geteuid().is_root() {
        return run(arguments, "");
    }
    // That user may not be able to reach the build's directory.
    let place = tempfile::tempdir().unwrap_or_else(|error| panic!("no temporary directory: {error}"));
    let copy = place.path().join("ldsentry");
    let copied = std::fs::set_permissions(place.path(), Permissions::from_mode(0o755))
        .and_then(|()| std::fs::copy(ldsentry(), &copy));
    copied.unwrap_or_else(|error| panic!("cannot copy ldsentry: {error}"));
    finish(Command::new(copy).args(arguments).uid(NOBODY).gid(NOBODY), b"")
}

fn finish(command: &mut Command, input: &[u8]) -> Said {
    // What a user's shell may well have set must not make a mistake look like a crash.
    command.env("RUST_BACKTRACE", "1").stdin(Stdio::piped());
    let started = command.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn();
    let mut child = started.unwrap_or_else(|error| panic!("cannot run ldsentry: {error}"));
    let (stdin, input) = (child.stdin.take(), input.to_vec());
    let writer = std::thread::spawn(move || {
        // It may have found an error before it read everything.
        stdin.map(|mut stdin| stdin.write_all(&input)).transpose().ok();
    });
    let output = child.wait_with_output().unwrap_or_else(|error| panic!("cannot run ldsentry: {error}"));
    writer.join().ok();
    Said {
        code: output.status.code(),
        stdout: String::from_utf8_lossy(&output.stdout).into_owned(),
        stderr: String::from_utf8_lossy(&output.stderr).into_owned(),
    }
}
