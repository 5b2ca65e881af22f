//! `cargo xtask setup`: an eBPF toolchain, the lab's tools and the servers of tests. Says nothing where nothing is to be done.

use std::process::Command;

use anyhow::{Context as _, Result, bail};

use crate::command::{Step, find_program, output};
use crate::servers::Servers;

mod ebpf;

/// What the lab and the tests call, and Debian's package for it.
const TOOLS: [(&str, &str); 14] = [
    ("qemu-system-x86_64", "qemu-system-x86"),
    ("mmdebstrap", "mmdebstrap"),
    ("cpio", "cpio"),
    ("depmod", "kmod"),
    ("mke2fs", "e2fsprogs"),
    ("xz", "xz-utils"),
    ("strip", "binutils"),
    ("cc", "gcc"),
    ("lintian", "lintian"),
    ("rpm", "rpm"),
    ("umoci", "umoci"),
    ("systemd-analyze", "systemd"),
    ("python3", "python3"),
    ("pip3", "python3-pip"),
];

/// Finds what is needed, and installs what is missing.
pub fn run() -> Result<()> {
    let ebpf = ebpf::missing()?;
    let mut packages: Vec<&str> = TOOLS
        .iter()
        .filter(|(program, _)| find_program(program).is_none())
        .map(|(_, package)| *package)
        .collect();
    packages.extend(ebpf.packages());
    if !packages.is_empty() {
        install_packages(&packages, ebpf.advice())?;
    }
    ebpf.install()?;
    Servers::prepare().map(drop)
}

/// Brings apt's lists up to date.
pub(crate) fn refresh_package_lists() -> Result<()> {
    if !is_root() {
        bail!("apt's lists are empty or old: run `apt-get update` as root");
    }
    let step = Step::begin("updating apt's package lists");
    output(Command::new("apt-get").args(["update", "--quiet"]))?;
    step.done();
    Ok(())
}

/// Installs Debian packages. `advice` is what to do instead.
pub(crate) fn install_packages(packages: &[&str], advice: &str) -> Result<()> {
    let list = packages.join(" ");
    if find_program("apt-get").is_none() {
        bail!(
            "what is missing here can only be installed on Debian. In the terms of Debian 12's packages it is:\n  \
             {list}{advice}"
        );
    }
    if !is_root() {
        bail!("missing: run this as root, then `cargo xtask setup` again:\n  apt-get install {list}");
    }
    refresh_package_lists()?;
    let step = Step::begin(format!("installing {list}"));
    let mut install = Command::new("apt-get");
    install.env("DEBIAN_FRONTEND", "noninteractive").args([
        "install",
        "--yes",
        "--quiet",
        "--no-install-recommends",
    ]);
    output(install.args(packages)).with_context(|| {
        format!("installing Debian packages; the names are those of Debian 12 (bookworm){advice}")
    })?;
    step.done();
    Ok(())
}

fn is_root() -> bool {
    rustix::process::geteuid().is_root()
}
