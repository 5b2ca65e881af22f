//! Whether an entry could concern a rule: `sensor_common::filter` on kernel structures.

use core::marker::PhantomData;

use sensor_common::filter::{
    self, COMPARED, Directory, Filter, First, Name, Next, STRETCH, STRETCHES, Seen, slot,
};

use crate::kernel::{Dentry, Mount, SuperBlock};
use crate::maps::{NAMES, first, generation_in_force, mounted, next};
use crate::mounts::Mounts;
use crate::read::{Probed, Read, cheapest, probe};

/// Mounts of a file system that are looked at, so many times so many; where there are more, everything passes.
const MAX_MOUNTS: u32 = 16;
const MOUNTS_TOGETHER: u32 = 8;

/// Stretches of directories above a mount point that are looked at, each within one file system.
const MAX_STRETCHES: u32 = 24;
/// What [`some_directories_pass`] and [`some_mounts_pass`] found, if it is not where to go on.
const NONE: u64 = 0;
const ONE: u64 = 1;

/// Mounts on top of each other that are looked at; where there are more, everything passes.
const MAX_STACKED: u32 = 8;

/// The filter in force for an action.
pub struct InForce {
    generation: u32,
    action: u32,
}

impl InForce {
    /// The filter for an action.
    #[inline(always)]
    pub fn of(action: u32) -> Self {
        Self { generation: generation_in_force(), action }
    }

    /// Whether a name in a directory has to be looked at when this action is done to it. `text` is called only if the
    /// length is one to look at.
    #[inline(always)]
    pub fn passes<R: Read>(&self, length: u32, text: impl Fn() -> *const u8, parent: Dentry) -> bool {
        if filter::passes(self, &Text { length, text }, Above::<R>(parent, PhantomData)) {
            return true;
        }
        // The first is what there is on most hosts.
        if mounted() == 0 || self.first().directory == 0 {
            return false;
        }
        // Read anew for the global function, which takes no pointer whose type the verifier knows.
        is_mounted_below(parent.super_block::<R>().device::<R>())
            && any_mount_passes(self.generation, self.action, parent.super_block::<Probed>().0 as u64) != 0
    }

    /// The same for an entry that is there.
    #[inline(always)]
    pub fn entry_passes<R: Read>(&self, entry: Dentry) -> bool {
        self.passes::<R>(entry.name_len::<R>(), || entry.name::<R>(), entry.parent::<R>())
    }

    /// Whether a directory that gets this name, or a symbolic link to one, can bring files that are looked for.
    #[inline(always)]
    pub fn directory_name_passes<R: Read>(&self, length: u32, directory: Dentry) -> bool {
        filter::renamed_directory_passes(self, &Text { length, text: || directory.name::<R>() })
    }

    /// Whether a rename is looked at also for its old name.
    #[inline(always)]
    pub fn wants_original(&self) -> bool {
        self.first().original != 0
    }
}

/// Whether a file system could be mounted below a directory that is looked for.
#[inline(always)]
fn is_mounted_below(device: u32) -> bool {
    mounted() & filter::device_bit(device) != 0
}

/// Whether a rule looks for mounts at this place.
#[inline(always)]
pub fn place_passes(mount: Mount, dentry: Dentry) -> bool {
    at_place(generation_in_force(), mount.0 as u64, dentry.0 as u64) != 0
}

/// Whether a rule looks for mounts at the root.
#[inline(always)]
pub fn root_passes() -> bool {
    let filter = InForce::of(filter::MOUNT);
    filter.next().everything != 0 || is_at_root(&filter)
}

#[inline(always)]
fn is_at_root(filter: &InForce) -> bool {
    filter::has_length(filter.first().entry, 1)
}

