//! Debian's stock cloud kernels: the newest of a series, with the modules that the lab uses, unpacked and never installed.

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context as _, Result, bail};

use super::apt::Apt;
use super::cache;
use crate::architecture::Architecture;
use crate::command::{Step, output, program};

/// A kernel series that ldsentry is tested on.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, clap::ValueEnum)]
pub enum Series {
    /// The oldest one tested.
    #[value(name = "6.1")]
    V6_1,
    /// The newest one tested.
    #[value(name = "6.12")]
    V6_12,
}

impl Series {
    /// All of them, oldest first.
    pub const ALL: [Self; 2] = [Self::V6_1, Self::V6_12];

    /// As it is written.
    pub fn name(self) -> &'static str {
        match self {
            Self::V6_1 => "6.1",
            Self::V6_12 => "6.12",
        }
    }
}

/// What the guest needs before it has its root.
const EARLY_MODULES: [&str; 2] = ["virtio_pci", "virtio_blk"];
/// What scenarios need, found by `modprobe` in the running guest.
const GUEST_MODULES: [&str; 7] = ["virtio_console", "overlay", "ext4", "xfs", "btrfs", "loop", "fuse"];

/// A kernel ready to boot.
#[derive(Clone, Debug)]
pub struct Kernel {
    /// Its series.
    pub series: Series,
    directory: PathBuf,
}

impl Kernel {
    /// Finds the kernel in the cache, or gets it.
    pub fn get(architecture: Architecture, series: Series) -> Result<Self> {
        let kernels = cache().join(match architecture {
            Architecture::Amd64 => "kernels",
            Architecture::Arm64 => "kernels-arm64",
        });
        let kernel = Self { series, directory: kernels.join(series.name()) };
        if !kernel.image().exists() {
            let step = Step::begin(format!(
                "getting Debian's newest {} kernel for {}",
                series.name(),
                architecture.name()
            ));
            fs::create_dir_all(&kernels)?;
            let work = tempfile::tempdir_in(&kernels)?;
            download(architecture, series, work.path())
                .with_context(|| format!("getting a kernel of series {} from Debian", series.name()))?;
            fs::remove_dir_all(&kernel.directory).ok();
            fs::rename(work.path().join("kernel"), &kernel.directory)?;
            step.done();
        }
        Ok(kernel)
    }

    /// What QEMU boots.
    pub fn image(&self) -> PathBuf {
        self.directory.join("vmlinuz")
    }

    /// A tree with `lib/modules` for the guest.
    pub fn modules(&self) -> PathBuf {
        self.directory.join("modules")
    }

    /// The modules to load before there is a root, in order.
    pub fn early_modules(&self) -> Result<Vec<PathBuf>> {
        let list = self.directory.join("early");
        let text = fs::read_to_string(&list).with_context(|| format!("reading {}", list.display()))?;
        Ok(text.lines().map(|line| self.modules().join(line)).collect())
    }
}

fn download(architecture: Architecture, series: Series, work: &Path) -> Result<()> {
    let apt = Apt::of(architecture)?;
    let mut package = newest_package(&apt, series)?;
    if package.is_none() {
        apt.update()?;
        package = newest_package(&apt, series)?;
    }
    let package = package.with_context(|| {
        format!(
            "apt knows no package `linux-image-{}.*-cloud-{}-unsigned`: the lab's kernels are those of Debian 12 \
             (bookworm), add its archive and its security archive to apt's sources",
            series.name(),
            architecture.name()
        )
    })?;
    output(apt.command("apt-get").current_dir(work).args(["download", "--quiet", &package]))?;
    let archive = only_entry(work, "deb")?;
    let unpacked = work.join("unpacked");
    output(Command::new("dpkg").arg("-x").arg(archive).arg(&unpacked))?;

    let modules = [unpacked.join("lib/modules"), unpacked.join("usr/lib/modules")]
        .into_iter()
        .find(|candidate| candidate.is_dir())
        .context("the kernel's package has no modules")?;
    let release = only_entry(&modules, "")?.file_name().unwrap_or_default().to_string_lossy().into_owned();
    let kernel = work.join("kernel");
    let chosen = kernel.join("modules/lib/modules").join(&release);
    fs::create_dir_all(&chosen)?;
    let early = choose_modules(&modules, &release, &chosen)?;
    output(program("depmod").arg("--basedir").arg(kernel.join("modules")).arg(&release))?;
    let mut early_list = String::new();
    for module in early {
        writeln!(early_list, "lib/modules/{release}/{}", module.display())?;
    }
    fs::write(kernel.join("early"), early_list)?;
    fs::copy(unpacked.join("boot").join(format!("vmlinuz-{release}")), kernel.join("vmlinuz"))?;
    Ok(())
}

