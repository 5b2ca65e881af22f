//! The .deb and the .rpm, and the unit in them.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::{Mutex, MutexGuard, PoisonError};

use anyhow::{Context as _, Result, ensure};
use integration_tests::Alone;
use xtask::architecture::Architecture;
use xtask::command::{output, program, workspace};
use xtask::dist::packages::{Profile, deb, prepare, rpm};
use xtask::dist::{Tree, tools, version};
use xtask::lab::{Payload, Series, build_for};

/// `systemd-analyze security` may say this at most.
const EXPOSURE: f32 = 2.5;

/// What packs writes its parts to the same places each time: nobody else packs while this is held.
fn begin_packing(architecture: Architecture) -> Result<MutexGuard<'static, ()>> {
    static PACKING: Mutex<()> = Mutex::new(());
    let one = PACKING.lock().unwrap_or_else(PoisonError::into_inner);
    build_for(architecture, &[("sensor", "ldsentry")])?;
    tools::install()?;
    prepare(&Tree::here(architecture))?;
    Ok(one)
}

fn make_deb(architecture: Architecture, version: &str, to: &Path) -> Result<PathBuf> {
    let _one = begin_packing(architecture)?;
    deb(&Tree::here(architecture), Profile::Debug, version, to)
}

fn make_rpm(architecture: Architecture, to: &Path) -> Result<PathBuf> {
    let _one = begin_packing(architecture)?;
    rpm(&Tree::here(architecture), Profile::Debug, to)
}

#[test]
fn the_unit_exposes_little() -> Result<()> {
    let unit = workspace().join("deploy/systemd/ldsentry.service");
    let mut analyze = program("systemd-analyze");
    let said = output(analyze.args(["security", "--offline=true", "--no-pager"]).arg(unit))?;
    let (_, level) = said.split_once("exposure level for ldsentry.service: ").context("no level")?;
    let level: f32 = level.split(' ').next().unwrap_or_default().parse().context("no number")?;
    ensure!(level <= EXPOSURE, "{said}");
    Ok(())
}

#[test]
fn the_unit_with_its_drop_ins_has_no_mistake() -> Result<()> {
    let directory = tempfile::tempdir()?;
    let units = directory.path().join("usr/lib/systemd/system");
    let drop_ins = directory.path().join("etc/systemd/system/ldsentry.service.d");
    fs::create_dir_all(&units)?;
    fs::create_dir_all(&drop_ins)?;
    let systemd = workspace().join("deploy/systemd");
    fs::copy(systemd.join("ldsentry.service"), units.join("ldsentry.service"))?;
    for example in fs::read_dir(systemd.join("examples"))? {
        let example = example?;
        fs::copy(example.path(), drop_ins.join(example.file_name()))?;
    }
    // What is started has to be there.
    for program in ["usr/bin/ldsentry", "bin/mkdir"] {
        let program = directory.path().join(program);
        fs::create_dir_all(program.parent().context("a program at the root")?)?;
        fs::copy("/bin/true", program)?;
    }
    // Mistakes are warnings to it, and no failure.
    let verify = || -> Result<String> {
        let mut analyze = program("systemd-analyze");
        analyze.args(["verify", "--man=no", "--root"]).arg(directory.path()).arg("ldsentry.service");
        let done = analyze.output().context("running systemd-analyze")?;
        ensure!(done.status.success(), "{done:?}");
        Ok(String::from_utf8(done.stderr)?)
    };
    let said = verify()?;
    ensure!(said.is_empty(), "{said}");
    fs::write(drop_ins.join("wrong.conf"), "[Service]\nRestartSecs=1\n")?;
    let said = verify()?;
    ensure!(said.contains("RestartSecs"), "{said}");
    Ok(())
}

#[test]
fn what_is_packed_again_has_the_same_bytes() -> Result<()> {
    // With a small program in the daemon's place: to compress that takes minutes. It is made anew each time, as manual pages and
    // completions are, so that it is another time for all of it.
    let pack = || -> Result<[Vec<u8>; 2]> {
        let _one = begin_packing(Architecture::Amd64)?;
        let directory = tempfile::tempdir()?;
        let tree = Tree { target: directory.path().join("target"), ..Tree::here(Architecture::Amd64) };
        let built = tree.target.join(tree.architecture.target()).join("debug");
        fs::create_dir_all(&built)?;
        fs::copy("/bin/true", built.join("ldsentry"))?;
        let packed = [
            deb(&tree, Profile::Debug, version(), directory.path())?,
            rpm(&tree, Profile::Debug, directory.path())?,
        ];
        Ok([fs::read(&packed[0])?, fs::read(&packed[1])?])
    };
    let ([deb, rpm], [other_deb, other_rpm]) = (pack()?, pack()?);
    ensure!(deb == other_deb, "the second .deb has other bytes");
    ensure!(rpm == other_rpm, "the second .rpm has other bytes");
    Ok(())
}

