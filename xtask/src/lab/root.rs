//! The guest's root: a small Debian as an ext4 image, made once and never written to (each guest has its own overlay).

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context as _, Result};

use super::cache;
use crate::architecture::Architecture;
use crate::command::{Step, output, program};

const SUITE: &str = "bookworm";
/// Beyond Debian's minimum: what scenarios use.
const PACKAGES: &[&str] = &[
    "apparmor",
    "btrfs-progs",
    "e2fsprogs",
    "fuse-overlayfs",
    "kmod",
    "procps",
    "runc",
    "systemd",
    "vim-tiny",
    "xfsprogs",
];
/// The same for benchmarks: what ldsentry is compared with.
const COMPARED: &[&str] = &["auditd", "bpftrace", "inotify-tools", "kmod", "procps"];
const LEFT_OUT: [&str; 3] = ["/usr/share/doc/*", "/usr/share/man/*", "/usr/share/locale/*"];
/// Where this machine cannot run the packages' own scripts, nothing is set up: this is what scenarios miss then.
const UNPACKED_ONLY: &str = r#"
for file in passwd group; do cp "$1/usr/share/base-passwd/$file.master" "$1/etc/$file"; done
ln -s mawk "$1/usr/bin/awk"
"#;
/// Makes `/bin` and its like links, as an installed Debian has them.
const MERGED_USR: &str = "/usr/share/mmdebstrap/hooks/merged-usr";
const SIZE: &str = "640M";

/// Which root a guest has.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Root {
    /// For the scenarios of tests.
    Tests,
    /// For benchmarks, with the programs that ldsentry is compared with.
    Compared,
}

impl Root {
    fn recipe(self) -> (&'static str, &'static [&'static str]) {
        match self {
            Self::Tests => ("root", PACKAGES),
            Self::Compared => ("root-compared", COMPARED),
        }
    }
}

/// Finds the image in the cache, or makes it.
pub(super) fn image(architecture: Architecture, root: Root) -> Result<PathBuf> {
    let (name, packages) = root.recipe();
    let (name, unpacked_only) = match architecture {
        Architecture::Amd64 => (name.to_owned(), None),
        Architecture::Arm64 => (format!("{name}-arm64"), Some(UNPACKED_ONLY)),
    };
    let image = cache().join(format!("{name}.ext4"));
    let label = cache().join(format!("{name}.recipe"));
    let recipe = format!("{SUITE} {packages:?} {LEFT_OUT:?} {SIZE} {MAKE_IMAGE}");
    let recipe = unpacked_only.map_or(recipe.clone(), |hook| recipe + hook);
    if image.exists() && fs::read_to_string(&label).is_ok_and(|made| made == recipe) {
        return Ok(image);
    }
    let step = Step::begin("making the lab's Debian root (about a minute, once)");
    fs::create_dir_all(cache())?;
    fs::remove_file(&label).ok();
    let archive = cache().join(format!("{name}.tar"));
    let mut mmdebstrap = program("mmdebstrap");
    mmdebstrap.arg("--quiet").arg(format!("--include={}", packages.join(",")));
    match unpacked_only {
        None => mmdebstrap.arg("--variant=minbase"),
        Some(hook) => mmdebstrap
            .args(["--variant=extract", "--include=?essential", "--architectures", architecture.name()])
            .args(["--hook-dir", MERGED_USR, &format!("--extract-hook={hook}")]),
    };
    mmdebstrap.args(LEFT_OUT.map(|path| format!("--dpkgopt=path-exclude={path}")));
    output(mmdebstrap.arg(SUITE).arg(&archive)).context("making a Debian root")?;
    make_image(&archive, &image).context("making the root's ext4 image")?;
    fs::remove_file(&archive)?;
    fs::write(&label, recipe)?;
    step.done();
    Ok(image)
}

/// Unpacks the archive and makes an image of it, with the owners that it says.
const MAKE_IMAGE: &str = r#"set -e
tree=$(mktemp -d)
trap 'rm -rf "$tree"' EXIT
tar --extract --file "$1" --directory "$tree" --exclude './dev/*'
mkdir -p "$tree/lab" "$tree/lib/modules" "$tree/var/lab"
mke2fs -q -F -t ext4 -d "$tree" "$2" "$3"
"#;

fn make_image(archive: &Path, image: &Path) -> Result<()> {
    let part = image.with_extension("part");
    fs::remove_file(&part).ok();
    // Only root may give files away, be it root of a user namespace.
    let mut command = if rustix::process::geteuid().is_root() {
        Command::new("sh")
    } else {
        let mut unshare = Command::new("unshare");
        unshare.args(["--map-auto", "--map-root-user", "sh"]);
        unshare
    };
    command.args(["-c", MAKE_IMAGE, "make-image"]).arg(archive).arg(&part).arg(SIZE);
    command.env("PATH", format!("{}:/usr/sbin:/sbin", std::env::var("PATH").unwrap_or_default()));
    output(&mut command)?;
    fs::rename(&part, image)?;
    Ok(())
}
