//! Runs a command that may neither create, rename, truncate nor remove files, nor mount anything: `denied COMMAND ARGUMENT…`. BPF
//! LSM programs answer EPERM to it and to nobody else, after every other check, and end with it.

use std::os::fd::OwnedFd;
use std::os::unix::process::CommandExt as _;
use std::process::{Command, ExitCode};

use anyhow::{Context as _, Result, bail};
use btf_rs::Btf;
use integration_tests::raw_bpf::{LSM, LSM_MAC, attach, instruction, load};
use rustix::io::FdFlags;

const DENIED: [&str; 7] =
    ["inode_create", "inode_rename", "path_truncate", "inode_unlink", "sb_mount", "sb_umount", "move_mount"];

fn main() -> Result<ExitCode> {
    let mut words = std::env::args_os().skip(1);
    let Some(program) = words.next() else { bail!("usage: denied COMMAND ARGUMENT…") };
    let btf = Btf::from_file("/sys/kernel/btf/vmlinux").context("reading the kernel's BTF")?;
    let mut links = Vec::new();
    for hook in DENIED {
        let function = &format!("bpf_lsm_{hook}");
        links.push(deny(&btf, function).with_context(|| format!("denying at {function}"))?);
    }
    // The command is this process, and so has the links.
    Err(Command::new(program).args(words).exec().into())
}

/// Lets a hook answer EPERM to this process, for as long as the link is open.
fn deny(btf: &Btf, function: &str) -> Result<OwnedFd> {
    let ids = btf.resolve_ids_by_name(function)?;
    let instructions = [
        instruction(0x85, 0, 14),                        // r0 = bpf_get_current_pid_tgid()
        instruction(0x77, 0, 32),                        // r0 >>= 32
        instruction(0x15, 2, std::process::id().into()), // if r0 == id: skip two
        instruction(0xb7, 0, 0),                         // r0 = 0
        instruction(0x95, 0, 0),                         // exit
        instruction(0xb7, 0, -1),                        // r0 = -EPERM
        instruction(0x95, 0, 0),                         // exit
    ];
    let id = *ids.first().context("the kernel does not have it")?;
    let link = attach(&load(LSM, LSM_MAC, id, &instructions).context("loading")?).context("attaching")?;
    rustix::io::fcntl_setfd(&link, FdFlags::empty())?;
    Ok(link)
}
