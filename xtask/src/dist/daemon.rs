//! The daemon that is given to others: static, stripped, small.

use std::fs::{self, File};
use std::path::PathBuf;
use std::time::SystemTime;

use anyhow::{Context as _, Result, ensure};

use super::Tree;
use crate::architecture::Architecture;
use crate::command::{cargo, output, run};

/// More than this is not shipped.
const MAX_BYTES: u64 = 8_000_000;

/// Builds it.
pub fn build(tree: &Tree) -> Result<PathBuf> {
    let Tree { sources, target, architecture } = tree;
    let mut command = cargo();
    command.current_dir(sources).args([
        "build",
        "--quiet",
        "--locked",
        "--release",
        "--package",
        "sensor",
        "--bin",
        "ldsentry",
    ]);
    command.args(["--target", architecture.target()]).arg("--target-dir").arg(target);
    command.env("CARGO_ENCODED_RUSTFLAGS", flags(tree)?.join("\u{1f}")).env_remove("RUSTFLAGS");
    run(&mut command)?;
    let daemon = target.join(architecture.target()).join("release/ldsentry");
    // It may have been built before the last commit; see `packages::prepare`.
    File::open(&daemon)
        .and_then(|file| file.set_modified(SystemTime::now()))
        .with_context(|| format!("setting the time of {}", daemon.display()))?;
    let size = fs::metadata(&daemon).with_context(|| format!("reading {}", daemon.display()))?.len();
    ensure!(size <= MAX_BYTES, "{} has {size} bytes; no more than {MAX_BYTES} are shipped", daemon.display());
    Ok(daemon)
}

fn flags(tree: &Tree) -> Result<Vec<String>> {
    let mut flags = vec!["-Ctarget-feature=+crt-static".to_owned()];
    flags.extend(tree.architecture.linker_flags()?);
    // Relative relocations take 8 bytes where there are 64 of them, not 24 each; functions with the same code are one.
    flags.extend(["-z,pack-relative-relocs", "--icf=all"].map(|flag| format!("-Clink-arg=-Wl,{flag}")));
    // A panic ends the daemon, and says where. Nothing walks its stack.
    flags.push("-Cforce-unwind-tables=no".to_owned());
    // This machine's paths are nobody's business, and would make other bytes on another one.
    flags.push(format!("--remap-path-prefix={}=/ldsentry", tree.sources.display()));
    for sources in registries(tree.architecture)? {
        flags.push(format!("--remap-path-prefix={}=/crates", sources.display()));
    }
    Ok(flags)
}

/// Where cargo keeps the sources of dependencies.
fn registries(architecture: Architecture) -> Result<Vec<PathBuf>> {
    let home = std::env::var_os("CARGO_HOME").map(PathBuf::from);
    let home = home.or_else(|| Some(PathBuf::from(std::env::var_os("HOME")?).join(".cargo")));
    let sources = home.context("neither CARGO_HOME nor HOME is set")?.join("registry/src");
    // They are fetched before anything is built.
    output(cargo().args(["fetch", "--locked", "--target", architecture.target()]))?;
    let entries = fs::read_dir(&sources).with_context(|| format!("reading {}", sources.display()))?;
    Ok(entries.filter_map(|entry| Some(entry.ok()?.path())).collect())
}
