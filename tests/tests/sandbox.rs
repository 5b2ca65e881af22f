//! What somebody can do who has taken over the daemon: `hijacked` enters the daemon's sandbox and tries.
#![allow(clippy::unwrap_used, reason = "in a test, a panic is the answer")]
#![allow(clippy::print_stderr, reason = "a test that is skipped says so")]

use std::fs;
use std::os::unix::fs::PermissionsExt as _;
use std::os::unix::process::ExitStatusExt as _;
use std::path::Path;
use std::process::{Command, ExitStatus};

use rustix::io::Errno;
use tempfile::TempDir;

/// The daemon's directory, and another one.
struct Tree {
    top: TempDir,
}

impl Tree {
    fn new() -> Self {
        let top = tempfile::tempdir().unwrap();
        for directory in ["own", "other"] {
            fs::create_dir(top.path().join(directory)).unwrap();
            fs::write(top.path().join(directory).join("file"), "as it was").unwrap();
        }
        Self { top }
    }

    fn path(&self, path: &str) -> std::path::PathBuf {
        self.top.path().join(path)
    }

    fn attempt(&self, what: &str, paths: &[&str], from_helper: bool) -> ExitStatus {
        let mut command = Command::new(env!("CARGO_BIN_EXE_hijacked"));
        command.arg(self.path("own")).arg(what).args(paths.iter().map(|path| self.path(path)));
        if from_helper {
            command.env("FROM_HELPER", "1");
        }
        command.status().unwrap()
    }
}

/// Refused with one of these.
#[track_caller]
fn assert_refused(status: ExitStatus, errors: &[Errno]) {
    assert!(
        errors.iter().any(|error| status.code() == Some(error.raw_os_error())),
        "{status} is none of {errors:?}"
    );
}

fn has_landlock(test: &str) -> bool {
    let has = sensor::sandbox::landlock_version().is_some();
    if !has {
        eprintln!("{test} is skipped: this kernel has no Landlock");
    }
    has
}

#[test]
fn it_writes_to_its_directories_and_nowhere_else() {
    if !has_landlock("it_writes_to_its_directories_and_nowhere_else") {
        return;
    }
    let tree = Tree::new();
    for (what, paths) in [
        ("create", &["own/new"][..]),
        ("write", &["own/file"]),
        ("rename", &["own/file", "own/renamed"]),
        ("remove", &["own/renamed"]),
    ] {
        assert!(tree.attempt(what, paths, false).success(), "{what}");
    }
    for (what, paths) in [
        ("create", &["other/new"][..]),
        ("write", &["other/file"]),
        ("remove", &["other/file"]),
        ("rename", &["other/file", "other/renamed"]),
        ("rename", &["own/new", "other/new"]),
        ("link", &["own/new", "other/new"]),
        ("write", &["/etc/passwd"]),
        ("write", &["/proc/1/mem"]),
        ("create", &["/etc/ld.so.preload"]),
    ] {
        for from_helper in [false, true] {
            let status = tree.attempt(what, paths, from_helper);
            assert_refused(status, &[Errno::ACCESS, Errno::XDEV]);
        }
    }
    // A thread that is older has not even these.
    assert_refused(tree.attempt("create", &["own/other"], true), &[Errno::ACCESS]);
    assert_eq!(fs::read_dir(tree.path("other")).unwrap().count(), 1);
    assert_eq!(fs::read_to_string(tree.path("other/file")).unwrap(), "as it was");
    assert!(!Path::new("/etc/ld.so.preload").exists());
}

/// Landlock does not know of these.
#[test]
fn it_gives_no_file_away_and_makes_none_more_permissive() {
    let tree = Tree::new();
    for what in ["chmod", "chown"] {
        for from_helper in [false, true] {
            assert_refused(tree.attempt(what, &["own/file"], from_helper), &[Errno::NOSYS]);
        }
    }
    assert_eq!(fs::metadata(tree.path("own/file")).unwrap().permissions().mode() & 0o777, 0o644);
}

#[test]
fn it_executes_nothing_and_what_only_an_intruder_tries_ends_it() {
    let tree = Tree::new();
    for what in ["exec", "mount", "unshare", "ptrace", "load-module"] {
        for from_helper in [false, true] {
            let status = tree.attempt(what, &["/bin/true"], from_helper);
            assert_eq!(status.signal(), Some(libc::SIGSYS), "{what}: {status}");
        }
    }
    assert_refused(tree.attempt("spawn", &["/bin/true"], false), &[Errno::NOSYS]);
    assert_refused(tree.attempt("kill", &[], false), &[Errno::NOSYS]);
}

#[test]
fn it_loads_no_programs_and_without_network_outputs_connects_to_nobody() {
    let tree = Tree::new();
    for what in ["load-program", "make-map", "probe", "connect"] {
        for from_helper in [false, true] {
            assert_refused(tree.attempt(what, &[], from_helper), &[Errno::PERM]);
        }
    }
}
