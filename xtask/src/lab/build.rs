//! Builds what runs in a guest: static programs, since the guest's Debian has its own C library.

use std::path::{Path, PathBuf};

use anyhow::Result;

use crate::command::{Step, cargo, run, target_directory};

const TARGET: &str = "x86_64-unknown-linux-gnu";

/// The programs that run in a guest.
#[derive(Clone, Debug)]
pub struct Binaries {
    directory: PathBuf,
}

impl Binaries {
    /// Where one of them is.
    pub fn path(&self, name: &str) -> PathBuf {
        self.directory.join(name)
    }

    /// The guest's first process.
    pub fn agent(&self) -> PathBuf {
        self.path("lab-agent")
    }

    /// Where they all are.
    pub fn directory(&self) -> &Path {
        &self.directory
    }
}

/// Builds the agent and the named programs (a package and a binary in it), statically.
pub fn build(programs: &[(&str, &str)]) -> Result<Binaries> {
    let step = Step::begin("building what runs in the guest");
    let mut command = cargo();
    command.args(["build", "--quiet", "--target", TARGET, "--config"]);
    command.arg(format!("target.{TARGET}.rustflags=[\"-C\", \"target-feature=+crt-static\"]"));
    // Emulation is slow enough. Assertions stay on.
    command.args(["--config", "profile.dev.opt-level=1"]);
    // An environment's flags would replace those above.
    command.env_remove("RUSTFLAGS").env_remove("CARGO_ENCODED_RUSTFLAGS");
    command.args(["--package", "xtask", "--bin", "lab-agent"]);
    for (package, binary) in programs {
        command.args(["--package", package, "--bin", binary]);
    }
    run(&mut command)?;
    step.done();
    Ok(Binaries { directory: target_directory().join(TARGET).join("debug") })
}
