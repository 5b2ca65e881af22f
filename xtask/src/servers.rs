//! Real servers for tests of the outputs, from Debian's packages: unpacked below the target directory, not installed, so
//! that none of them starts on this machine by itself.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context as _, Result, bail};

use crate::command::{Step, find_program, output, target_directory};
use crate::setup::refresh_package_lists;

/// The packages, with the libraries among what they depend on that a system may not have; and one with a file of container runtimes.
const PACKAGES: [&str; 7] = [
    "rsyslog",
    "rsyslog-openssl",
    "libestr0",
    "libfastjson4",
    "prometheus",
    "prometheus-alertmanager",
    "golang-github-containers-common",
];

/// Of the last package: with it, all are there.
const SECCOMP_PROFILE: &str = "usr/share/containers/seccomp.json";

/// Where the servers are.
#[derive(Debug, Clone)]
pub struct Servers {
    root: PathBuf,
}

impl Servers {
    /// Downloads and unpacks what is not there yet.
    pub fn prepare() -> Result<Self> {
        let root = target_directory().join("servers");
        fs::create_dir_all(target_directory())?;
        // Tests run at the same time; the first one unpacks for all.
        let lock = fs::File::create(root.with_extension("lock"))?;
        lock.lock().context("waiting for another one that unpacks")?;
        if !root.join(SECCOMP_PROFILE).exists() {
            if find_program("apt-get").is_none() {
                bail!(
                    "the servers that outputs are tested against come from Debian's packages; there is no apt-get here"
                );
            }
            let step = Step::begin(format!("unpacking {}", PACKAGES.join(" ")));
            if unpack(&root).is_err() {
                refresh_package_lists()?;
                unpack(&root)
                    .context("unpacking Debian's packages; the names are those of Debian 12 (bookworm)")?;
            }
            step.done();
        }
        Ok(Self { root })
    }

    /// A command for the program at a path such as `usr/bin/promtool`.
    pub fn program(&self, path: &str) -> Command {
        let mut command = Command::new(self.root.join(path));
        command.env("LD_LIBRARY_PATH", self.libraries());
        command
    }

    /// Files that Alertmanager wants below `/usr/share`.
    pub fn share(&self) -> PathBuf {
        self.root.join("usr/share")
    }

    /// The system calls that podman leaves to a container.
    pub fn seccomp_profile(&self) -> PathBuf {
        self.root.join(SECCOMP_PROFILE)
    }

    /// Where rsyslog's modules are.
    pub fn rsyslog_modules(&self) -> PathBuf {
        self.libraries().join("rsyslog")
    }

    fn libraries(&self) -> PathBuf {
        let name = if cfg!(target_arch = "aarch64") { "aarch64-linux-gnu" } else { "x86_64-linux-gnu" };
        self.root.join("usr/lib").join(name)
    }
}

/// Unpacks into a directory beside `root` first: a half-filled one must not be taken for a whole one.
fn unpack(root: &Path) -> Result<()> {
    let new = root.with_extension("new");
    if new.exists() {
        fs::remove_dir_all(&new)?;
    }
    fs::create_dir_all(&new)?;
    output(Command::new("apt-get").arg("download").args(PACKAGES).current_dir(&new))?;
    for entry in fs::read_dir(&new)? {
        let package = entry?.path();
        output(Command::new("dpkg-deb").arg("--extract").arg(&package).arg(&new))?;
        fs::remove_file(package)?;
    }
    if root.exists() {
        fs::remove_dir_all(root)?;
    }
    fs::rename(&new, root).context("moving the servers to their place")
}
