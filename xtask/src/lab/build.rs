//! Builds what runs in a guest: static programs, since the guest's Debian has its own C library.

use std::path::{Path, PathBuf};

use anyhow::Result;

use crate::architecture::Architecture;
use crate::command::{Step, cargo, run, target_directory};

/// The programs that run in a guest.
#[derive(Clone, Debug)]
pub struct Binaries {
    architecture: Architecture,
    directory: PathBuf,
}

impl Binaries {
    /// What they run on.
    pub fn architecture(&self) -> Architecture {
        self.architecture
    }

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
    build_for(Architecture::Amd64, programs)
}

/// The same for a guest of another architecture. This machine's `strip` does not know that: it is done when they are linked.
pub fn build_for(architecture: Architecture, programs: &[(&str, &str)]) -> Result<Binaries> {
    architecture.prepare()?;
    let step = Step::begin("building what runs in the guest");
    let target = architecture.target();
    let strip = match architecture {
        Architecture::Amd64 => "",
        Architecture::Arm64 => ", \"-C\", \"strip=symbols\"",
    };
    let mut command = cargo();
    command.args(["build", "--quiet", "--target", target, "--config"]);
    command.arg(format!("target.{target}.rustflags=[\"-C\", \"target-feature=+crt-static\"{strip}]"));
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
    Ok(Binaries { architecture, directory: target_directory().join(target).join("debug") })
}
