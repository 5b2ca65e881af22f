//! The filter that the kernel evaluates before it looks at anything but names. Tests run the same code on the host.
//!
//! It is only an optimisation: it may pass what no rule matches, never dismiss what one could. It knows names, not
//! paths: an entry passes if its own name is one that a rule's path ends in, or begins or ends as one, or if the name of
//! a directory above it is one that a rule's path contains. Each action has a filter of its own. Names are compared by
//! length and by at most eight bytes, folded to lower case, whatever the rule's case; before that, by what all names of a length
//! have in common.
//!
//! Paths are deliberately not compared with more than one name: a mount can give a directory any other name.

mod names;

#[cfg(feature = "user")]
use zerocopy::{FromBytes, Immutable, IntoBytes, KnownLayout};

pub use self::names::*;

/// Directories above an entry that are looked at where that is found out; the verifier goes through each of them.
pub const NEAR: u32 = 12;
/// Directories further up that are looked at together, by a function of their own.
pub const STRETCH: u32 = 8;
/// How often that is done.
pub const STRETCHES: u32 = 7;
/// Directories above an entry that are looked at; an entry that is deeper passes.
pub const MAX_DEPTH: u32 = NEAR + STRETCHES * STRETCH;

/// A file comes to exist.
pub const CREATION: u32 = 0;
/// A file gets another path.
pub const RENAME: u32 = 1;
/// A file that is there can be changed from now on: it was opened for writing, or truncated.
pub const MODIFICATION: u32 = 2;
/// A file's name goes.
pub const DELETION: u32 = 3;
/// What is at a path changes because something is mounted there, or no longer is.
pub const MOUNT: u32 = 4;
/// Whatever is done: all filters together.
pub const ANY: u32 = 5;
/// How many filters there are in a generation: one for each action, and [`ANY`].
pub const ACTIONS: u32 = 6;
/// Places for those of two generations. A power of two: the verifier must see that a place is one of them.
pub const SLOTS: usize = 16;

/// Names that the filters of a generation can have together.
pub const MAX_NAMES: u32 = 1 << 16;

/// What is read first: which names are worth a look in either generation. One for each action.
///
/// Those of the generation before stay in it: a program that has begun with that one ends with it. So it can be read without a look
/// at which one is in force.
#[repr(C)]
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[cfg_attr(feature = "user", derive(FromBytes, IntoBytes, Immutable, KnownLayout))]
pub struct First {
    /// A bit for each length of an entry's own name; see [`length_bit`].
    pub entry: u64,
    /// A bit for each length of a name of a directory above it.
    pub directory: u64,
    /// A bit for each length of a name that a directory can get by a rename, so that what is in it gets a path to look at.
    pub above: u64,
    /// Not 0: there is more to look for than whole names.
    pub other: u32,
    /// Not 0: a rename passes by its old name too.
    pub original: u32,
}

impl First {
    /// No name is looked for.
    pub const NONE: Self = Self { entry: 0, directory: 0, above: 0, other: 0, original: 0 };

    /// Of both generations.
    #[must_use]
    pub const fn with(self, other: Self) -> Self {
        Self {
            entry: self.entry | other.entry,
            directory: self.directory | other.directory,
            above: self.above | other.above,
            other: self.other | other.other,
            original: self.original | other.original,
        }
    }
}

/// What is read next, of the generation in force. One for each action, and all of that twice: those of even generations, then
/// those of odd ones. The generation in force decides which are read, so that one store changes all.
#[repr(C)]
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[cfg_attr(feature = "user", derive(FromBytes, IntoBytes, Immutable, KnownLayout))]
pub struct Next {
    /// A bit for each number of bytes, up to [`COMPARED`], that an entry's name can begin with.
    pub beginning: u32,
    /// A bit for each number of bytes, up to [`COMPARED`], that an entry's name can end in.
    pub end: u32,
    /// Not 0: everything passes.
    pub everything: u64,
    /// A bit for each byte, in either case, that an entry's name can begin with; in each number as for lengths.
    pub first_bytes: [u64; 4],
    /// A bit for each byte, in either case, that an entry's name can end in.
    pub last_bytes: [u64; 4],
    /// Of the lengths of names in the role of [`ENTRY`], [`DIRECTORY`] and [`ABOVE`], those that only one name has: it is known by
    /// what they have in common. Bits as in [`First`].
    pub single: [u64; 3],
    /// What names of a length have in common, by [`place`].
    pub common: [Common; 3 * LENGTHS],
}

/// Places in a generation, for all actions.
pub const PLACES: usize = SLOTS / 2;

