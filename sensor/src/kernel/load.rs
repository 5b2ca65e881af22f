//! Loading: programs of this daemon's own, or those that another one left pinned and that are the same.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Display;
use std::path::Path;
use std::rc::Rc;

use aya::maps::{Array, Map, MapData, MapError};
use aya::programs::links::{FdLink, PinnedLink};
use aya::{Ebpf, EbpfLoader};
use sensor_common::filter::{First, PLACES};
use sensor_common::record::ABI;
use zerocopy::IntoBytes as _;

use super::attach::{self, AttachMode, Attached};
use super::diagnostics::{self, Diagnostics};
use super::error::{KernelError, Step};
use super::offsets::{self, KERNEL_BTF, OffsetError};
use super::pins::{Identity, Pins, PinsError, Program, Set};
use super::ring::Ring;
use super::stay::without_pins;
use super::{AllFirst, AllNext, Kernel, NO_NEXT, Options, self_test};
use crate::links::{self, Link};

/// Whether a map is made anew for each daemon: constants, what nobody reads later, and variables that only programs share which
/// are attached together, as those of an action are.
pub(super) fn is_own(map: &str) -> bool {
    map.starts_with(".rodata") || map == ".bss" || map == "AYA_LOGS" || map == "PROCESSES"
}

/// The daemon's variables in pinned maps, as they are. The loader writes to them, and programs at work read them meanwhile.
struct Variables {
    in_force: u32,
    first: [u8; size_of::<AllFirst>()],
    next: Box<[u8; size_of::<AllNext>()]>,
}

impl Variables {
    fn read(set: &Set) -> Result<Self, KernelError> {
        fn value<T: aya::Pod>(set: &Set, name: &str) -> Result<T, MapError> {
            let map = Map::Array(MapData::from_pin(set.map(name))?);
            Array::<_, T>::try_from(map)?.get(&0, 0)
        }
        let cannot_read = |source| KernelError::Map { doing: "read the pinned filter", source };
        let in_force = value(set, ".data.in_force").map_err(cannot_read)?;
        let first = value(set, ".data.first").map_err(cannot_read)?;
        let next = Box::new(value(set, ".data.next").map_err(cannot_read)?);
        Ok(Self { in_force, first, next })
    }
}

/// What came of one way to attach.
pub type Attempt = (AttachMode, Result<(), KernelError>);

/// Programs at work, and their records.
pub struct Opened {
    /// The programs.
    pub kernel: Kernel,
    /// What they saw, and what other processes did while they were tested.
    pub ring: Ring,
    /// How many links they had, if they were at work before, and this daemon goes on with them.
    pub found: Option<usize>,
}

/// Goes on with the programs that are pinned if they are what this daemon would load; else loads its own, attaches them and
/// sees them work.
pub fn open(options: &Options) -> Result<Opened, KernelError> {
    let pins = options.pins.as_deref().map(Pins::open).transpose();
    let known = read_types(options)?;
    let modes: &[AttachMode] = match options.attach {
        Some(AttachMode::Fentry) => &[AttachMode::Fentry],
        Some(AttachMode::Kprobe) => &[AttachMode::Kprobe],
        None => &AttachMode::ALL,
    };
    let plans = plans(modes, &known, options);
    match pins {
        Ok(Some(pins)) => open_with_pins(&plans, pins),
        Ok(None) => open_afresh(&plans),
        // Where there are no hooks, that is what is to be said.
        Err(error) => open_afresh(&plans).inspect(|_| without_pins(&error)),
    }
}

