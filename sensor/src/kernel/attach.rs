//! Attaching: fentry where the kernel has it, else kprobes, and whichever it is must be seen to work.

use std::collections::BTreeSet;
use std::fmt;
use std::io::Read as _;
use std::path::Path;

use aya::programs::{FEntry, FExit, KProbe, ProgramError};
use aya::{Btf, Ebpf, EbpfLoader, Endianness};
use flate2::read::GzDecoder;
use rustix::io::Errno;
use sensor_common::code::adapt;
use zerocopy::IntoBytes as _;

use super::diagnostics::{self, Diagnostics};
use super::error::{self, KernelError, Step};
use super::offsets::{self, KERNEL_BTF, OffsetError};
use super::ring::Ring;
use super::{Kernel, NO_LENGTHS, Options, self_test};
use crate::event::Action;
use crate::links::{self, Link};
use crate::memory;

/// The programs, as sensor-ebpf builds them.
fn embedded() -> Vec<u8> {
    let compressed = include_bytes!(concat!(env!("OUT_DIR"), "/sensor-ebpf.gz"));
    let mut object = Vec::new();
    // What was cut short would be refused by the loader.
    GzDecoder::new(compressed.as_slice()).read_to_end(&mut object).ok();
    object
}

/// A kind of programs.
#[derive(Debug, Clone, Copy, PartialEq, Eq, serde::Serialize)]
#[serde(rename_all = "lowercase")]
pub enum AttachMode {
    /// fentry and fexit: called directly by the function.
    Fentry,
    /// kprobe and kretprobe: through a breakpoint or ftrace.
    Kprobe,
}

impl AttachMode {
    /// All of them, the cheapest first.
    pub const ALL: [Self; 2] = [Self::Fentry, Self::Kprobe];
}

impl fmt::Display for AttachMode {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Fentry => "fentry",
            Self::Kprobe => "kprobe",
        })
    }
}

/// What came of one way to attach.
pub type Attempt = (AttachMode, Result<(), KernelError>);

/// Loads the programs, attaches them and sees them work. Gives also what other processes did meanwhile, in the ring.
pub fn open(options: &Options) -> Result<(Kernel, Ring), KernelError> {
    let known = read_types(options)?;
    let modes: &[AttachMode] = match options.attach {
        Some(AttachMode::Fentry) => &[AttachMode::Fentry],
        Some(AttachMode::Kprobe) => &[AttachMode::Kprobe],
        None => &AttachMode::ALL,
    };
    let mut errors = Vec::new();
    for &mode in modes {
        match open_mode(mode, &known, options) {
            Ok(opened) => {
                // The kernel's type information took tens of megabytes.
                memory::give_back();
                return Ok(opened);
            }
            Err(error) => errors.push(error),
        }
    }
    match errors.pop() {
        Some(error) if errors.is_empty() => Err(error),
        last => Err(KernelError::NoMode(errors.into_iter().chain(last).collect())),
    }
}

/// Does the same as [`open`] in every way there is, and lets go of it again.
pub fn attempt(options: &Options) -> Result<Vec<Attempt>, OffsetError> {
    let known = read_types(options)?;
    Ok(AttachMode::ALL.map(|mode| (mode, open_mode(mode, &known, options).map(drop))).into())
}

fn read_types(options: &Options) -> Result<offsets::Kernel, OffsetError> {
    offsets::read(options.btf.as_deref().unwrap_or(Path::new(KERNEL_BTF)))
}

fn open_mode(
    mode: AttachMode,
    known: &offsets::Kernel,
    options: &Options,
) -> Result<(Kernel, Ring), KernelError> {
    if known.cast.is_some() {
        match open_diagnosed(mode, known, options) {
            // Some kernels have the function for other programs only.
            Err(error @ KernelError::Program { step: Step::Load, .. }) => {
                tracing::debug!("trying again without `bpf_rdonly_cast`: {error}");
            }
            opened => return opened,
        }
    }
    open_diagnosed(mode, &offsets::Kernel { cast: None, ..*known }, options)
}

/// The verifier can find the programs too large when they say what they do: then they work in silence.
fn open_diagnosed(
    mode: AttachMode,
    known: &offsets::Kernel,
    options: &Options,
) -> Result<(Kernel, Ring), KernelError> {
    if !diagnostics::is_on() {
        return open_programs(mode, known, options, false);
    }
    open_programs(mode, known, options, true).or_else(|error| {
        let opened = open_programs(mode, known, options, false)?;
        tracing::warn!("the {mode} programs cannot tell what they do: {error}");
        Ok(opened)
    })
}

