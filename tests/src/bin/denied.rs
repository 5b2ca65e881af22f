//! Runs a command that may neither create nor rename files: `denied COMMAND ARGUMENT…`. Two BPF LSM programs answer EPERM to
//! it and to nobody else, after every other check, and end with it.

use std::io;
use std::os::fd::{AsRawFd as _, FromRawFd as _, OwnedFd};
use std::os::unix::process::CommandExt as _;
use std::process::{Command, ExitCode};

use anyhow::{Context as _, Result, bail};
use btf_rs::Btf;
use rustix::io::FdFlags;

const BPF_PROG_LOAD: i32 = 5;
const BPF_RAW_TRACEPOINT_OPEN: i32 = 17;
const BPF_PROG_TYPE_LSM: u32 = 29;
const BPF_LSM_MAC: u32 = 27;

/// `union bpf_attr` for `BPF_PROG_LOAD`, as far as it is used.
#[repr(C)]
#[derive(Default)]
struct Load {
    program_type: u32,
    instruction_count: u32,
    instructions: u64,
    license: u64,
    log: [u64; 2],
    version_and_flags: [u32; 2],
    name: [u8; 16],
    interface: u32,
    attach_type: u32,
    btf: [u32; 2],
    function_info: u64,
    info_sizes: [u32; 2],
    line_info: u64,
    line_info_count: u32,
    attach_btf_id: u32,
}

/// The same for `BPF_RAW_TRACEPOINT_OPEN`, which also attaches LSM programs.
#[repr(C)]
struct Open {
    name: u64,
    program: u32,
    reserved: u32,
}

fn main() -> Result<ExitCode> {
    let mut words = std::env::args_os().skip(1);
    let Some(program) = words.next() else { bail!("usage: denied COMMAND ARGUMENT…") };
    let btf = Btf::from_file("/sys/kernel/btf/vmlinux").context("reading the kernel's BTF")?;
    let mut links = Vec::new();
    for function in ["bpf_lsm_inode_create", "bpf_lsm_inode_rename"] {
        links.push(deny(&btf, function).with_context(|| format!("denying at {function}"))?);
    }
    // The command is this process, and so has the links.
    Err(Command::new(program).args(words).exec().into())
}

/// Lets a hook answer EPERM to this process, for as long as the link is open.
fn deny(btf: &Btf, function: &str) -> Result<OwnedFd> {
    let ids = btf.resolve_ids_by_name(function)?;
    let instruction = |code: u64, offset: u64, value: i64| code | offset << 16 | (value as u64) << 32;
    let instructions = [
        instruction(0x85, 0, 14),                        // r0 = bpf_get_current_pid_tgid()
        instruction(0x77, 0, 32),                        // r0 >>= 32
        instruction(0x15, 2, std::process::id().into()), // if r0 == id: skip two
        instruction(0xb7, 0, 0),                         // r0 = 0
        instruction(0x95, 0, 0),                         // exit
        instruction(0xb7, 0, -1),                        // r0 = -EPERM
        instruction(0x95, 0, 0),                         // exit
    ];
    let load = Load {
        program_type: BPF_PROG_TYPE_LSM,
        instruction_count: instructions.len() as u32,
        instructions: instructions.as_ptr() as u64,
        license: c"GPL".as_ptr() as u64,
        attach_type: BPF_LSM_MAC,
        attach_btf_id: *ids.first().context("the kernel does not have it")?,
        ..Load::default()
    };
    let program = bpf(BPF_PROG_LOAD, &load).context("loading")?;
    let open = Open { name: 0, program: program.as_raw_fd() as u32, reserved: 0 };
    let link = bpf(BPF_RAW_TRACEPOINT_OPEN, &open).context("attaching")?;
    rustix::io::fcntl_setfd(&link, FdFlags::empty())?;
    Ok(link)
}

fn bpf<T>(command: i32, attributes: &T) -> io::Result<OwnedFd> {
    // SAFETY: the attributes are valid for their size, and what they point to lives as long as the call.
    let descriptor = unsafe { libc::syscall(libc::SYS_bpf, command, attributes, size_of::<T>()) };
    if descriptor < 0 {
        return Err(io::Error::last_os_error());
    }
    // SAFETY: the call made a new descriptor.
    Ok(unsafe { OwnedFd::from_raw_fd(descriptor as i32) })
}
