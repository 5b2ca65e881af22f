//! Attaching: fentry where the kernel has it, else kprobes, and whichever it is must be seen to work.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;
use std::io::{self, Read as _};
use std::os::fd::OwnedFd;
use std::path::Path;
use std::sync::{Mutex, PoisonError};
use std::thread::{self, available_parallelism};

use aya::programs::links::{FdLink, LinkError};
use aya::programs::{Program, ProgramError};
use aya::{Btf, Ebpf, Endianness};
use flate2::read::GzDecoder;
use rustix::io::Errno;
use sensor_common::code::adapt;
use zerocopy::IntoBytes as _;

use super::error::{self, KernelError};
use super::offsets::{self, KERNEL_BTF, OffsetError};
use super::pins::PinsError;
use crate::event::Action;

/// Programs that the verifier looks at together, at most: each takes some megabytes of the kernel's meanwhile.
const MAX_VERIFIERS: usize = 4;

/// The programs, as sensor-ebpf builds them for kernels that can make numbers pointers, and for others.
fn embedded(can_cast: bool) -> Vec<u8> {
    let compressed: &[u8] = if can_cast {
        include_bytes!(concat!(env!("OUT_DIR"), "/sensor-ebpf-cast.gz"))
    } else {
        include_bytes!(concat!(env!("OUT_DIR"), "/sensor-ebpf.gz"))
    };
    let mut object = Vec::new();
    // What was cut short would be refused by the loader.
    GzDecoder::new(compressed).read_to_end(&mut object).ok();
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
    let mut object = embedded(known.cast.is_some());
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
        std::iter::successors(Some(self), |hook| hook.instead).map(|hook| hook.name(mode)).collect()
    }

    /// The name of its program.
    fn name(&self, mode: AttachMode) -> String {
        match mode {
            AttachMode::Fentry => self.program.to_owned(),
            AttachMode::Kprobe => self.kprobe(),
        }
    }

    /// Has the verifier look at the program, unless it did.
    fn load(&self, program: &mut Program, btf: Option<&Btf>) -> Result<(), ProgramError> {
        match (program, btf) {
            // Also one that was attached before, or to a function that there is not.
            (program, _) if program.fd().is_ok() => Ok(()),
            (Program::FEntry(program), Some(btf)) => program.load(self.function, btf),
            (Program::FExit(program), Some(btf)) => program.load(self.function, btf),
            (Program::KProbe(program), _) => program.load(),
            _ => Err(ProgramError::UnexpectedProgramType),
        }
    }

    fn attach(&self, ebpf: &mut Ebpf, mode: AttachMode, btf: Option<&Btf>) -> Result<Attached, ProgramError> {
        let program = program(ebpf, &self.name(mode));
        self.load(program, btf)?;
        match program {
            Program::FEntry(program) => {
                let link = program.attach()?;
                Ok(Attached::Held(program.take_link(link)?.into()))
            }
            Program::FExit(program) => {
                let link = program.attach()?;
                Ok(Attached::Held(program.take_link(link)?.into()))
            }
            Program::KProbe(program) => {
                let link = program.attach(self.function, 0)?;
                if !aya::features().bpf_perf_link() {
                    return Ok(Attached::ByProgram);
                }
                let link = program.take_link(link)?.try_into();
                Ok(Attached::Held(
                    link.map_err(|error: LinkError| ProgramError::IOError(io::Error::other(error)))?,
                ))
            }
            _ => Err(ProgramError::UnexpectedProgramType),
        }
    }
}

/// Has the verifier look at several programs at once: it takes most of the start. What fails is left to whoever attaches it, and so
/// is the rest where the kernel refuses one.
fn load_together(ebpf: &mut Ebpf, mode: AttachMode, hooks: &[&Hook], btf: Option<&Btf>) {
    let threads = available_parallelism().map_or(1, usize::from).min(MAX_VERIFIERS);
    if threads == 1 {
        return;
    }
    let hook_of = |name: &str| hooks.iter().find(|hook| hook.name(mode) == name);
    let mut programs: Vec<_> =
        ebpf.programs_mut().filter_map(|(name, program)| Some((hook_of(name)?, program))).collect();
    // Taken from the end: what takes longest is begun first, and the ends of operations, which take nothing, last.
    programs.sort_by_key(|(hook, _)| (!hook.at_end, hook.action));
    let programs = Mutex::new(programs);
    let next = || programs.lock().unwrap_or_else(PoisonError::into_inner).pop();
    let load = || {
        while let Some((hook, program)) = next() {
            if hook.load(program, btf).is_err_and(|error| !is_about_missing_function(&error)) {
                programs.lock().unwrap_or_else(PoisonError::into_inner).clear();
            }
        }
    };
    thread::scope(|scope| {
        for _ in 1..threads {
            // Without another thread it takes longer, and no more.
            let _ = thread::Builder::new().name("verifier".to_owned()).spawn_scoped(scope, load);
        }
        load();
    });
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
    let [first, others @ ..] = missing.as_slice() else { return Ok(()) };
    let btf = match mode {
        AttachMode::Kprobe => None,
        // Functions are numbered in the kernel's own BTF: a file does not stand in for it.
        AttachMode::Fentry => Some(parse_btf(Path::new(KERNEL_BTF)).map_err(KernelError::NoKernelBtf)?),
    };
    // A kernel that refuses it would refuse the others.
    attached.insert(first.program, attach_first(ebpf, mode, first, btf.as_ref())?);
    load_together(ebpf, mode, others, btf.as_ref());
    for hook in others {
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
    match (hook.attach(ebpf, mode, btf), hook.instead) {
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

#[expect(clippy::expect_used, reason = "the object is embedded, and every test of the lab would fail")]
pub(super) fn program<'e>(ebpf: &'e mut Ebpf, name: &str) -> &'e mut Program {
    ebpf.program_mut(name).expect("the embedded object has this program")
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
        let hooks: Vec<_> = HOOKS.iter().collect();
        load_together(&mut ebpf, AttachMode::Kprobe, &hooks, None);
        let instead = HOOKS.iter().filter_map(|hook| hook.instead);
        for hook in HOOKS.iter().chain(instead).chain([&OPENED_WITHOUT_IMA]) {
            let loaded = hook.load(program(&mut ebpf, &hook.kprobe()), None);
            assert_eq!(loaded.map_err(|error| error::describe(&error)), Ok(()), "{}", hook.kprobe());
        }
    }
}