fn open_programs(
    mode: AttachMode,
    known: &offsets::Kernel,
    options: &Options,
    diagnose: bool,
) -> Result<(Kernel, Ring), KernelError> {
    let namespace = host_mount_namespace();
    let btf = options.btf.as_deref().map(parse_btf).transpose()?;
    let mut loader = EbpfLoader::new();
    // Without one it takes the kernel's own.
    if btf.is_some() {
        loader.btf(btf.as_ref());
    }
    loader
        .override_global("OFFSETS", known.offsets.as_bytes(), true)
        .override_global("HOST_MOUNT_NAMESPACE", &namespace, true)
        .map_max_entries("EVENTS", options.ring_bytes)
        .map_max_entries("SCRATCH", scratch_slots(&options.actions));
    diagnostics::set_level(&mut loader, diagnose);
    let mut ebpf = loader.load(&object(known))?;
    let mut ring = Ring::take(&mut ebpf)?;
    let mut attached = BTreeSet::new();
    attach(&mut ebpf, mode, &options.actions, &mut attached)?;
    let diagnostics = diagnose.then(|| Diagnostics::open(&mut ebpf)).transpose()?;
    let mut kernel = Kernel {
        ebpf,
        diagnostics,
        mode,
        scratch_slots: scratch_slots(&options.actions),
        attached,
        generation: 0,
        lengths: Box::new(NO_LENGTHS),
        names: [Vec::new(), Vec::new()],
        directories: BTreeSet::new(),
    };
    self_test::run(&mut kernel, &mut ring, &options.actions)?;
    Ok((kernel, ring))
}

/// The object with code for this kernel.
pub(super) fn object(known: &offsets::Kernel) -> Vec<u8> {
    let mut object = embedded();
    let offsets = known.offsets.as_bytes().chunks_exact(4);
    let offsets: Vec<u32> =
        offsets.filter_map(|bytes| Some(u32::from_ne_bytes(*bytes.as_array()?))).collect();
    // Instructions are aligned.
    for bytes in object.chunks_exact_mut(8) {
        if let Some(bytes) = bytes.as_mut_array()
            && let Some(adapted) = adapt(u64::from_ne_bytes(*bytes), &offsets, known.cast)
        {
            *bytes = adapted.to_ne_bytes();
        }
    }
    object
}

/// A program that an action needs.
struct Hook {
    /// None: any.
    action: Option<Action>,
    /// Its name with fentry and fexit; with kprobes, [`Hook::kprobe`] is its name.
    program: &'static str,
    function: &'static str,
    at_end: bool,
    /// What to take where the kernel has no such function.
    instead: Option<&'static Self>,
}

/// The function of a system call.
macro_rules! system_call {
    ($name:literal) => {
        if cfg!(target_arch = "aarch64") {
            concat!("__arm64_sys_", $name)
        } else {
            concat!("__x64_sys_", $name)
        }
    };
}

/// The outcome's programs come first: an operation whose hook is seen has an end that is seen.
#[rustfmt::skip]
const HOOKS: [Hook; 23] = {
    use Action::{Creation, Deletion, Modification, Mount, Rename};
    [
        Hook::at_end(None, "mounted", "path_mount"),
        Hook::before(None, "sb_mount", "security_sb_mount"),
        Hook::before(None, "move_mount", "security_move_mount"),
        Hook::at_end(Some(Rename), "renamed", "vfs_rename"),
        Hook::at_end(Some(Creation), "linked", "vfs_link"),
        Hook::at_end(Some(Creation), "symlinked", "vfs_symlink"),
        Hook::at_end(Some(Creation), "mknoded", "vfs_mknod"),
        Hook::at_end(Some(Modification), "truncate_ended", "vfs_truncate"),
        Hook::at_end(Some(Deletion), "unlinked", "vfs_unlink"),
        Hook::at_end(Some(Mount), "unmounted", "path_umount"),
        Hook::at_end(Some(Mount), "moved_mount", system_call!("move_mount")),
        Hook::at_end(Some(Mount), "pivoted", system_call!("pivot_root")),
        Hook::before(Some(Creation), "inode_made", "security_inode_init_security"),
        Hook::before(Some(Rename), "inode_rename", "security_inode_rename"),
        Hook::before(Some(Creation), "inode_link", "security_inode_link"),
        Hook::before(Some(Creation), "inode_symlink", "security_inode_symlink"),
        Hook::before(Some(Creation), "inode_mknod", "security_inode_mknod"),
        Hook::before(Some(Creation), "inode_create", "security_inode_create"),
        // Where the file is open already, if there is such a place: up to 6.8 that takes CONFIG_IMA.
        Hook { instead: Some(&OPENED_UP_TO_6_8), ..Hook::before(Some(Modification), "file_opened", "security_file_post_open") },
        Hook::before(Some(Modification), "truncate", "vfs_truncate"),
        Hook::before(Some(Deletion), "inode_unlink", "security_inode_unlink"),
        Hook::before(Some(Mount), "sb_umount", "security_sb_umount"),
        Hook::before(Some(Mount), "sb_pivotroot", "security_sb_pivotroot"),
    ]
};

const OPENED_UP_TO_6_8: Hook = Hook {
    instead: Some(&OPENED_WITHOUT_IMA),
    ..Hook::before(Some(Action::Modification), "file_opened", "ima_file_check")
};

const OPENED_WITHOUT_IMA: Hook = Hook::before(Some(Action::Modification), "file_open", "security_file_open");

