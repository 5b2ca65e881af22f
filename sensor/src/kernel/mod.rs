//! Loading the programs, attaching them, and reading what they say.

mod attach;
mod btf;
mod counters;
mod diagnostics;
mod error;
mod handover;
mod load;
mod mounts;
pub mod offsets;
mod pins;
mod processes;
mod ring;
mod self_test;
mod stay;

use std::collections::{BTreeMap, BTreeSet};
use std::path::PathBuf;

use aya::Ebpf;
use aya::maps::{Array, HashMap, MapData, MapError};
use sensor_common::filter::{self, First, Key, Next, PLACES, SLOTS};
use zerocopy::{FromBytes as _, IntoBytes as _};

use self::attach::Attached;
pub use self::attach::{AttachMode, hooked_functions};
pub use self::counters::KernelCounters;
pub use self::diagnostics::Diagnostics;
pub use self::error::{KernelError, Step};
pub use self::handover::{Overlap, Predecessor, Witness};
pub use self::load::{Attempt, Opened, attempt, open};
pub use self::offsets::{KERNEL_BTF, OffsetError};
use self::pins::{Identity, Pins, Set};
pub use self::pins::{PinsError, Removed};
pub use self::processes::{Processes, ProcessesError};
pub use self::ring::{Record, Ring};
pub use self::stay::{Left, can_pin, unload};
use crate::event::Action;
use crate::filter::Filters;

/// How to attach.
#[derive(Debug, Clone)]
pub struct Options {
    /// The kind of programs; `None` tries one after the other.
    pub attach: Option<AttachMode>,
    /// The kernel's type information, if it does not come from the kernel itself.
    pub btf: Option<PathBuf>,
    /// Size of the ring.
    pub ring_bytes: u32,
    /// Where programs and maps are pinned; `None`: they end with the process.
    pub pins: Option<PathBuf>,
    /// What has to be seen; the hooks of other actions are not attached.
    pub actions: Vec<Action>,
}

/// The programs at work. Unless they are pinned, they stop when this is dropped, or the process ends in whatever way.
pub struct Kernel {
    ebpf: Ebpf,
    diagnostics: Option<Diagnostics>,
    mode: AttachMode,
    /// How many programs at work at once there is memory for on each processor.
    scratch_slots: u32,
    /// Programs that are attached.
    attached: BTreeMap<&'static str, Attached>,
    /// What the kernel counted as [`KernelCounters::misses`] for programs that this process has no more.
    missed_before: u64,
    identity: Identity,
    /// Where they can be pinned.
    pins: Option<Pins>,
    /// Where they are pinned.
    set: Option<Set>,
    /// The filter's generation that is in force.
    generation: u32,
    /// What the kernel reads first, of even generations and of odd ones. It reads both as one.
    first: [AllFirst; 2],
    /// What it reads next, of even generations and of odd ones.
    next: Box<AllNext>,
    /// The names in the kernel of even generations, and of odd ones.
    names: [Vec<Key>; 2],
    /// Directories that are looked for, in lower case.
    directories: BTreeSet<Vec<u8>>,
}

type AllFirst = [First; PLACES];
type AllNext = [Next; SLOTS];
/// Nothing is looked for.
static NO_NEXT: AllNext = [Next::NONE; SLOTS];

impl Kernel {
    /// How the programs are attached.
    pub fn mode(&self) -> AttachMode {
        self.mode
    }

    /// What the programs say about themselves, if the log's level asks for it.
    pub fn take_diagnostics(&mut self) -> Option<Diagnostics> {
        self.diagnostics.take()
    }

    /// The actions for which something would still have to be attached.
    pub fn unhooked(&self, actions: impl Iterator<Item = Action>) -> Vec<Action> {
        actions.filter(|action| !attach::is_attached(*action, &self.attached)).collect()
    }

    /// Attaches what these actions need and is not attached.
    pub fn attach(&mut self, actions: &[Action]) -> Result<(), KernelError> {
        if attach::scratch_slots(actions) > self.scratch_slots {
            return Err(KernelError::NotTogether);
        }
        attach::attach(&mut self.ebpf, self.mode, actions, &mut self.attached)?;
        if let Some(set) = self.set.clone() {
            self.pin_programs(&set)?;
        }
        Ok(())
    }

    /// Detaches what none of these actions needs: the filter should have nothing for it any more.
    pub fn detach_others(&mut self, actions: &[Action]) {
        for (hook, attached) in attach::detach(actions, &mut self.attached) {
            self.missed_before += attached.program().map_or(0, counters::misses);
            drop(attached);
            let Some(set) = &self.set else { continue };
            if let Err(error) = set.remove_program(hook.program, &hook.programs(self.mode)) {
                tracing::warn!("{} stays attached, and sees nothing: {error}", hook.program);
            }
        }
    }

