//! What is built for, and what building for it takes on this machine.

use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context as _, Result};

use crate::command::{Step, find_program, output, workspace};
use crate::setup::install_packages;

/// A processor's architecture, by Debian's name, which is Go's too.
#[derive(Clone, Copy, Debug, PartialEq, Eq, clap::ValueEnum)]
pub enum Architecture {
    /// x86-64.
    Amd64,
    /// 64-bit Arm.
    Arm64,
}

/// What building and booting for another architecture calls, and Debian's package for it.
const CROSS_TOOLS: [(&str, &str); 3] = [
    ("aarch64-linux-gnu-gcc", "gcc-aarch64-linux-gnu"),
    ("/usr/aarch64-linux-gnu/lib/libc.a", "libc6-dev-arm64-cross"),
    ("qemu-system-aarch64", "qemu-system-arm"),
];

impl Architecture {
    /// As Debian and Go call it.
    pub fn name(self) -> &'static str {
        match self {
            Self::Amd64 => "amd64",
            Self::Arm64 => "arm64",
        }
    }

    /// As the kernel and Fedora call it.
    pub fn machine(self) -> &'static str {
        match self {
            Self::Amd64 => "x86_64",
            Self::Arm64 => "aarch64",
        }
    }

    /// As Rust calls what is linked statically with the GNU C library.
    pub fn target(self) -> &'static str {
        match self {
            Self::Amd64 => "x86_64-unknown-linux-gnu",
            Self::Arm64 => "aarch64-unknown-linux-gnu",
        }
    }

    /// Finds what building and booting for it takes beyond [`crate::setup`], and installs what is missing.
    pub fn prepare(self) -> Result<()> {
        if self == Self::Amd64 {
            return Ok(());
        }
        let missing: Vec<&str> = CROSS_TOOLS
            .iter()
            .filter(|(file, _)| find_program(file).is_none() && !Path::new(file).exists())
            .map(|(_, package)| *package)
            .collect();
        if !missing.is_empty() {
            install_packages(&missing, "")?;
        }
        let mut rustup = Command::new("rustup");
        rustup.args(["target", "list", "--installed"]).current_dir(workspace());
        if !output(&mut rustup)?.lines().any(|target| target == self.target()) {
            let step = Step::begin(format!("getting Rust's library for {}", self.target()));
            let mut rustup = Command::new("rustup");
            output(rustup.args(["target", "add", self.target()]).current_dir(workspace()))?;
            step.done();
        }
        Ok(())
    }

    /// Flags that make `rustc` link with LLVM's linker, which is what it takes by itself where it builds for x86-64.
    pub fn linker_flags(self) -> Result<Vec<String>> {
        if self == Self::Amd64 {
            return Ok(Vec::new());
        }
        let mut rustc = Command::new("rustc");
        let said = output(rustc.args(["--print", "target-libdir"]).current_dir(workspace()))?;
        let library = PathBuf::from(said.trim());
        let tools = library.parent().context("rustc has its library in an odd place")?.join("bin/gcc-ld");
        Ok(vec!["-Clink-arg=-fuse-ld=lld".to_owned(), format!("-Clink-arg=-B{}", tools.display())])
    }
}