impl Hook {
    const fn before(action: Option<Action>, program: &'static str, function: &'static str) -> Self {
        Self { action, program, function, at_end: false, instead: None }
    }

    const fn at_end(action: Option<Action>, program: &'static str, function: &'static str) -> Self {
        Self { action, program, function, at_end: true, instead: None }
    }

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
                // It is loaded already if there was no function that it was to be attached to first.
                if program.fd().is_err() {
                    program.load()?;
                }
                program.attach(self.function, 0)?;
            }
        }
        Ok(())
    }
}

/// How many programs can be at work on a processor at once: those of later actions have higher slots.
pub(super) fn scratch_slots(actions: &[Action]) -> u32 {
    let slots = |action: &Action| match action {
        Action::Creation | Action::Rename => 5,
        Action::Modification => 7,
        Action::Deletion => 8,
        Action::Mount => 12,
    };
    actions.iter().map(slots).max().unwrap_or(1)
}

/// Attaches what `actions` need and nothing else, as far as it is not attached.
pub(super) fn attach(
    ebpf: &mut Ebpf,
    mode: AttachMode,
    actions: &[Action],
    attached: &mut BTreeSet<&'static str>,
) -> Result<(), KernelError> {
    let needed = HOOKS.iter().filter(|hook| hook.action.is_none_or(|action| actions.contains(&action)));
    let missing: Vec<_> = needed.filter(|hook| !attached.contains(hook.program)).collect();
    if missing.is_empty() {
        return Ok(());
    }
    let btf = match mode {
        AttachMode::Kprobe => None,
        // Functions are numbered in the kernel's own BTF: a file does not stand in for it.
        AttachMode::Fentry => Some(parse_btf(Path::new(KERNEL_BTF)).map_err(KernelError::NoKernelBtf)?),
    };
    for hook in missing {
        attach_first(ebpf, mode, hook, btf.as_ref())?;
        attached.insert(hook.program);
    }
    Ok(())
}

/// Attaches the hook, or what stands in for it if the kernel has no such function.
fn attach_first(
    ebpf: &mut Ebpf,
    mode: AttachMode,
    hook: &Hook,
    btf: Option<&Btf>,
) -> Result<(), KernelError> {
    match (hook.attach(ebpf, btf), hook.instead) {
        (Ok(()), _) => Ok(()),
        (Err(error), Some(instead)) if is_about_missing_function(&error) => {
            tracing::debug!("the kernel has no `{}`: trying `{}`", hook.function, instead.function);
            attach_first(ebpf, mode, instead, btf)
        }
        (Err(error), _) => Err(KernelError::program(mode, hook.function, &error)),
    }
}

fn is_about_missing_function(error: &ProgramError) -> bool {
    matches!(error, ProgramError::Btf(_)) || error::errno(error) == Some(Errno::NOENT)
}

fn parse_btf(path: &Path) -> Result<Btf, OffsetError> {
    Btf::parse_file(path, Endianness::default())
        .map_err(|error| OffsetError { path: path.to_owned(), reason: error.to_string() })
}

/// The functions that can be hooked, whatever the rules are, without what others stand in for.
pub fn hooked_functions() -> impl Iterator<Item = &'static str> {
    let functions = HOOKS.iter().filter(|hook| hook.instead.is_none()).map(|hook| hook.function);
    functions.collect::<BTreeSet<_>>().into_iter()
}

pub(super) fn program<'a, P>(ebpf: &'a mut Ebpf, name: &str) -> &'a mut P
where
    &'a mut P: TryFrom<&'a mut aya::programs::Program, Error = ProgramError>,
{
    #[expect(clippy::expect_used, reason = "the object is embedded, and every test of the lab would fail")]
    ebpf.program_mut(name)
        .and_then(|program| program.try_into().ok())
        .expect("the embedded object has this program, of this type")
}

/// The mount namespace of the first process, which is the host's. 0 if it is hidden: then no view is called the host's.
fn host_mount_namespace() -> u32 {
    links::namespace(Path::new("/proc"), 1, Link::MountNamespace).map_or(0, |number| number as u32)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Where kprobes are taken, the verifier says in a second what takes minutes in an emulated kernel. The offsets that it
    /// sees are those of this kernel.
    #[test]
    #[ignore = "needs root and a kernel that takes programs for kprobes"]
    fn this_kernel_verifies_all_kprobe_programs() {
        let offsets = offsets::read(Path::new(KERNEL_BTF)).unwrap();
        let mut ebpf = EbpfLoader::new()
            .override_global("OFFSETS", offsets.offsets.as_bytes(), true)
            .load(&object(&offsets))
            .unwrap();
        let instead = HOOKS.iter().filter_map(|hook| hook.instead);
        for hook in HOOKS.iter().chain(instead).chain([&OPENED_WITHOUT_IMA]) {
            let program: &mut KProbe = program(&mut ebpf, &hook.kprobe());
            if program.fd().is_err() {
                let loaded = program.load().map_err(|error| error::describe(&error));
                assert_eq!(loaded, Ok(()), "{}", hook.kprobe());
            }
        }
    }
}
