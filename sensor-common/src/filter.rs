//! The filter that the kernel evaluates before it looks at anything but names.
//!
//! It is only an optimisation: it may pass what no rule matches, never dismiss what one could. It knows names, not
//! paths: an entry passes if its own name, or the name of a directory above it, is one that a rule's path contains.
//! Names are compared by length and by their first eight bytes, folded to lower case, whatever the rule's case.

#[cfg(feature = "user")]
use zerocopy::{FromBytes, Immutable, IntoBytes, KnownLayout};

/// Directories above an entry that are looked at; an entry that is deeper passes.
pub const MAX_DEPTH: u32 = 64;

/// What is read first: which lengths of names are worth a look.
#[repr(C)]
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
#[cfg_attr(feature = "user", derive(FromBytes, IntoBytes, Immutable, KnownLayout))]
pub struct Lengths {
    /// A bit for each length of an entry's own name; see [`length_bit`].
    pub entry: u64,
    /// A bit for each length of a name of a directory above it.
    pub directory: u64,
    /// The generation whose [`Key`]s are in force.
    pub generation: u32,
    /// Not 0: everything passes.
    pub everything: u32,
    /// Not 0: a rename passes by its old name too.
    pub original: u32,
    /// Zero.
    pub reserved: u32,
}

/// A name to look for.
#[repr(C)]
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[cfg_attr(feature = "user", derive(FromBytes, IntoBytes, Immutable, KnownLayout))]
pub struct Key {
    /// First eight bytes, folded; shorter names are filled with zeros.
    pub head: u64,
    /// As in [`Lengths`]: a new set of names is put in beside the old one before it is switched to.
    pub generation: u32,
    /// Bytes of the name.
    pub length: u16,
    /// [`ENTRY`] or [`DIRECTORY`].
    pub role: u16,
}

/// The name is the entry's own.
pub const ENTRY: u16 = 0;
/// The name is that of a directory above the entry.
pub const DIRECTORY: u16 = 1;

/// The bit that stands for a length: the last one stands for all from 63 on.
#[inline(always)]
pub const fn length_bit(length: u32) -> u64 {
    1 << if length < 63 { length } else { 63 }
}

/// Folds ASCII upper case to lower case in eight bytes at once, without a branch.
#[inline(always)]
pub const fn fold(bytes: u64) -> u64 {
    const HIGH: u64 = 0x8080_8080_8080_8080;
    let low = bytes & !HIGH;
    // The high bit of a byte says: at least 'A', and: above 'Z'. Seven bits cannot carry into the next byte.
    let from_a = low + 0x3f3f_3f3f_3f3f_3f3f;
    let above_z = low + 0x2525_2525_2525_2525;
    let upper = from_a & !above_z & !bytes & HIGH;
    bytes | (upper >> 2)
}

/// Keeps the bytes of a name and zeroes what lies behind it in memory.
#[inline(always)]
pub const fn keep(bytes: u64, length: u32) -> u64 {
    if length >= 8 { bytes } else { bytes & ((1 << (length * 8)) - 1) }
}

#[cfg(test)]
mod tests {
    extern crate std;
    use super::*;

    #[test]
    fn folding_is_ascii_lower_case_of_each_byte() {
        for first in 0..=255u8 {
            for second in [0, b'@', b'A', b'Z', b'[', b'a', 0x7f, 0x80, 0xc1, 0xff] {
                let bytes = [first, second, second, first, first, second, first, second];
                let folded = fold(u64::from_le_bytes(bytes)).to_le_bytes();
                assert_eq!(folded, bytes.map(|byte| byte.to_ascii_lowercase()), "{bytes:?}");
            }
        }
    }

    #[test]
    fn keeping_zeroes_what_is_behind_the_name() {
        let bytes = u64::from_le_bytes(*b"abcdefgh");
        assert_eq!(keep(bytes, 3).to_le_bytes(), *b"abc\0\0\0\0\0");
        assert_eq!(keep(bytes, 8), bytes);
        assert_eq!(keep(bytes, 200), bytes);
        assert_eq!(keep(bytes, 0), 0);
    }
}