impl Next {
    /// Nothing is looked for.
    pub const NONE: Self = Self {
        beginning: 0,
        end: 0,
        everything: 0,
        first_bytes: [0; 4],
        last_bytes: [0; 4],
        single: [0; 3],
        common: [Common::NONE; 3 * LENGTHS],
    };
}

/// The place of what names of a length have in common, in a role that has such.
#[inline(always)]
pub const fn place(role: u16, length: u32) -> usize {
    role_place(role) * LENGTHS + (length as usize & (LENGTHS - 1))
}

/// The place of a role that has such.
#[inline(always)]
pub const fn role_place(role: u16) -> usize {
    match role {
        ENTRY => 0,
        DIRECTORY => 1,
        _ => 2,
    }
}

/// The place of an action's [`Next`] in a generation.
#[inline(always)]
pub const fn slot(generation: u32, action: u32) -> u32 {
    (generation & 1) * PLACES as u32 + (action & (PLACES as u32 - 1))
}

/// The name of an entry, as far as it is read.
pub trait Name {
    /// Its bytes.
    fn length(&self) -> u32;

    /// Its first eight bytes, the first one the lowest. What lies behind a shorter name is anything.
    fn first(&self) -> u64;

    /// The last eight bytes of a name that has so many, the last one the highest.
    fn last(&self) -> u64;
}

/// A directory above an entry.
pub trait Directory<F>: Name + Copy {
    /// The directory that it is in.
    fn parent(&self) -> Option<Self>;

    /// Whether one of the directories above it is looked for, or there are too many: [`further_pass`].
    fn further_pass(&self, filter: &F) -> bool;
}

/// What came of looking at some directories, one above the other.
pub enum Seen<D> {
    /// One is looked for.
    Wanted,
    /// None is, and above them is none.
    Top,
    /// None is, and this was the last one.
    Last(D),
}

/// A filter in force, for one action.
pub trait Filter {
    /// What is read first.
    fn first(&self) -> &First;

    /// What is read next.
    fn next(&self) -> &Next;

    /// Whether a name is looked for, of which these are the first eight bytes as they lie in memory.
    fn knows(&self, first: u64, length: u32, role: u16) -> bool;

    /// Whether the beginnings of a name that are looked for are among these: [`knows_beginning`].
    fn knows_beginning(&self, first: u64, length: u32) -> bool;

    /// Whether the ends of a name that are looked for are among these: [`knows_end`].
    fn knows_end(&self, last: u64, length: u32) -> bool;
}

/// Whether a name in a directory has to be looked at.
#[inline(always)]
pub fn passes<F: Filter, D: Directory<F>>(filter: &F, name: &impl Name, parent: D) -> bool {
    entry_passes(filter, name) || directories_pass(filter, parent)
}

/// Whether an entry's own name has to be looked at.
#[inline(always)]
pub fn entry_passes(filter: &impl Filter, name: &impl Name) -> bool {
    let length = name.length();
    has_length(filter.first().entry, length) && knows(filter, name, length, ENTRY)
        || filter.first().other != 0 && others_pass(filter, name, length)
}

/// Whether an entry's name begins or ends so that it has to be looked at, or all are.
#[inline(always)]
fn others_pass(filter: &impl Filter, name: &impl Name, length: u32) -> bool {
    let next = filter.next();
    if next.everything != 0 {
        return true;
    }
    if next.beginning != 0
        && let first = name.first()
        && has_byte(&next.first_bytes, first as u8)
        && filter.knows_beginning(first, length)
    {
        return true;
    }
    if next.end != 0 {
        // Whatever the length, the last byte is the highest here.
        let short = length < COMPARED;
        let last = if short { name.first() << ((8 * (COMPARED - length)) & 63) } else { name.last() };
        return has_byte(&next.last_bytes, (last >> 56) as u8) && filter.knows_end(last, length);
    }
    false
}

/// What [`Filter::knows_beginning`] is to do; a program does it apart, since it is rare.
#[inline(always)]
pub fn knows_beginning(filter: &impl Filter, first: u64, length: u32) -> bool {
    let parts = filter.next().beginning;
    for part in 1..=COMPARED {
        if parts & 1 << part != 0 && part <= length && filter.knows(first, part, BEGINNING) {
            return true;
        }
    }
    false
}

/// What [`Filter::knows_end`] is to do.
#[inline(always)]
pub fn knows_end(filter: &impl Filter, last: u64, length: u32) -> bool {
    let parts = filter.next().end;
    for part in 1..=COMPARED {
        if parts & 1 << part != 0
            && part <= length
            && filter.knows(last >> (8 * (COMPARED - part)), part, END)
        {
            return true;
        }
    }
    false
}