/// The newest package that apt knows; archives replace builds over time, so none can be named here.
fn newest_package(apt: &Apt, series: Series) -> Result<Option<String>> {
    let series = series.name().replace('.', r"\.");
    let pattern = format!(r"^linux-image-{series}\..*-cloud-{}-unsigned$", apt.architecture().name());
    let found = output(apt.command("apt-cache").args(["search", "--names-only", &pattern]))?;
    let names = found.lines().filter_map(|line| line.split(' ').next()).map(str::to_owned);
    Ok(names.max_by_key(|name| numbers(name)))
}

/// The numbers in a version, which compare as versions do.
fn numbers(version: &str) -> Vec<u64> {
    version
        .split(|character: char| !character.is_ascii_digit())
        .filter_map(|digits| digits.parse().ok())
        .collect()
}

/// Copies the wanted modules and what they depend on, uncompressed; gives the early ones in loading order.
fn choose_modules(modules: &Path, release: &str, chosen: &Path) -> Result<Vec<PathBuf>> {
    let base = modules.ancestors().find(|path| path.ends_with("lib")).and_then(Path::parent);
    let base = base.context("the kernel's package has its modules in an odd place")?;
    output(program("depmod").arg("--basedir").arg(base).arg(release))?;
    let tree = modules.join(release);
    for list in ["modules.order", "modules.builtin", "modules.builtin.modinfo"] {
        fs::copy(tree.join(list), chosen.join(list)).with_context(|| format!("copying {list}"))?;
    }
    let dependencies = read_dependencies(&tree.join("modules.dep"))?;
    let builtin = fs::read_to_string(tree.join("modules.builtin"))?;
    let builtin: Vec<String> = builtin.lines().map(module_name).collect();

    let mut early = Vec::new();
    for name in EARLY_MODULES.iter().chain(&GUEST_MODULES) {
        let Some((file, needed)) = dependencies.get(*name) else {
            if builtin.iter().any(|known| known == name) {
                continue;
            }
            bail!("kernel {release} has no module {name}");
        };
        // depmod lists what is needed last first.
        for file in needed.iter().rev().chain([file]) {
            let plain = uncompressed_name(file);
            copy_module(&tree.join(file), &chosen.join(&plain))?;
            if EARLY_MODULES.contains(name) && !early.contains(&plain) {
                early.push(plain);
            }
        }
    }
    Ok(early)
}

type Dependencies = BTreeMap<String, (String, Vec<String>)>;

fn read_dependencies(path: &Path) -> Result<Dependencies> {
    let text = fs::read_to_string(path).with_context(|| format!("reading {}", path.display()))?;
    let entry = |line: &str| {
        let (file, needed) = line.split_once(':')?;
        Some((module_name(file), (file.to_owned(), needed.split_whitespace().map(str::to_owned).collect())))
    };
    Ok(text.lines().filter_map(entry).collect())
}

/// `kernel/fs/xfs/xfs.ko.xz` is `xfs`; the kernel does not tell `-` from `_` in these names.
fn module_name(file: &str) -> String {
    let name = file.rsplit('/').next().unwrap_or(file);
    name.split(".ko").next().unwrap_or(name).replace('-', "_")
}

fn uncompressed_name(file: &str) -> PathBuf {
    PathBuf::from(file.strip_suffix(".xz").unwrap_or(file))
}

fn copy_module(from: &Path, to: &Path) -> Result<()> {
    if let Some(directory) = to.parent() {
        fs::create_dir_all(directory)?;
    }
    if from.extension().is_some_and(|extension| extension == "xz") {
        let plain = fs::File::create(to)?;
        let status = program("xz").args(["--decompress", "--stdout"]).arg(from).stdout(plain).status()?;
        if !status.success() {
            bail!("xz could not unpack {}", from.display());
        }
    } else {
        fs::copy(from, to).with_context(|| format!("copying {}", from.display()))?;
    }
    Ok(())
}

fn only_entry(directory: &Path, extension: &str) -> Result<PathBuf> {
    let fits =
        |path: &PathBuf| extension.is_empty() || path.extension().is_some_and(|found| found == extension);
    let found: Vec<PathBuf> =
        fs::read_dir(directory)?.filter_map(|entry| Some(entry.ok()?.path())).filter(fits).collect();
    match found.as_slice() {
        [one] => Ok(one.clone()),
        _ => bail!("{} has {} entries where one was expected", directory.display(), found.len()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_newest_build_is_found_by_number() {
        let names = ["linux-image-6.1.0-9-cloud", "linux-image-6.1.0-56-cloud", "linux-image-6.1.0-47-cloud"];
        let newest = names.into_iter().max_by_key(|name| numbers(name));
        assert_eq!(newest, Some("linux-image-6.1.0-56-cloud"));
    }

    #[test]
    fn modules_are_known_by_the_kernels_names() {
        assert_eq!(module_name("kernel/drivers/virtio/virtio-pci.ko.xz"), "virtio_pci");
        assert_eq!(module_name("kernel/fs/xfs/xfs.ko"), "xfs");
    }
}
