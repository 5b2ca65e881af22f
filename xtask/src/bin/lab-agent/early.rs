//! In the initramfs: loads the disk's drivers, mounts the root and moves there.

use std::fs;
use std::os::unix::process::CommandExt as _;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, bail};
use rustix::mount::{MountFlags, mount, mount_move};
use xtask::lab::LAB;

use crate::system;

/// What the host put into the initramfs for the guest's `/lab`.
pub(crate) const PAYLOAD: &str = "/payload";
const AGENT: &str = "/lab/bin/lab-agent";
const ENVIRONMENT: [(&str, &str); 4] = [
    ("PATH", "/lab/bin:/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"),
    ("HOME", "/root"),
    ("TERM", "linux"),
    ("LC_ALL", "C.UTF-8"),
];
const ROOT: &str = "/root";
const DISK: &str = "/dev/vda";

/// Does not return unless it fails.
pub(crate) fn move_to_root() -> Result<()> {
    fs::create_dir_all("/dev")?;
    mount("devtmpfs", "/dev", "devtmpfs", MountFlags::empty(), None).context("mounting /dev")?;
    system::use_console()?;
    load_modules()?;
    wait_for_disk()?;
    fs::create_dir_all(ROOT)?;
    mount(DISK, ROOT, "ext4", MountFlags::NOATIME, None).context("mounting the root")?;
    let lab = Path::new(ROOT).join(LAB.trim_start_matches('/'));
    mount("tmpfs", &lab, "tmpfs", MountFlags::empty(), Some(c"mode=755")).context("mounting /lab")?;
    copy_tree(Path::new(PAYLOAD), &lab).context("filling /lab")?;
    let agent = lab.join("bin/lab-agent");
    fs::create_dir_all(lab.join("bin"))?;
    fs::copy("/init", &agent).context("filling /lab")?;
    // The initramfs stays in memory for as long as its files exist.
    fs::remove_dir_all(PAYLOAD).ok();
    mount_move("/dev", Path::new(ROOT).join("dev")).context("moving /dev")?;
    std::env::set_current_dir(ROOT)?;
    mount_move(".", "/").context("moving to the root")?;
    rustix::process::chroot(".").context("moving to the root")?;
    std::env::set_current_dir("/")?;
    let plan = super::plan()?;
    if plan.systemd {
        return prepare(&plan.before_systemd).and_then(|()| start_systemd());
    }
    let error = Command::new(AGENT).env_clear().envs(ENVIRONMENT).exec();
    Err(error).context("starting the agent from the root")
}

fn prepare(script: &str) -> Result<()> {
    let mut shell = Command::new("sh");
    let status = shell.args(["-eu", "-c", script]).env_clear().envs(ENVIRONMENT).status();
    match status.context("running the script before systemd")? {
        status if status.success() => Ok(()),
        status => bail!("the script before systemd failed: {status}"),
    }
}

/// Systemd finds the agent among the units that only live as long as the system runs.
fn start_systemd() -> Result<()> {
    mount("tmpfs", "/run", "tmpfs", MountFlags::empty(), Some(c"mode=755")).context("mounting /run")?;
    let units = Path::new("/run/systemd/system");
    let wanted = units.join("multi-user.target.wants");
    fs::create_dir_all(&wanted)?;
    let environment = ENVIRONMENT.map(|(name, value)| format!("Environment={name}={value}\n")).concat();
    let unit =
        format!("[Service]\nExecStart={AGENT}\nStandardError=tty\nTTYPath=/dev/console\n{environment}");
    fs::write(units.join("lab-agent.service"), unit)?;
    std::os::unix::fs::symlink("../lab-agent.service", wanted.join("lab-agent.service"))?;
    let mut systemd = Command::new("/lib/systemd/systemd");
    systemd.args(["--unit=multi-user.target", "--show-status=no"]).env_clear().env("TERM", "linux");
    Err(systemd.exec()).context("starting systemd")
}

fn load_modules() -> Result<()> {
    let mut modules: Vec<PathBuf> =
        fs::read_dir("/modules")?.filter_map(|entry| Some(entry.ok()?.path())).collect();
    modules.sort();
    for module in modules {
        let file = fs::File::open(&module)?;
        rustix::system::finit_module(&file, c"", 0)
            .with_context(|| format!("loading {}", module.display()))?;
    }
    Ok(())
}

fn wait_for_disk() -> Result<()> {
    let began = Instant::now();
    while !Path::new(DISK).exists() {
        if began.elapsed() > Duration::from_mins(1) {
            bail!("there is no disk");
        }
        std::thread::sleep(Duration::from_millis(10));
    }
    Ok(())
}

fn copy_tree(from: &Path, to: &Path) -> Result<()> {
    fs::create_dir_all(to)?;
    for entry in fs::read_dir(from)? {
        let entry = entry?;
        let target = to.join(entry.file_name());
        if entry.file_type()?.is_dir() {
            copy_tree(&entry.path(), &target)?;
        } else {
            fs::copy(entry.path(), &target)?;
        }
    }
    Ok(())
}