#[test]
fn the_deb_is_installed_upgraded_removed_and_purged() -> Result<()> {
    let directory = tempfile::tempdir()?;
    let binaries = super::daemon()?;
    let mut payload = Payload::new()?;
    for (name, version) in [("old.deb", version()), ("new.deb", "99.0.0")] {
        let package = make_deb(Architecture::Amd64, version, directory.path())?;
        payload.add(name, &fs::read(package)?, 0o644)?;
    }
    let alone = Alone { binaries: &binaries, payload: &payload, systemd: true, before_systemd: "" };
    alone.run(Series::V6_12, include_str!("packages.sh")).map(drop)
}

#[test]
fn a_debian_that_boots_with_it_raises_no_alert() -> Result<()> {
    let directory = tempfile::tempdir()?;
    let binaries = super::daemon()?;
    let mut payload = Payload::new()?;
    payload.add(
        "ldsentry.deb",
        &fs::read(make_deb(Architecture::Amd64, version(), directory.path())?)?,
        0o644,
    )?;
    let before_systemd = "dpkg --install /lab/ldsentry.deb";
    let alone = Alone { binaries: &binaries, payload: &payload, systemd: true, before_systemd };
    alone.run(Series::V6_12, include_str!("boot.sh")).map(drop)
}

#[test]
fn lintian_finds_no_error() -> Result<()> {
    let directory = tempfile::tempdir()?;
    let package = make_deb(Architecture::Amd64, version(), directory.path())?;
    output(program("lintian").args(["--fail-on", "error", "--allow-root"]).arg(package)).map(drop)
}

/// In an ELF file's header.
const EM_AARCH64: u16 = 183;

#[test]
fn what_is_for_arm64_says_so() -> Result<()> {
    let directory = tempfile::tempdir()?;
    let architecture = Architecture::Arm64;
    let deb = make_deb(architecture, version(), directory.path())?;
    let rpm = make_rpm(architecture, directory.path())?;
    let of_deb = output(Command::new("dpkg-deb").arg("--field").arg(&deb).arg("Architecture"))?;
    let of_rpm =
        output(Command::new("rpm").args(["--query", "--queryformat", "%{ARCH}", "--package"]).arg(&rpm))?;
    ensure!((of_deb.trim(), of_rpm.as_str()) == ("arm64", "aarch64"), "{of_deb} {of_rpm}");
    let unpacked = directory.path().join("unpacked");
    output(Command::new("dpkg-deb").arg("--extract").arg(&deb).arg(&unpacked))?;
    let program = fs::read(unpacked.join("usr/bin/ldsentry"))?;
    ensure!(program.get(18..20) == Some(&EM_AARCH64.to_le_bytes()[..]), "the program is for another machine");
    Ok(())
}

#[test]
fn the_rpm_has_what_the_deb_has() -> Result<()> {
    let directory = tempfile::tempdir()?;
    let list = |listing: String| -> Vec<String> {
        let mut paths: Vec<_> = listing
            .lines()
            .filter_map(|line| Some(line.split_whitespace().next_back()?.trim_start_matches('.').to_owned()))
            .filter(|path| !path.ends_with('/') && !path.contains("/doc/") && !path.contains("licenses"))
            .filter(|path| !path.contains("lintian"))
            // What each distribution has elsewhere, or packed.
            .map(|path| path.trim_end_matches(".gz").replace("/usr/lib/", "/lib/"))
            .map(|path| path.replace("/zsh/vendor-completions/", "/zsh/site-functions/"))
            .collect();
        paths.sort();
        paths
    };
    let deb = make_deb(Architecture::Amd64, version(), directory.path())?;
    let rpm = make_rpm(Architecture::Amd64, directory.path())?;
    let in_deb = list(output(Command::new("dpkg-deb").arg("--contents").arg(&deb))?);
    let in_rpm = list(output(Command::new("rpm").args(["--query", "--list", "--package"]).arg(&rpm))?);
    ensure!(in_deb == in_rpm, "{in_deb:?}\n{in_rpm:?}");
    let configuration =
        output(Command::new("rpm").args(["--query", "--configfiles", "--package"]).arg(&rpm))?;
    ensure!(configuration.trim() == "/etc/ldsentry/ldsentry.toml", "{configuration}");
    Ok(())
}
