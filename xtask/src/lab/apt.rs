//! Debian's archives, also those of an architecture that this machine does not have. Nothing is installed, and this machine's
//! own lists stay as they are.

use std::fs;
use std::path::PathBuf;
use std::process::Command;

use anyhow::{Context as _, Result};

use super::cache;
use crate::architecture::Architecture;
use crate::command::{Step, output};

/// Apt, for packages of one architecture.
#[derive(Debug)]
pub(super) struct Apt {
    architecture: Architecture,
    /// Where it keeps lists that are not this machine's.
    lists: Option<PathBuf>,
}

impl Apt {
    pub(super) fn of(architecture: Architecture) -> Result<Self> {
        let lists =
            (architecture != Architecture::Amd64).then(|| cache().join("apt").join(architecture.name()));
        if let Some(lists) = &lists {
            for part in ["lists/partial", "cache/archives/partial"] {
                let directory = lists.join(part);
                fs::create_dir_all(&directory).with_context(|| format!("making {}", directory.display()))?;
            }
        }
        Ok(Self { architecture, lists })
    }

    pub(super) fn architecture(&self) -> Architecture {
        self.architecture
    }

    /// One of apt's programs.
    pub(super) fn command(&self, program: &str) -> Command {
        let mut command = Command::new(program);
        if let Some(lists) = &self.lists {
            for (option, value) in [
                ("APT::Architecture", self.architecture.name()),
                ("APT::Architectures", self.architecture.name()),
                ("Dir::State::Lists", &lists.join("lists").display().to_string()),
                ("Dir::Cache", &lists.join("cache").display().to_string()),
            ] {
                command.arg("--option").arg(format!("{option}={value}"));
            }
        }
        command
    }

    /// Brings the lists up to date.
    pub(super) fn update(&self) -> Result<()> {
        if self.lists.is_none() {
            return crate::setup::refresh_package_lists();
        }
        let step =
            Step::begin(format!("getting the lists of Debian's packages for {}", self.architecture.name()));
        output(self.command("apt-get").args(["update", "--quiet"]))?;
        step.done();
        Ok(())
    }
}
