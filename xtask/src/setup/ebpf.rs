//! The toolchain for the kernel side: rustup's nightly with the library's sources, else Debian's packages; and a
//! `bpf-linker` that reads what it makes.

use std::fs;
use std::path::Path;
use std::process::Command;

use anyhow::{Context as _, Result, bail};

use crate::command::{Step, find_program, output};

/// What rustup is told to call Debian's compiler; `sensor/build.rs` asks for it by this name.
const LINKED: &str = "ldsentry-ebpf";
const COMPILER_PACKAGES: [(&str, &str); 4] = [
    ("rustc-web", "/usr/bin/rustc"),
    ("cargo-web", "/usr/bin/cargo"),
    ("rust-web-src", "/usr/lib/rustlib/src/rust/library/core/src/lib.rs"),
    ("libstd-rust-web-dev-bpf", "/usr/lib/rustlib/bpfel-unknown-none/lib"),
];
/// Only needed to build `bpf-linker`.
const LINKER_PACKAGES: [(&str, &str); 2] =
    [("llvm-22-dev", "/usr/lib/llvm-22/bin/llvm-config"), ("g++", "/usr/bin/c++")];
const LINKER_VERSION: &str = "0.13.0";

/// What there is to do for the kernel side.
#[derive(Debug, Default, PartialEq, Eq)]
pub(super) struct Missing {
    packages: Vec<&'static str>,
    link: bool,
    linker: bool,
}

/// Looks for a toolchain.
pub(super) fn missing() -> Result<Missing> {
    if find_program("rustup").is_none() {
        bail!("there is no `rustup`, through which the kernel side's compiler is called: install rustup");
    }
    let toolchains = output(Command::new("rustup").args(["toolchain", "list"]))?;
    let has = |name: &str| toolchains.lines().any(|line| line.split(' ').next() == Some(name));
    if has(LINKED) && Path::new("/usr/bin/rustc").exists() {
        let linker = !linker_reads_output_of(LINKED)?;
        return Ok(Missing { packages: missing_packages(linker), link: false, linker });
    }
    let nightly = toolchains.lines().any(|line| line.starts_with("nightly-"));
    if nightly && has_library_sources("nightly") && linker_reads_output_of("nightly")? {
        return Ok(Missing::default());
    }
    let linker = !Path::new("/usr/bin/rustc").exists() || !linker_reads_output_of_debian()?;
    Ok(Missing { packages: missing_packages(linker), link: true, linker })
}

impl Missing {
    pub(super) fn packages(&self) -> &[&'static str] {
        &self.packages
    }

    /// What to do where there are no Debian packages.
    pub(super) fn advice(&self) -> &'static str {
        if self.packages.is_empty() {
            ""
        } else {
            "\nInstead of Debian's Rust packages, rustup can serve:\n  \
             rustup toolchain install nightly --component rust-src\n  \
             cargo install bpf-linker"
        }
    }

    /// Does what is left once the packages are there.
    pub(super) fn install(&self) -> Result<()> {
        if self.link {
            let step = Step::begin(format!("telling rustup of Debian's compiler, as {LINKED}"));
            output(Command::new("rustup").args(["toolchain", "link", LINKED, "/usr"]))?;
            step.done();
        }
        if self.linker && !linker_reads_output_of(LINKED)? {
            let step = Step::begin(format!("building bpf-linker {LINKER_VERSION} (about a minute, once)"));
            let mut install = Command::new("cargo");
            install.args(["install", "--quiet", "--force", "bpf-linker", "--version", LINKER_VERSION]);
            install.args(["--no-default-features", "--features", "llvm-22"]);
            output(install.env("LLVM_PREFIX", "/usr/lib/llvm-22")).context("building bpf-linker")?;
            step.done();
            if !linker_reads_output_of(LINKED)? {
                bail!(
                    "bpf-linker {LINKER_VERSION} was built but is not the one that runs: `bpf-linker` in your PATH is \
                     {}; put cargo's bin directory before it",
                    find_program("bpf-linker")
                        .map_or_else(|| "missing".to_owned(), |path| path.display().to_string())
                );
            }
        }
        Ok(())
    }
}

fn missing_packages(linker: bool) -> Vec<&'static str> {
    let wanted = COMPILER_PACKAGES.iter().chain(LINKER_PACKAGES.iter().filter(|_| linker));
    wanted.filter(|(_, file)| !Path::new(file).exists()).map(|(package, _)| *package).collect()
}

fn has_library_sources(toolchain: &str) -> bool {
    let sysroot = output(Command::new("rustup").args(["run", toolchain, "rustc", "--print", "sysroot"]));
    sysroot.is_ok_and(|sysroot| {
        Path::new(sysroot.trim()).join("lib/rustlib/src/rust/library/core/src/lib.rs").exists()
    })
}

fn linker_reads_output_of(toolchain: &str) -> Result<bool> {
    let mut rustc = Command::new("rustup");
    rustc.args(["run", toolchain, "rustc"]);
    linker_reads_output(rustc)
}

fn linker_reads_output_of_debian() -> Result<bool> {
    linker_reads_output(Command::new("/usr/bin/rustc"))
}

/// Whether `bpf-linker` understands the compiler's bitcode: it does if its LLVM is at least as new, and does not
/// tell which one it has.
fn linker_reads_output(mut rustc: Command) -> Result<bool> {
    if find_program("bpf-linker").is_none() {
        return Ok(false);
    }
    let directory = tempfile::tempdir().context("making a directory to try bpf-linker in")?;
    let path = |name: &str| directory.path().join(name);
    fs::write(path("probe.rs"), "#![no_std]\n#[unsafe(no_mangle)]\npub extern \"C\" fn probe() {}\n")?;
    rustc
        .args(["--crate-type", "lib", "--emit", "llvm-bc", "-o"])
        .arg(path("probe.bc"))
        .arg(path("probe.rs"));
    if output(&mut rustc).is_err() {
        return Ok(false);
    }
    let mut linker = Command::new("bpf-linker");
    linker.args(["--target", "bpfel", "--export", "probe", "-o"]).arg(path("probe.o")).arg(path("probe.bc"));
    Ok(output(&mut linker).is_ok())
}
