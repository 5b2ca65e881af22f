//! Programs of a few instructions, loaded by the system call itself: a library would want an object file.

use std::io;
use std::os::fd::{AsRawFd as _, FromRawFd as _, OwnedFd};

const BPF_PROG_LOAD: i32 = 5;
const BPF_RAW_TRACEPOINT_OPEN: i32 = 17;

/// `BPF_PROG_TYPE_KPROBE`.
pub const KPROBE: u32 = 2;
/// `BPF_PROG_TYPE_TRACING`.
pub const TRACING: u32 = 26;
/// `BPF_PROG_TYPE_LSM`.
pub const LSM: u32 = 29;
/// `BPF_TRACE_FENTRY`.
pub const FENTRY: u32 = 24;
/// `BPF_TRACE_FEXIT`.
pub const FEXIT: u32 = 25;
/// `BPF_LSM_MAC`.
pub const LSM_MAC: u32 = 27;

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

/// The same for `BPF_RAW_TRACEPOINT_OPEN`, which also attaches programs to functions.
#[repr(C)]
struct Open {
    name: u64,
    program: u32,
    reserved: u32,
}

/// An instruction that has no registers but the first one.
pub const fn instruction(code: u64, offset: u64, value: i64) -> u64 {
    code | offset << 16 | (value as u64) << 32
}

/// Loads a program. `attach_type` and `function` (its number in the kernel's BTF) are 0 where they do not apply.
pub fn load(program_type: u32, attach_type: u32, function: u32, instructions: &[u64]) -> io::Result<OwnedFd> {
    let load = Load {
        program_type,
        instruction_count: instructions.len() as u32,
        instructions: instructions.as_ptr() as u64,
        license: c"GPL".as_ptr() as u64,
        attach_type,
        attach_btf_id: function,
        ..Load::default()
    };
    bpf(BPF_PROG_LOAD, &load)
}

/// Attaches a program to the function that it was loaded for.
pub fn attach(program: &OwnedFd) -> io::Result<OwnedFd> {
    bpf(BPF_RAW_TRACEPOINT_OPEN, &Open { name: 0, program: program.as_raw_fd() as u32, reserved: 0 })
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