    /// Puts filters in force in one step. The actions that they are about must have been asked for at [`open`].
    ///
    /// The generation before stays as it is: a program that has begun with it ends with it.
    pub fn set_filters(&mut self, filters: &Filters) -> Result<(), KernelError> {
        let generation = self.generation.wrapping_add(1);
        let spare = generation as usize & 1;
        let old = std::mem::take(&mut self.names[spare]);
        let mut names: HashMap<&mut MapData, [u8; size_of::<Key>()], u32> = self.map("NAMES")?;
        for key in &old {
            // What cannot be removed is of an old generation and never asked for again.
            let _ = names.remove(&bytes(key));
        }
        let new = filters.names(generation);
        for (key, actions) in &new {
            names.insert(bytes(key), actions, 0).map_err(cannot_change)?;
        }
        for (action, (first, next)) in filters.summaries().into_iter().enumerate() {
            self.first[spare][action] = first;
            self.next[filter::slot(generation, action as u32) as usize] = next;
        }
        // What is in force is written too, and stays as it is.
        let all: [u8; size_of::<AllNext>()] = bytes(&*self.next);
        self.set_variable(".data.next", all)?;
        let both: AllFirst = std::array::from_fn(|action| self.first[0][action].with(self.first[1][action]));
        let both: [u8; size_of::<AllFirst>()] = bytes(&both);
        self.set_variable(".data.first", both)?;
        // Until it is known which file systems the new directories concern, it can be any.
        self.set_mounted(u64::MAX)?;
        self.set_variable(".data.in_force", generation)?;
        self.names[spare] = new.into_keys().collect();
        self.generation = generation;
        self.directories = filters.union().directories.iter().map(|name| name.to_ascii_lowercase()).collect();
        Ok(())
    }

    /// The filter that is in force is another daemon's.
    fn read_generation(&mut self) -> Result<(), KernelError> {
        let generation: u32 = self.variable(".data.in_force")?;
        let next: [u8; size_of::<AllNext>()] = self.variable(".data.next")?;
        self.next.as_mut_bytes().copy_from_slice(&next);
        // It is of two generations, and goes when the one in force does.
        let first: [u8; size_of::<AllFirst>()] = self.variable(".data.first")?;
        self.first[generation as usize & 1].as_mut_bytes().copy_from_slice(&first);
        let names: HashMap<&mut MapData, [u8; size_of::<Key>()], u32> = self.map("NAMES")?;
        let keys: Vec<_> = names.keys().flatten().filter_map(|key| Key::read_from_bytes(&key).ok()).collect();
        for key in keys {
            self.names[key.generation as usize & 1].push(key);
        }
        self.generation = generation;
        Ok(())
    }

    /// Finds out which file systems are mounted below a directory that is looked for. Nothing is missed as long as this is
    /// not done, or gives `false`: something is being mounted, so it has to be done again.
    pub fn look_at_mounts(&mut self) -> Result<bool, KernelError> {
        let before = self.mount_changes()?;
        let under_way: HashMap<&mut MapData, u64, u8> = self.map("MOUNTING")?;
        if under_way.keys().next().is_some() {
            return Ok(false);
        }
        let bits = mounts::bits_below(&self.directories);
        self.set_mounted(bits)?;
        // A mount counts itself first and then sets all bits: what was not there before comes after.
        if self.mount_changes()? == before {
            return Ok(true);
        }
        self.set_mounted(u64::MAX)?;
        Ok(false)
    }

    fn mount_changes(&mut self) -> Result<u64, KernelError> {
        self.variable("MOUNTS")
    }

    fn set_mounted(&mut self, bits: u64) -> Result<(), KernelError> {
        self.set_variable(".data.mounted", bits)
    }

    /// What the kernel side counted since the programs were loaded.
    pub fn counters(&self) -> KernelCounters {
        let mut counters = counters::read(&self.ebpf, &self.attached);
        counters.misses += self.missed_before;
        counters
    }

    /// Of the counters, the one that decides what a missing outcome means.
    pub fn outcomes_lost(&self) -> u64 {
        counters::count(&self.ebpf, sensor_common::counters::OUTCOMES_LOST)
    }

    /// What is in a map that holds one value.
    fn variable<T: aya::Pod>(&mut self, name: &'static str) -> Result<T, KernelError> {
        let variable: Array<&mut MapData, T> = self.map(name)?;
        variable.get(&0, 0).map_err(cannot_change)
    }

    fn set_variable<T: aya::Pod>(&mut self, name: &'static str, value: T) -> Result<(), KernelError> {
        let mut variable: Array<&mut MapData, T> = self.map(name)?;
        variable.set(0, value, 0).map_err(cannot_change)
    }

    fn map<'k, M>(&'k mut self, name: &'static str) -> Result<M, KernelError>
    where
        M: TryFrom<&'k mut aya::maps::Map, Error = MapError>,
    {
        #[expect(
            clippy::expect_used,
            reason = "the object is embedded, and every test of the lab would fail"
        )]
        let map = self.ebpf.map_mut(name).expect("the embedded object has this map");
        map.try_into().map_err(cannot_change)
    }
}

fn cannot_change(source: MapError) -> KernelError {
    KernelError::Map { doing: "change the kernel's filter", source }
}

fn bytes<const N: usize>(value: &(impl zerocopy::IntoBytes + zerocopy::Immutable)) -> [u8; N] {
    let mut bytes = [0; N];
    bytes.copy_from_slice(value.as_bytes());
    bytes
}