/// Not 0 if a rule looks for mounts at a place: by the name of the directory that is mounted over, by those that the mounts
/// below it are on, by the directories above. A global function: see `path::walk`.
#[inline(never)]
#[unsafe(no_mangle)]
extern "C" fn at_place(generation: u32, mount: u64, dentry: u64) -> u64 {
    let filter = InForce { generation, action: filter::MOUNT };
    if filter.next().everything != 0 {
        return 1;
    }
    if filter.first().directory != 0 && above_passes(generation, filter::MOUNT, mount, dentry) != 0 {
        return 1;
    }
    if filter.first().entry == 0 && filter.first().other == 0 {
        return 0;
    }
    let (mut mount, mut dentry) = (Mount(mount as *const u8), Dentry(dentry as *const u8));
    for _ in 0..MAX_STACKED {
        if place_name_passes(generation, dentry.0 as u64) != 0 {
            return 1;
        }
        if dentry != mount.root::<Probed>() {
            return 0;
        }
        let above = mount.parent::<Probed>();
        if above == mount || above.is_null() {
            // The root, whatever the name of its directory is.
            return u64::from(is_at_root(&filter));
        }
        dentry = mount.mountpoint::<Probed>();
        mount = above;
    }
    1
}

/// Not 0 if a rule looks for mounts on a directory of this name. A global function: see `path::walk`.
#[inline(never)]
#[unsafe(no_mangle)]
extern "C" fn place_name_passes(generation: u32, dentry: u64) -> u64 {
    let name = Above::<Probed>(Dentry(dentry as *const u8), PhantomData);
    u64::from(filter::entry_passes(&InForce { generation, action: filter::MOUNT }, &name))
}

/// Whether what is mounted here comes to be below a directory that is looked for.
#[inline(always)]
pub fn mount_point_passes(mount: Mount, dentry: Dentry) -> bool {
    let filter = InForce::of(filter::ANY);
    filter.first().directory != 0
        && (is_mounted_below(dentry.super_block::<Probed>().device::<Probed>())
            || above_passes(filter.generation, filter::ANY, mount.0 as u64, dentry.0 as u64) != 0)
}

/// Not 0 if a directory is looked for that is above one of a file system's mounts, whichever was used: the file has a path
/// through each of them. A global function: see `path::walk`.
#[unsafe(no_mangle)]
extern "C" fn any_mount_passes(generation: u32, action: u32, sb: u64) -> u64 {
    let mut link = Mounts::of(SuperBlock(sb as *const u8)).link();
    for _ in 0..MAX_MOUNTS {
        link = match some_mounts_pass(generation, action, sb, link) {
            NONE => return 0,
            ONE => return 1,
            next => next,
        };
    }
    1
}

/// [`ONE`], [`NONE`], or where the mounts go on. A global function: see `path::walk`.
#[inline(never)]
#[unsafe(no_mangle)]
extern "C" fn some_mounts_pass(generation: u32, action: u32, sb: u64, link: u64) -> u64 {
    let mut mounts = Mounts::from(SuperBlock(sb as *const u8), link);
    for _ in 0..MOUNTS_TOGETHER {
        let Some(mount) = mounts.next() else { return NONE };
        let above = mount.parent::<Probed>();
        let mountpoint = mount.mountpoint::<Probed>();
        if above != mount && above_passes(generation, action, above.0 as u64, mountpoint.0 as u64) != 0 {
            return ONE;
        }
    }
    mounts.link()
}

/// Not 0 if a directory is looked for that is this one in a mount, or above it. A global function: see `path::walk`.
///
/// It goes up to the root of the file system that holds the mount point, also where a part of that is mounted: a name
/// too many is better than one too few.
#[unsafe(no_mangle)]
extern "C" fn above_passes(generation: u32, action: u32, mount: u64, dentry: u64) -> u64 {
    let (mut mount, mut dentry) = (Mount(mount as *const u8), dentry);
    for _ in 0..MAX_STRETCHES {
        dentry = match some_directories_pass(generation, action, dentry) {
            NONE => {
                let above = mount.parent::<Probed>();
                if above == mount || above.is_null() {
                    return 0;
                }
                let mountpoint = mount.mountpoint::<Probed>();
                mount = above;
                mountpoint.0 as u64
            }
            ONE => return 1,
            next => next,
        };
    }
    1
}

