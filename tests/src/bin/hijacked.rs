//! What somebody could do who has taken over the daemon: enters the sandbox as the daemon does, with the directories that are
//! named, and then tries one thing. Exits with 0 if it was done, with the error's number if it was refused.
#![allow(clippy::print_stderr, reason = "a command says what is wrong")]

use std::ffi::CString;
use std::fs::{File, OpenOptions};
use std::io;
use std::os::unix::process::CommandExt as _;
use std::path::PathBuf;
use std::process::{Command, ExitCode};
use std::sync::{Arc, Barrier, mpsc};

use sensor::sandbox::{self, Needs};

fn main() -> ExitCode {
    let mut arguments = std::env::args().skip(1);
    let (Some(directory), Some(what)) = (arguments.next(), arguments.next()) else {
        eprintln!("hijacked DIRECTORY WHAT [PATH]...");
        return ExitCode::from(2);
    };
    let paths: Vec<PathBuf> = arguments.map(PathBuf::from).collect();
    let attempt = move || attempt(&what, &paths);
    // A thread that is older than the sandbox, as the log's.
    let (go, told) = mpsc::channel::<()>();
    let confined = Arc::new(Barrier::new(2));
    let helper = std::thread::spawn({
        let (attempt, confined) = (attempt.clone(), Arc::clone(&confined));
        move || {
            sandbox::confine_helper();
            confined.wait();
            told.recv().ok();
            attempt()
        }
    });
    confined.wait();
    let needs = Needs { directories: vec![directory.into()], network: false, works: &mut || true };
    let sandbox = sandbox::enter(needs);
    eprintln!("{sandbox}");
    for missing in &sandbox.missing {
        eprintln!("missing: {missing}");
    }
    let result = if std::env::var_os("FROM_HELPER").is_some() {
        drop(go);
        helper.join().unwrap_or_else(|_| Err(io::Error::other("it panicked")))
    } else {
        attempt()
    };
    match result {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("{error}");
            ExitCode::from(error.raw_os_error().unwrap_or(255) as u8)
        }
    }
}

fn attempt(what: &str, paths: &[PathBuf]) -> io::Result<()> {
    let path = |index: usize| paths.get(index).cloned().unwrap_or_default();
    let call = |number: i64, arguments: [usize; 3]| {
        // SAFETY: the calls below take numbers, or pointers to what lives until they return.
        let result = unsafe { libc::syscall(number, arguments[0], arguments[1], arguments[2]) };
        if result < 0 { Err(io::Error::last_os_error()) } else { Ok(()) }
    };
    match what {
        "create" => File::create_new(path(0)).map(drop),
        "write" => OpenOptions::new().append(true).open(path(0)).map(drop),
        "remove" => std::fs::remove_file(path(0)),
        "rename" => std::fs::rename(path(0), path(1)),
        "link" => std::fs::hard_link(path(0), path(1)),
        "symlink" => std::os::unix::fs::symlink(path(0), path(1)),
        "chmod" => {
            use std::os::unix::fs::PermissionsExt as _;
            std::fs::set_permissions(path(0), std::fs::Permissions::from_mode(0o777))
        }
        "chown" => std::os::unix::fs::chown(path(0), Some(1), None),
        "exec" => Err(Command::new(path(0)).exec()),
        "spawn" => Command::new(path(0)).status().map(drop),
        "mount" => {
            let (source, target) = (CString::new("none")?, CString::new("/mnt")?);
            call(libc::SYS_mount, [source.as_ptr() as usize, target.as_ptr() as usize, 0])
        }
        "unshare" => call(libc::SYS_unshare, [libc::CLONE_NEWUSER as usize, 0, 0]),
        "ptrace" => call(libc::SYS_ptrace, [libc::PTRACE_ATTACH as usize, 1, 0]),
        "kill" => call(libc::SYS_kill, [1, 0, 0]),
        "load-module" => call(libc::SYS_finit_module, [0, 0, 0]),
        // The attributes are looked at last.
        "load-program" => call(libc::SYS_bpf, [5, [0_u64; 16].as_ptr() as usize, 128]),
        "make-map" => call(libc::SYS_bpf, [0, [0_u64; 16].as_ptr() as usize, 128]),
        "probe" => call(libc::SYS_perf_event_open, [0, 0, 0]),
        "connect" => std::net::TcpStream::connect("127.0.0.1:1").map(drop),
        other => Err(io::Error::other(format!("`{other}` is not known"))),
    }
}
