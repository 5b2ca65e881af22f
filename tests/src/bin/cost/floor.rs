//! The least that hooks can cost: programs that do nothing, on the same functions.

use std::fs;
use std::io::{self, Write as _};
use std::os::fd::{AsRawFd as _, FromRawFd as _, OwnedFd};

use anyhow::{Context as _, Result};
use btf_rs::Btf;
use integration_tests::raw_bpf::{FENTRY, FEXIT, KPROBE, TRACING, attach, instruction, load};

/// `r0 = 0; exit`.
const NOTHING: [u64; 2] = [instruction(0xb7, 0, 0), instruction(0x95, 0, 0)];

const PERF_EVENT_IOC_SET_BPF: libc::Ioctl = 0x4004_2408;
const PERF_EVENT_IOC_ENABLE: libc::Ioctl = 0x2400;
const PERF_FLAG_FD_CLOEXEC: libc::c_ulong = 8;
/// Bytes of `struct perf_event_attr` that every kernel with probes knows.
const ATTRIBUTES: usize = 112;

#[derive(Clone, Copy, Debug, PartialEq, Eq, clap::ValueEnum)]
pub(crate) enum Kind {
    Fentry,
    Kprobe,
}

/// Attaches to each function; `end:` before a name stands for the end of a function.
pub(crate) fn run(kind: Kind, functions: &[String]) -> Result<()> {
    let mut open = Vec::new();
    let btf = Btf::from_file("/sys/kernel/btf/vmlinux").context("reading the kernel's BTF")?;
    for function in functions {
        let (name, at_end) =
            function.strip_prefix("end:").map_or((function.as_str(), false), |name| (name, true));
        let attached = match kind {
            Kind::Fentry => traced(&btf, name, at_end),
            Kind::Kprobe => probed(name, at_end),
        };
        open.push(attached.with_context(|| format!("attaching to {function}"))?);
    }
    drop(btf);
    writeln!(io::stdout(), "ready")?;
    loop {
        std::thread::park();
    }
}

fn traced(btf: &Btf, function: &str, at_end: bool) -> Result<[OwnedFd; 2]> {
    let ids = btf.resolve_ids_by_name(function)?;
    let id = *ids.first().context("the kernel does not have it")?;
    let program = load(TRACING, if at_end { FEXIT } else { FENTRY }, id, &NOTHING).context("loading")?;
    let link = attach(&program).context("attaching")?;
    Ok([program, link])
}

fn probed(function: &str, at_end: bool) -> Result<[OwnedFd; 2]> {
    let program = load(KPROBE, 0, 0, &NOTHING).context("loading")?;
    let device = "/sys/bus/event_source/devices/kprobe";
    let number = |path: &str| -> Result<String> {
        fs::read_to_string(path).with_context(|| format!("reading {path}"))
    };
    let kind: u32 = number(&format!("{device}/type"))?.trim().parse()?;
    let bit = number(&format!("{device}/format/retprobe"))?;
    let bit: u64 = bit.trim().trim_start_matches("config:").parse()?;
    let name = std::ffi::CString::new(function)?;
    let mut attributes = [0_u64; ATTRIBUTES / 8];
    attributes[0] = u64::from(kind) | (ATTRIBUTES as u64) << 32;
    attributes[1] = u64::from(at_end) << bit;
    // `kprobe_func`.
    attributes[7] = name.as_ptr() as u64;
    // SAFETY: the attributes are valid for the size that they state, and the name outlives the call.
    let event = unsafe {
        libc::syscall(libc::SYS_perf_event_open, attributes.as_ptr(), -1, 0, -1, PERF_FLAG_FD_CLOEXEC)
    };
    if event < 0 {
        return Err(io::Error::last_os_error()).context("opening the probe");
    }
    // SAFETY: the call made a new descriptor.
    let event = unsafe { OwnedFd::from_raw_fd(event as i32) };
    for (request, argument) in [(PERF_EVENT_IOC_SET_BPF, program.as_raw_fd()), (PERF_EVENT_IOC_ENABLE, 0)] {
        // SAFETY: requests that take a number.
        if unsafe { libc::ioctl(event.as_raw_fd(), request, argument) } != 0 {
            return Err(io::Error::last_os_error()).context("attaching");
        }
    }
    Ok([program, event])
}
