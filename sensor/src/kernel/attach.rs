//! Attaching: fentry where the kernel has it, else kprobes, and whichever it is must be seen to work.

use std::fmt;
use std::os::unix::fs::MetadataExt as _;
use std::path::Path;

use aya::programs::{FEntry, FExit, KProbe, ProgramError};
use aya::{Btf, Ebpf, EbpfLoader, Endianness};
use sensor_common::offsets::Offsets;
use zerocopy::IntoBytes as _;

use super::offsets::{self, KERNEL_BTF};
use super::ring::Ring;
use super::{Kernel, KernelError, Options, self_test};
use crate::event::Action;

/// The programs, as sensor-ebpf builds them.
static OBJECT: &[u8] = aya::include_bytes_aligned!(concat!(env!("OUT_DIR"), "/sensor-ebpf"));

/// A kind of programs.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum AttachMode {
    /// fentry and fexit: called directly by the function.
    Fentry,
    /// kprobe and kretprobe: through a breakpoint or ftrace.
    Kprobe,
}

impl fmt::Display for AttachMode {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Fentry => "fentry",
            Self::Kprobe => "kprobe",
        })
    }
}

/// Loads the programs, attaches them and sees them work. Gives also what other processes did meanwhile, in the ring.
pub fn open(options: &Options) -> Result<(Kernel, Ring), KernelError> {
    let btf = options.btf.as_deref().unwrap_or(Path::new(KERNEL_BTF));
    let offsets = offsets::read(btf)?;
    let modes: &[AttachMode] = match options.attach {
        Some(AttachMode::Fentry) => &[AttachMode::Fentry],
        Some(AttachMode::Kprobe) => &[AttachMode::Kprobe],
        None => &[AttachMode::Fentry, AttachMode::Kprobe],
    };
    let mut errors = Vec::new();
    for &mode in modes {
        match open_mode(mode, &offsets, options) {
            Ok(opened) => return Ok(opened),
            Err(error) => errors.push(error),
        }
    }
    match errors.pop() {
        Some(error) if errors.is_empty() => Err(error),
        last => Err(KernelError::NoMode(errors.into_iter().chain(last).collect())),
    }
}

fn open_mode(mode: AttachMode, offsets: &Offsets, options: &Options) -> Result<(Kernel, Ring), KernelError> {
    let namespace = host_mount_namespace();
    let mut loader = EbpfLoader::new();
    loader
        .override_global("OFFSETS", offsets.as_bytes(), true)
        .override_global("HOST_MOUNT_NAMESPACE", &namespace, true)
        .map_max_entries("EVENTS", options.ring_bytes);
    let mut ebpf = loader.load(OBJECT).map_err(Box::new)?;
    let ring = Ring::take(&mut ebpf)?;
    attach(&mut ebpf, mode, &options.actions)?;
    let mut kernel = Kernel { ebpf, mode, generation: 0, names: [Vec::new(), Vec::new()] };
    let mut ring = ring;
    self_test::run(&mut kernel, &mut ring, &options.actions)?;
    Ok((kernel, ring))
}

/// A program that an action needs.
struct Hook {
    action: Action,
    /// Its name with fentry and fexit; with kprobes, [`Hook::kprobe`] is its name.
    program: &'static str,
    function: &'static str,
    at_end: bool,
}

/// The outcome's programs come first: an operation whose hook is seen has an end that is seen.
#[rustfmt::skip]
const HOOKS: [Hook; 4] = [
    Hook { action: Action::Rename, program: "renamed", function: "vfs_rename", at_end: true },
    Hook { action: Action::Creation, program: "inode_made", function: "security_inode_init_security", at_end: false },
    Hook { action: Action::Rename, program: "inode_rename", function: "security_inode_rename", at_end: false },
    Hook { action: Action::Creation, program: "inode_create", function: "security_inode_create", at_end: false },
];

impl Hook {
    fn kprobe(&self) -> String {
        format!("{}_{}", self.program, if self.at_end { "kretprobe" } else { "kprobe" })
    }

    fn attach(&self, ebpf: &mut Ebpf, btf: Option<&Btf>) -> Result<(), ProgramError> {
        match btf {
            Some(btf) if self.at_end => {
                let program: &mut FExit = program(ebpf, self.program);
                program.load(self.function, btf)?;
                program.attach()?;
            }
            Some(btf) => {
                let program: &mut FEntry = program(ebpf, self.program);
                program.load(self.function, btf)?;
                program.attach()?;
            }
            None => {
                let program: &mut KProbe = program(ebpf, &self.kprobe());
                program.load()?;
                program.attach(self.function, 0)?;
            }
        }
        Ok(())
    }
}

/// Attaches what `actions` need and nothing else.
fn attach(ebpf: &mut Ebpf, mode: AttachMode, actions: &[Action]) -> Result<(), KernelError> {
    let refused = |function, reason: String| KernelError::Program { mode, function, reason };
    let hooks = || HOOKS.iter().filter(|hook| actions.contains(&hook.action));
    let Some(first) = hooks().next() else { return Ok(()) };
    let btf = match mode {
        AttachMode::Kprobe => None,
        AttachMode::Fentry => {
            Some(Btf::parse_file(KERNEL_BTF, Endianness::default()).map_err(|error| {
                refused(first.function, format!("no usable BTF in {KERNEL_BTF}: {error}"))
            })?)
        }
    };
    for hook in hooks() {
        hook.attach(ebpf, btf.as_ref()).map_err(|error| refused(hook.function, describe(&error)))?;
    }
    Ok(())
}

fn program<'a, P>(ebpf: &'a mut Ebpf, name: &str) -> &'a mut P
where
    &'a mut P: TryFrom<&'a mut aya::programs::Program, Error = ProgramError>,
{
    #[expect(clippy::expect_used, reason = "the object is embedded, and every test of the lab would fail")]
    ebpf.program_mut(name)
        .and_then(|program| program.try_into().ok())
        .expect("the embedded object has this program, of this type")
}

/// The whole chain of causes in one line, and of a verifier's log the end, which has the reason.
fn describe(error: &ProgramError) -> String {
    if let ProgramError::LoadError { io_error, verifier_log } = error {
        let log = verifier_log.to_string();
        let lines: Vec<_> = log.lines().filter(|line| !line.trim().is_empty()).collect();
        let end = lines[lines.len().saturating_sub(12)..].join("\n    ");
        return if end.is_empty() { io_error.to_string() } else { format!("{io_error}\n    {end}") };
    }
    let mut text = error.to_string();
    let mut source = std::error::Error::source(error);
    while let Some(cause) = source {
        text = format!("{text}: {cause}");
        source = cause.source();
    }
    text
}

/// The mount namespace of the first process, which is the host's. 0 if it is hidden: then no view is called the host's.
fn host_mount_namespace() -> u32 {
    std::fs::metadata("/proc/1/ns/mnt").map_or(0, |namespace| namespace.ino() as u32)
}
