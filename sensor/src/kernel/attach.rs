//! Attaching: fentry where the kernel has it, else kprobes, and whichever it is must be seen to work.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;
use std::io::{self, Read as _};
use std::os::fd::OwnedFd;
use std::path::Path;

use aya::programs::links::{FdLink, LinkError};
use aya::programs::{FEntry, FExit, KProbe, ProgramError};
use aya::{Btf, Ebpf, Endianness};
use flate2::read::GzDecoder;
use rustix::io::Errno;
use sensor_common::code::adapt;
use zerocopy::IntoBytes as _;

use super::error::{self, KernelError};
use super::offsets::{self, KERNEL_BTF, OffsetError};
use super::pins::PinsError;
use crate::event::Action;

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
pub(super) struct Hook {
    /// None: any.
    action: Option<Action>,
    /// Its name with fentry and fexit; with kprobes, [`Hook::kprobe`] is its name.
    pub(super) program: &'static str,
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

    /// The names of the programs that can be attached for it.
    pub(super) fn programs(&self, mode: AttachMode) -> Vec<String> {
        let chain = std::iter::successors(Some(self), |hook| hook.instead);
        let name = |hook: &Self| match mode {
            AttachMode::Fentry => hook.program.to_owned(),
            AttachMode::Kprobe => hook.kprobe(),
        };
        chain.map(name).collect()
    }

    /// A program that was attached before is loaded already.
    fn attach(&self, ebpf: &mut Ebpf, btf: Option<&Btf>) -> Result<Attached, ProgramError> {
        match btf {
            Some(btf) if self.at_end => {
                let program: &mut FExit = program(ebpf, self.program);
                if program.fd().is_err() {
                    program.load(self.function, btf)?;
                }
                let link = program.attach()?;
                Ok(Attached::Held(program.take_link(link)?.into()))
            }
            Some(btf) => {
                let program: &mut FEntry = program(ebpf, self.program);
                if program.fd().is_err() {
                    program.load(self.function, btf)?;
                }
                let link = program.attach()?;
                Ok(Attached::Held(program.take_link(link)?.into()))
            }
            None => {
                let program: &mut KProbe = program(ebpf, &self.kprobe());
                // Also where there was no function that it was to be attached to first.
                if program.fd().is_err() {
                    program.load()?;
                }
                let link = program.attach(self.function, 0)?;
                if !aya::features().bpf_perf_link() {
                    return Ok(Attached::ByProgram);
                }
                let link = program.take_link(link)?.try_into();
                Ok(Attached::Held(
                    link.map_err(|error: LinkError| ProgramError::IOError(io::Error::other(error)))?,
                ))
            }
        }
    }
}

/// What ties a program to its function. It is untied when this goes, unless it is pinned.
pub(super) enum Attached {
    /// The program itself has it: the kernel knows no link.
    ByProgram,
    /// This process has it.
    Held(FdLink),
    /// It is pinned, and this process has it too: who removes the pin does not blind the daemon. With the program, if this
    /// process did not load it.
    Pinned { _link: FdLink, program: Option<OwnedFd> },
}

impl Attached {
    /// Pins it, if it is not.
    pub(super) fn pin(&mut self, path: &Path) -> Result<(), PinsError> {
        let failed = |reason: String| PinsError::Pin { path: path.to_owned(), reason };
        *self = match std::mem::replace(self, Self::ByProgram) {
            Self::ByProgram => return Err(failed("kprobes cannot be pinned before Linux 5.15".to_owned())),
            Self::Held(link) => {
                let link = link.pin(path).map_err(|error| failed(error.to_string()))?;
                Self::Pinned { _link: link.into(), program: None }
            }
            pinned @ Self::Pinned { .. } => pinned,
        };
        Ok(())
    }

    /// The program, if this process did not load it.
    pub(super) fn program(&self) -> Option<&OwnedFd> {
        if let Self::Pinned { program, .. } = self { program.as_ref() } else { None }
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

/// The hooks that actions need.
pub(super) fn needed(actions: &[Action]) -> impl Iterator<Item = &'static Hook> {
    HOOKS.iter().filter(|hook| hook.action.is_none_or(|action| actions.contains(&action)))
}

/// Attaches what `actions` need and nothing else, as far as it is not attached.
pub(super) fn attach(
    ebpf: &mut Ebpf,
    mode: AttachMode,
    actions: &[Action],
    attached: &mut BTreeMap<&'static str, Attached>,
) -> Result<(), KernelError> {
    let missing: Vec<_> = needed(actions).filter(|hook| !attached.contains_key(hook.program)).collect();
    if missing.is_empty() {
        return Ok(());
    }
    let btf = match mode {
        AttachMode::Kprobe => None,
        // Functions are numbered in the kernel's own BTF: a file does not stand in for it.
        AttachMode::Fentry => Some(parse_btf(Path::new(KERNEL_BTF)).map_err(KernelError::NoKernelBtf)?),
    };
    for hook in missing {
        attached.insert(hook.program, attach_first(ebpf, mode, hook, btf.as_ref())?);
    }
    Ok(())
}

/// Detaches what none of `actions` needs, and gives it. What begins operations goes first: what is seen to begin is seen to
/// end.
pub(super) fn detach(
    actions: &[Action],
    attached: &mut BTreeMap<&'static str, Attached>,
) -> Vec<(&'static Hook, Attached)> {
    let others =
        HOOKS.iter().rev().filter(|hook| hook.action.is_some_and(|action| !actions.contains(&action)));
    let detach = |hook: &'static Hook| match attached.get(hook.program) {
        // The kernel has no link that could be given up.
        Some(Attached::ByProgram) | None => None,
        Some(_) => Some((hook, attached.remove(hook.program)?)),
    };
    others.filter_map(detach).collect()
}

/// Whether everything is that an action alone needs.
pub(super) fn is_attached(action: Action, attached: &BTreeMap<&'static str, Attached>) -> bool {
    let needed = HOOKS.iter().filter(|hook| hook.action == Some(action));
    needed.map(|hook| hook.program).all(|program| attached.contains_key(program))
}

/// Attaches the hook, or what stands in for it if the kernel has no such function.
fn attach_first(
    ebpf: &mut Ebpf,
    mode: AttachMode,
    hook: &Hook,
    btf: Option<&Btf>,
) -> Result<Attached, KernelError> {
    match (hook.attach(ebpf, btf), hook.instead) {
        (Ok(attached), _) => Ok(attached),
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

pub(super) fn parse_btf(path: &Path) -> Result<Btf, OffsetError> {
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

#[cfg(test)]
mod tests {
    use aya::EbpfLoader;

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
