//! What a guest gets beside its root: an initramfs with the agent, the plan, the daemon and a scenario's files.

use std::fs;
use std::os::unix::fs::PermissionsExt as _;
use std::path::Path;
use std::process::Command;

use anyhow::{Context as _, Result};
use tempfile::TempDir;

use super::{Kernel, Plan};
use crate::command::output;

/// The tree that becomes the guest's `/lab`.
#[derive(Debug)]
pub struct Payload {
    stage: TempDir,
}

impl Payload {
    /// An empty one.
    pub fn new() -> Result<Self> {
        let stage = tempfile::tempdir().context("making a directory for the guest's files")?;
        fs::create_dir_all(stage.path().join("payload"))?;
        fs::create_dir_all(stage.path().join("modules"))?;
        Ok(Self { stage })
    }

    /// Adds a file with the given permissions.
    pub fn add(&mut self, name: &str, contents: &[u8], mode: u32) -> Result<()> {
        let path = self.path_of(name)?;
        fs::write(&path, contents)?;
        fs::set_permissions(&path, fs::Permissions::from_mode(mode))?;
        Ok(())
    }

    /// Adds a program, without its symbols: an emulated machine is slow to unpack them.
    pub fn add_program(&mut self, name: &str, from: &Path) -> Result<()> {
        let path = self.path_of(name)?;
        copy_stripped(from, &path)
    }

    /// Makes the initramfs.
    pub(super) fn pack(&self, agent: &Path, kernel: &Kernel, plan: &Plan, to: &Path) -> Result<()> {
        let stage = self.stage.path();
        fs::write(stage.join("payload/plan.json"), serde_json::to_vec(plan)?)?;
        copy_stripped(agent, &stage.join("init"))?;
        for (number, module) in kernel.early_modules()?.iter().enumerate() {
            fs::copy(module, stage.join("modules").join(format!("{number:02}.ko")))?;
        }
        output(Command::new("cp").arg("-r").arg(kernel.modules().join("lib")).arg(stage.join("payload")))?;
        let archive = fs::File::create(to)?;
        let pack = "find . | cpio --quiet --create --format=newc --owner=0:0";
        let status = Command::new("sh").args(["-c", pack]).current_dir(stage).stdout(archive).status()?;
        anyhow::ensure!(status.success(), "cpio could not pack {}", stage.display());
        Ok(())
    }

    fn path_of(&self, name: &str) -> Result<std::path::PathBuf> {
        let path = self.stage.path().join("payload").join(name);
        if let Some(directory) = path.parent() {
            fs::create_dir_all(directory)?;
        }
        Ok(path)
    }
}

fn copy_stripped(from: &Path, to: &Path) -> Result<()> {
    let strip = Command::new("strip").arg("-o").arg(to).arg(from).output();
    if !strip.is_ok_and(|strip| strip.status.success()) {
        // No `strip`, or none for this: it runs as it is.
        fs::copy(from, to).with_context(|| format!("copying {}", from.display()))?;
        fs::set_permissions(to, fs::Permissions::from_mode(0o755))?;
    }
    Ok(())
}