/// [`ONE`], [`NONE`] up to the root of the file system, or the directory to go on with. A global function: see `path::walk`.
#[inline(never)]
#[unsafe(no_mangle)]
extern "C" fn some_directories_pass(generation: u32, action: u32, dentry: u64) -> u64 {
    let filter = InForce { generation, action };
    let directory = Dentry(dentry as *const u8);
    cheapest!(some_pass(directory; &filter))
}

#[inline(always)]
fn some_pass<R: Read>(directory: Dentry, filter: &InForce) -> u64 {
    match filter::look_at(filter, Above::<R>(directory, PhantomData), STRETCH) {
        Seen::Wanted => ONE,
        Seen::Top => NONE,
        // Read for the caller, which gets no pointer whose type the verifier knows.
        Seen::Last(directory) => directory.0.parent::<Probed>().0 as u64,
    }
}

impl Filter for InForce {
    #[inline(always)]
    fn first(&self) -> &First {
        first(self.action)
    }

    #[inline(always)]
    fn next(&self) -> &Next {
        next(slot(self.generation, self.action))
    }

    #[inline(always)]
    fn knows(&self, first: u64, length: u32, role: u16) -> bool {
        is_known(first, length << 16 | u32::from(role), self.generation, self.action) != 0
    }

    #[inline(always)]
    fn knows_beginning(&self, first: u64, length: u32) -> bool {
        filter::knows_beginning(self, first, length)
    }

    #[inline(always)]
    fn knows_end(&self, last: u64, length: u32) -> bool {
        filter::knows_end(self, last, length)
    }
}

/// Not 0 if a name is looked for. A global function: see `path::walk`.
#[inline(never)]
#[unsafe(no_mangle)]
extern "C" fn is_known(first: u64, length_and_role: u32, generation: u32, action: u32) -> u64 {
    let key = filter::key(first, length_and_role >> 16, length_and_role as u16, generation);
    // SAFETY: an entry is not removed while its generation is in force, nor while a program that saw it so can run.
    u64::from(unsafe { NAMES.get(&key) }.is_some_and(|actions| actions >> action & 1 != 0))
}

/// A name in memory. Names are stored in at least 32 bytes, so eight can be read whatever the length.
struct Text<F> {
    length: u32,
    text: F,
}

impl<F: Fn() -> *const u8> Name for Text<F> {
    #[inline(always)]
    fn length(&self) -> u32 {
        self.length
    }

    #[inline(always)]
    fn first(&self) -> u64 {
        probe((self.text)())
    }

    #[inline(always)]
    fn last(&self) -> u64 {
        probe((self.text)().wrapping_add(self.length.wrapping_sub(COMPARED) as usize))
    }
}

struct Above<R>(Dentry, PhantomData<R>);

impl<R> Clone for Above<R> {
    fn clone(&self) -> Self {
        *self
    }
}

impl<R> Copy for Above<R> {}

impl<R: Read> Name for Above<R> {
    #[inline(always)]
    fn length(&self) -> u32 {
        self.0.name_len::<R>()
    }

    #[inline(always)]
    fn first(&self) -> u64 {
        probe(self.0.name::<R>())
    }

    #[inline(always)]
    fn last(&self) -> u64 {
        probe(self.0.name::<R>().wrapping_add(self.length().wrapping_sub(COMPARED) as usize))
    }
}

impl<R: Read> Directory<InForce> for Above<R> {
    #[inline(always)]
    fn parent(&self) -> Option<Self> {
        // Of what cannot be read the parent is null, as that of null is.
        let parent = self.0.parent::<R>();
        (parent != self.0).then_some(Self(parent, PhantomData))
    }

    #[inline(always)]
    fn further_pass(&self, filter: &InForce) -> bool {
        // Read for the global function, which takes no pointer whose type the verifier knows.
        let mut dentry = self.0.parent::<Probed>().0 as u64;
        for _ in 0..STRETCHES {
            dentry = match some_directories_pass(filter.generation, filter.action, dentry) {
                NONE => return false,
                ONE => return true,
                next => next,
            };
        }
        true
    }
}