fn open_with_pins(plans: &[Plan<'_>], pins: Pins) -> Result<Opened, KernelError> {
    let mut opened = match find_pinned(plans, &pins)? {
        Some(opened) => opened,
        None => open_afresh(plans)?,
    };
    opened.kernel.pins = Some(pins);
    Ok(opened)
}

fn find_pinned(plans: &[Plan<'_>], pins: &Pins) -> Result<Option<Opened>, PinsError> {
    if pins.sets()?.is_empty() {
        return Ok(None);
    }
    let found = adopt_first(plans, pins)?;
    if found.is_some() {
        return Ok(found);
    }
    let plans: Vec<_> = plans.iter().filter_map(Plan::without_cast).collect();
    adopt_first(&plans, pins)
}

fn adopt_first(plans: &[Plan<'_>], pins: &Pins) -> Result<Option<Opened>, PinsError> {
    for plan in plans {
        let Some(set) = pins.get(&plan.identity) else { continue };
        if !plan.is_whole(&set)? {
            // What is left of it watches until new programs do.
            tracing::warn!("links are missing in {}: attaching anew", set.path.display());
            set.set_aside()?;
            continue;
        }
        match plan.adopt(&set) {
            Ok((kernel, ring, links)) => return Ok(Some(Opened { kernel, ring, found: Some(links) })),
            Err(error) => {
                tracing::warn!("cannot go on with what is pinned in {}: {error}", set.path.display());
                set.remove()?;
            }
        }
    }
    Ok(None)
}

fn open_afresh(plans: &[Plan<'_>]) -> Result<Opened, KernelError> {
    let mut errors = Vec::new();
    for plan in plans {
        match plan.load_and_test() {
            Ok((kernel, ring)) => return Ok(Opened { kernel, ring, found: None }),
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
    let plans = plans(&AttachMode::ALL, &known, options);
    Ok(plans.iter().map(|plan| (plan.mode, plan.load_and_test().map(drop))).collect())
}

fn read_types(options: &Options) -> Result<offsets::Kernel, OffsetError> {
    offsets::read(options.btf.as_deref().unwrap_or(Path::new(KERNEL_BTF)))
}

fn plans<'o>(modes: &[AttachMode], known: &offsets::Kernel, options: &'o Options) -> Vec<Plan<'o>> {
    let object = Rc::new(attach::object(known));
    modes.iter().map(|&mode| Plan::new(mode, known, Rc::clone(&object), options)).collect()
}

/// How the programs are to be loaded.
struct Plan<'o> {
    mode: AttachMode,
    known: offsets::Kernel,
    options: &'o Options,
    namespace: u32,
    /// The programs, with what was found out about the kernel in their code.
    object: Rc<Vec<u8>>,
    identity: Identity,
}

impl<'o> Plan<'o> {
    fn new(mode: AttachMode, known: &offsets::Kernel, object: Rc<Vec<u8>>, options: &'o Options) -> Self {
        let namespace = host_mount_namespace();
        let numbers = [
            namespace,
            options.ring_bytes,
            attach::scratch_slots(&options.actions),
            u32::from(diagnostics::is_on()),
        ];
        let numbers: Vec<u8> = numbers.iter().flat_map(|number| number.to_ne_bytes()).collect();
        let identity = Identity::new(ABI, mode, [&object, known.offsets.as_bytes(), &numbers]);
        Self { mode, known: *known, options, namespace, object, identity }
    }

    /// Some kernels have `bpf_rdonly_cast` for other programs only.
    fn without_cast(&self) -> Option<Self> {
        self.known.cast?;
        let known = offsets::Kernel { cast: None, ..self.known };
        Some(Self::new(self.mode, &known, Rc::new(attach::object(&known)), self.options))
    }

    fn load(&self, from: Option<&Set>, diagnose: bool) -> Result<Ebpf, KernelError> {
        let btf = self.options.btf.as_deref().map(attach::parse_btf).transpose()?;
        let maps = from.map(Set::map_names).transpose()?.unwrap_or_default();
        let variables = from.map(Variables::read).transpose()?;
        let ends_for_certain = u32::from(self.mode == AttachMode::Fentry);
        let mut loader = EbpfLoader::new();
        if let Some(Variables { in_force, first, next }) = &variables {
            loader
                .override_global("IN_FORCE", in_force, true)
                .override_global("FIRST", first.as_slice(), true)
                .override_global("NEXT", next.as_slice(), true)
                // Programs may be setting it to this: until it is known which file systems it concerns, it can be any.
                .override_global("MOUNTED", &u64::MAX, true);
        }
        // Without one it takes the kernel's own.
        if btf.is_some() {
            loader.btf(btf.as_ref());
        }
        loader
            .override_global("OFFSETS", self.known.offsets.as_bytes(), true)
            .override_global("HOST_MOUNT_NAMESPACE", &self.namespace, true)
            .override_global("ENDS_FOR_CERTAIN", &ends_for_certain, true)
            .map_max_entries("EVENTS", self.options.ring_bytes)
            .map_max_entries("SCRATCH", attach::scratch_slots(&self.options.actions));
        for (name, set) in maps.iter().zip(std::iter::repeat(from).flatten()) {
            loader.map_pin_path(name, set.map(name));
        }
        diagnostics::set_level(&mut loader, diagnose);
        Ok(loader.load(&self.object)?)
    }

    fn kernel(&self, ebpf: Ebpf, attached: BTreeMap<&'static str, Attached>) -> Kernel {
        Kernel {
            ebpf,
            diagnostics: None,
            mode: self.mode,
            scratch_slots: attach::scratch_slots(&self.options.actions),
            attached,
            missed_before: 0,
            identity: self.identity.clone(),
            pins: None,
            set: None,
            generation: 0,
            first: [[First::NONE; PLACES]; 2],
            next: Box::new(NO_NEXT),
            names: [Vec::new(), Vec::new()],
            directories: BTreeSet::new(),
        }
    }

    fn load_and_test(&self) -> Result<(Kernel, Ring), KernelError> {
        let loaded = self.load_diagnosed();
        if let Err(error @ KernelError::Program { step: Step::Load, .. }) = &loaded
            && let Some(plan) = self.without_cast()
        {
            tracing::debug!("trying again without `bpf_rdonly_cast`: {error}");
            return plan.load_diagnosed();
        }
        loaded
    }

    /// The verifier can find the programs too large when they say what they do: then they work in silence.
    fn load_diagnosed(&self) -> Result<(Kernel, Ring), KernelError> {
        if !diagnostics::is_on() {
            return self.load_and_test_with(false);
        }
        self.load_and_test_with(true).or_else(|error| {
            let opened = self.load_and_test_with(false)?;
            tracing::warn!("the {} programs cannot tell what they do: {error}", self.mode);
            Ok(opened)
        })
    }

    fn load_and_test_with(&self, diagnose: bool) -> Result<(Kernel, Ring), KernelError> {
        let mut ebpf = self.load(None, diagnose)?;
        let mut ring = Ring::take(&mut ebpf)?;
        let mut kernel = self.kernel(ebpf, BTreeMap::new());
        kernel.attach(&self.options.actions)?;
        kernel.diagnostics = diagnose.then(|| Diagnostics::open(&mut kernel.ebpf)).transpose()?;
        self_test::run(&mut kernel, &mut ring, &self.options.actions)?;
        Ok((kernel, ring))
    }

    /// Whether all programs are there that are needed.
    fn is_whole(&self, set: &Set) -> Result<bool, PinsError> {
        let names = set.link_names()?;
        Ok(attach::needed(&self.options.actions).all(|hook| names.iter().any(|name| hook.program == name)))
    }

    /// Goes on with what is pinned. Programs that are not needed are detached.
    fn adopt(&self, set: &Set) -> Result<(Kernel, Ring, usize), KernelError> {
        let mut ebpf = self.load(Some(set), false)?;
        let ring = Ring::take(&mut ebpf)?;
        let mut programs = set.programs()?;
        let mut attached = BTreeMap::new();
        let names = set.link_names()?;
        let links = names.len();
        for name in names {
            let adopt = |error: &dyn Display| KernelError::Adopt(format!("`{name}`: {error}"));
            let link = PinnedLink::from_pin(set.link(&name)).map_err(|error| adopt(&error))?;
            let link: FdLink = link.into();
            let info = link.info().map_err(|error| adopt(&error))?;
            let program =
                programs.remove(&info.program_id()).ok_or_else(|| adopt(&"its program is not pinned"))?;
            if let Some(hook) = attach::needed(&self.options.actions).find(|hook| hook.program == name) {
                let program = Some(program.descriptor);
                attached.insert(hook.program, Attached::Pinned { _link: link, program });
            } else {
                set.remove_link(&name)?;
                program.remove()?;
            }
        }
        // Those whose links somebody has removed are loaded anew.
        programs.into_values().try_for_each(Program::remove)?;
        let mut kernel = self.kernel(ebpf, attached);
        kernel.read_generation()?;
        kernel.set = Some(set.clone());
        Ok((kernel, ring, links))
    }
}

/// The mount namespace of the first process, which is the host's. 0 if it is hidden: then no view is called the host's.
fn host_mount_namespace() -> u32 {
    links::namespace(Path::new("/proc"), 1, Link::MountNamespace).map_or(0, |number| number as u32)
}

#[cfg(test)]
mod tests {
    use rustix::mount::{MountFlags, MountPropagationFlags, mount, mount_change};
    use rustix::thread::{UnshareFlags, unshare_unsafe};

    use super::*;
    use crate::event::Action;
    use crate::filter::{Filter, Filters};

    /// A BPF file system that nobody else sees.
    fn mount_bpf(directory: &Path) {
        // SAFETY: mounts have nothing to do with memory, and no descriptor is closed.
        unsafe { unshare_unsafe(UnshareFlags::NEWNS).unwrap() };
        mount_change("/", MountPropagationFlags::PRIVATE | MountPropagationFlags::REC).unwrap();
        mount("bpf", directory, "bpf", MountFlags::empty(), None).unwrap();
    }

    /// The programs that are at work use them all the time.
    #[test]
    #[ignore = "needs root and a kernel that takes maps"]
    fn to_load_programs_with_pinned_maps_changes_nothing_in_them() {
        let directory = tempfile::tempdir().unwrap();
        mount_bpf(directory.path());
        let options = Options {
            attach: None,
            btf: None,
            ring_bytes: 1 << 16,
            pins: None,
            actions: vec![Action::Creation],
        };
        let plans = plans(&[AttachMode::Fentry], &read_types(&options).unwrap(), &options);
        let [plan] = plans.as_slice() else { panic!() };
        let mut first = plan.load(None, false).unwrap();
        let ring = Ring::take(&mut first).unwrap();
        let mut first = plan.kernel(first, BTreeMap::new());
        let mut filters = Filters::default();
        let filter = Filter { entries: [b"ld.so.preload".to_vec()].into(), ..Filter::default() };
        filters.add(Action::Creation, filter);
        for _ in 0..3 {
            first.set_filters(&filters).unwrap();
        }
        let pins = Pins::open(&directory.path().join("pins")).unwrap();
        let set = pins.begin().unwrap();
        first.fill(&set, &ring).unwrap();

        let mut second = plan.kernel(plan.load(Some(&set), false).unwrap(), BTreeMap::new());
        second.read_generation().unwrap();
        assert_eq!(second.generation, 3);
        assert!(second.names == first.names && second.next == first.next);
        let mounted: Array<&mut MapData, u64> = second.map(".data.mounted").unwrap();
        assert_eq!(mounted.get(&0, 0).unwrap(), u64::MAX);
    }
}