#[inline(always)]
fn has_byte(bytes: &[u64; 4], byte: u8) -> bool {
    has_length(bytes[(byte >> 6) as usize], byte.into())
}

#[inline(always)]
fn directories_pass<F: Filter, D: Directory<F>>(filter: &F, directory: D) -> bool {
    if filter.first().directory == 0 {
        return false;
    }
    match look_at(filter, directory, NEAR) {
        Seen::Wanted => true,
        Seen::Top => false,
        Seen::Last(directory) => directory.further_pass(filter),
    }
}

/// What [`Directory::further_pass`] is to do; a program does it apart, since it is rare.
pub fn further_pass<F: Filter, D: Directory<F>>(filter: &F, directory: &D) -> bool {
    let mut above = directory.parent();
    for _ in 0..STRETCHES {
        let Some(directory) = above else { return false };
        match look_at(filter, directory, STRETCH) {
            Seen::Wanted => return true,
            Seen::Top => return false,
            Seen::Last(directory) => above = directory.parent(),
        }
    }
    above.is_some()
}

/// Looks at so many directories, a multiple of four, from this one up. The topmost, a file system's root, has no name.
#[inline(always)]
pub fn look_at<F: Filter, D: Directory<F>>(filter: &F, mut directory: D, count: u32) -> Seen<D> {
    // Once, and not for each directory.
    let wanted = filter.first().directory;
    macro_rules! one {
        ($directory:expr) => {{
            let directory = $directory;
            let Some(parent) = directory.parent() else { return Seen::Top };
            let length = directory.length();
            if has_length(wanted, length) && knows(filter, &directory, length, DIRECTORY) {
                return Seen::Wanted;
            }
            (directory, parent)
        }};
    }
    let mut last = directory;
    // To count takes a fifth of what is done for a directory.
    for _ in 0..count / 4 {
        let (_, second) = one!(directory);
        let (_, third) = one!(second);
        let (_, fourth) = one!(third);
        (last, directory) = one!(fourth);
    }
    Seen::Last(last)
}

/// Whether a directory that gets this name can bring files that are looked for.
#[inline(always)]
pub fn renamed_directory_passes(filter: &impl Filter, directory: &impl Name) -> bool {
    let length = directory.length();
    has_length(filter.first().above, length) && knows(filter, directory, length, ABOVE)
}

#[inline(always)]
fn knows(filter: &impl Filter, name: &impl Name, length: u32, role: u16) -> bool {
    let (first, next) = (name.first(), filter.next());
    let common = &next.common[place(role, length)];
    first & common.mask == common.bits
        && (has_length(next.single[role_place(role)], length) || filter.knows(first, length, role))
}

/// The bit that stands for a device number, as the kernel encodes it. Several share one.
#[inline(always)]
pub const fn device_bit(device: u32) -> u64 {
    1 << ((device ^ (device >> 20)) & 63)
}

#[cfg(test)]
mod tests {
    extern crate std;
    use core::mem::offset_of;

    use super::*;

    /// Daemon and programs are of one build, but of two compilers.
    #[test]
    fn the_layout_is_the_one_that_both_sides_know() {
        let key = [
            offset_of!(Key, head),
            offset_of!(Key, generation),
            offset_of!(Key, length),
            offset_of!(Key, role),
        ];
        assert_eq!((size_of::<Key>(), key), (16, [0, 8, 12, 14]));
        let first = [
            offset_of!(First, entry),
            offset_of!(First, directory),
            offset_of!(First, above),
            offset_of!(First, other),
            offset_of!(First, original),
        ];
        assert_eq!((size_of::<First>(), first), (32, [0, 8, 16, 24, 28]));
        let next = [
            offset_of!(Next, beginning),
            offset_of!(Next, end),
            offset_of!(Next, everything),
            offset_of!(Next, first_bytes),
            offset_of!(Next, last_bytes),
            offset_of!(Next, single),
            offset_of!(Next, common),
        ];
        assert_eq!((size_of::<Next>(), next), (3176, [0, 4, 8, 16, 48, 80, 104]));
    }

    #[test]
    fn generations_take_turns() {
        let slots = |generation| (0..ACTIONS).map(move |action| slot(generation, action));
        assert!(slots(6).eq(0..ACTIONS));
        assert!(slots(7).eq(8..8 + ACTIONS));
        assert!(slots(7).all(|slot| (slot as usize) < SLOTS));
    }
}
