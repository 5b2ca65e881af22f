//! What a first process does: mounts, names, the console, the end.

use std::collections::BTreeSet;
use std::ffi::{CStr, OsString};
use std::fs;
use std::io::Write as _;
use std::path::Path;
use std::process::Command;

use anyhow::{Context as _, Result};
use rustix::mount::{MountFlags, mount, mount_bind};
use rustix::process::{Pid, Signal, kill_process};
use rustix::system::RebootCommand;

const MOUNTS: [(&str, &str, Option<&CStr>); 9] = [
    ("proc", "/proc", None),
    ("sysfs", "/sys", None),
    ("tmpfs", "/run", Some(c"mode=755")),
    ("tmpfs", "/tmp", Some(c"mode=1777")),
    ("devpts", "/dev/pts", None),
    ("tmpfs", "/dev/shm", None),
    ("cgroup2", "/sys/fs/cgroup", None),
    ("securityfs", "/sys/kernel/security", None),
    ("bpf", "/sys/fs/bpf", None),
];

/// What an init system mounts.
pub(crate) fn mount_all() -> Result<()> {
    for (kind, path, options) in MOUNTS {
        fs::create_dir_all(path).ok();
        mount(kind, path, kind, MountFlags::empty(), options).with_context(|| format!("mounting {path}"))?;
    }
    // Not every kernel has it.
    mount("tracefs", "/sys/kernel/tracing", "tracefs", MountFlags::empty(), None).ok();
    show_modules()?;
    // `/dev/fd` and its like come from udev elsewhere.
    for (name, target) in
        [("fd", "/proc/self/fd"), ("stdin", "/proc/self/fd/0"), ("stdout", "/proc/self/fd/1")]
    {
        std::os::unix::fs::symlink(target, Path::new("/dev").join(name)).ok();
    }
    open_ports()
}

/// What is left to do after systemd has mounted what it mounts.
pub(crate) fn complete_systemd() -> Result<()> {
    show_modules()?;
    open_ports()
}

fn show_modules() -> Result<()> {
    mount_bind("/lab/lib/modules", "/lib/modules").context("showing the kernel's modules")?;
    rustix::system::sethostname(b"lab").context("naming the guest")
}

fn open_ports() -> Result<()> {
    if !Path::new("/sys/class/virtio-ports").exists() {
        Command::new("modprobe").arg("virtio_console").status().context("running modprobe")?;
    }
    Ok(())
}

/// The kernel found no `/dev/console` when it started this program: there was no `/dev` yet.
pub(crate) fn use_console() -> Result<()> {
    let console = fs::File::options().read(true).write(true).open("/dev/console")?;
    rustix::stdio::dup2_stdin(&console)?;
    rustix::stdio::dup2_stdout(&console)?;
    rustix::stdio::dup2_stderr(&console)?;
    Ok(())
}

/// Says something on the console.
pub(crate) fn complain(what: &str) {
    writeln!(std::io::stderr(), "lab-agent: {what}").ok();
}

/// Ends the guest. QEMU is told to stop where others would start anew.
pub(crate) fn power_off() -> ! {
    rustix::fs::sync();
    rustix::system::reboot(RebootCommand::Restart).ok();
    std::process::exit(1)
}

/// Asks a process to end.
pub(crate) fn terminate(id: u32) {
    if let Some(pid) = i32::try_from(id).ok().and_then(Pid::from_raw) {
        kill_process(pid, Signal::TERM).ok();
    }
}

/// Which files the dynamic linker had before anybody touched them: a scenario must not find another's.
#[derive(Debug)]
pub(crate) struct LinkerFiles {
    names: BTreeSet<OsString>,
}

const DIRECTORY: &str = "/etc/ld.so.conf.d";

impl LinkerFiles {
    /// Notes what there is.
    pub(crate) fn remember() -> Self {
        Self { names: names() }
    }

    /// Removes what was not there.
    pub(crate) fn restore(&self) {
        fs::remove_file("/etc/ld.so.preload").ok();
        for name in names().difference(&self.names) {
            let path = Path::new(DIRECTORY).join(name);
            if fs::remove_file(&path).is_err() {
                fs::remove_dir_all(&path).ok();
            }
        }
    }
}

fn names() -> BTreeSet<OsString> {
    let entries = fs::read_dir(DIRECTORY).into_iter().flatten();
    entries.filter_map(|entry| Some(entry.ok()?.file_name())).collect()
}
