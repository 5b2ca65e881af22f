//! Builds the eBPF programs and puts their object file, compressed, where `kernel` embeds it.

use std::fs::{self, File, Permissions};
use std::io;
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context as _, Result};
use aya_build::{Package, Toolchain, build_ebpf};
use flate2::{Compression, GzBuilder};
use object::build::elf::{Builder, SectionData};
use object::elf::SHT_STRTAB;

/// The objects, and the features of each: where the kernel can make a number a pointer, other code reads its memory.
const OBJECTS: [(&str, &[&str]); 2] = [("sensor-ebpf-cast", &["cast"]), ("sensor-ebpf", &[])];

/// The name under which `cargo xtask setup` links a toolchain that has `core` for BPF, where rustup has none.
const LINKED_TOOLCHAIN: &str = "ldsentry-ebpf";

fn main() -> Result<()> {
    println!("cargo:rerun-if-changed=../sensor-common/src");
    let root_dir = concat!(env!("CARGO_MANIFEST_DIR"), "/../sensor-ebpf");
    let has_linked = has_linked_toolchain();
    if has_linked {
        // The prebuilt `core` belongs to a stable compiler; aya-ebpf needs unstable features all the same. The crate's
        // name is not enough: that would ask for build-std.
        // SAFETY: a build script has one thread.
        unsafe { std::env::set_var("RUSTC_BOOTSTRAP", "aya_ebpf,sensor_ebpf") };
    }
    remap_paths()?;
    let out = PathBuf::from(std::env::var("OUT_DIR")?);
    for (name, features) in OBJECTS {
        let package = Package { name: "sensor-ebpf", root_dir, features, ..Package::default() };
        let toolchain = if has_linked { Toolchain::Custom(LINKED_TOOLCHAIN) } else { Toolchain::Nightly };
        build_ebpf([package], toolchain)
            .context("the eBPF programs were not built: `cargo xtask setup` installs what this needs")?;
        let object = out.join(name);
        // Both are built under the same name.
        fs::rename(out.join("sensor-ebpf"), &object).context("renaming the eBPF programs")?;
        if std::env::var("PROFILE")? == "release" {
            strip(&object).with_context(|| format!("stripping {}", object.display()))?;
        }
        compress(&object).with_context(|| format!("compressing {}", object.display()))?;
    }
    Ok(())
}

/// Remaps in the programs the paths that are remapped in this build, as their line information would hold them.
///
/// aya-build sets the flags of the compiler itself, which leaves a wrapper of it.
fn remap_paths() -> Result<()> {
    let flags = std::env::var("CARGO_ENCODED_RUSTFLAGS").unwrap_or_default();
    let remaps: Vec<&str> =
        flags.split('\u{1f}').filter(|flag| flag.starts_with("--remap-path-prefix=")).collect();
    if remaps.is_empty() {
        return Ok(());
    }
    let out = PathBuf::from(std::env::var("OUT_DIR")?);
    let wrapper = out.join("rustc");
    let script = format!("#!/bin/sh\nexec \"$@\" '{}'\n", remaps.join("' '"));
    if !fs::read_to_string(&wrapper).is_ok_and(|before| before == script) {
        // Cargo does not see that a wrapper has changed.
        fs::remove_dir_all(out.join("aya-build")).ok();
    }
    fs::write(&wrapper, script)?;
    fs::set_permissions(&wrapper, Permissions::from_mode(0o700))?;
    // SAFETY: a build script has one thread.
    unsafe { std::env::set_var("RUSTC_WRAPPER", wrapper) };
    Ok(())
}

/// No name and no time goes into it: the same object makes the same bytes.
fn compress(path: &Path) -> Result<()> {
    let file = File::create(path.with_extension("gz"))?;
    let mut writer = GzBuilder::new().write(file, Compression::best());
    io::copy(&mut File::open(path)?, &mut writer)?;
    writer.finish()?;
    Ok(())
}

/// Takes out what only a debugger reads, which is most of it. The BTF has been made of that, and stays.
fn strip(path: &Path) -> Result<()> {
    let data = fs::read(path)?;
    let mut object = Builder::read(data.as_slice())?;
    for section in &mut object.sections {
        section.delete = section.name.starts_with(b".debug_") || section.name.starts_with(b".rel.debug_");
    }
    object.delete_orphans();
    // LLVM keeps the names of sections with those of symbols, which the builder does not.
    let names = object.sections.add();
    names.name = b".shstrtab"[..].into();
    names.sh_type = SHT_STRTAB;
    names.data = SectionData::SectionString;
    let mut stripped = Vec::new();
    object.write(&mut stripped)?;
    Ok(fs::write(path, stripped)?)
}

fn has_linked_toolchain() -> bool {
    let list = Command::new("rustup").args(["toolchain", "list"]).output();
    list.is_ok_and(|list| {
        String::from_utf8_lossy(&list.stdout).lines().any(|line| line.starts_with(LINKED_TOOLCHAIN))
    })
}
