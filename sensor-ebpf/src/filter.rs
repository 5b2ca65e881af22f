//! Whether an entry could concern a rule: `sensor_common::filter` on kernel structures.

use sensor_common::filter::{DIRECTORY, ENTRY, Key, MAX_DEPTH, fold, keep, length_bit};

use crate::kernel::Dentry;
use crate::maps::{LENGTHS, NAMES};
use crate::read::{Read, probe};

/// Whether a name in a directory has to be looked at. `name` is called only if the length is one to look at.
#[inline(always)]
pub fn passes<R: Read>(length: u32, name: impl Fn() -> *const u8, parent: Dentry) -> bool {
    let Some(lengths) = LENGTHS.get(0) else { return true };
    if lengths.everything != 0 {
        return true;
    }
    if lengths.entry & length_bit(length) != 0 && is_known(name(), length, ENTRY, lengths.generation) {
        return true;
    }
    if lengths.directory == 0 {
        return false;
    }
    let mut directory = parent;
    for _ in 0..MAX_DEPTH {
        let length = directory.name_len::<R>();
        if lengths.directory & length_bit(length) != 0
            && is_known(directory.name::<R>(), length, DIRECTORY, lengths.generation)
        {
            return true;
        }
        let above = directory.parent::<R>();
        if above == directory || above.is_null() {
            return false;
        }
        directory = above;
    }
    true
}

#[inline(never)]
fn is_known(name: *const u8, length: u32, role: u16, generation: u32) -> bool {
    // Names are stored in at least 32 bytes, so eight can be read whatever the length.
    let head = keep(fold(probe::<u64>(name)), length);
    let key = Key { head, generation, length: length as u16, role };
    // SAFETY: the value is not looked at.
    unsafe { NAMES.get(&key) }.is_some()
}
