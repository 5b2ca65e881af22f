//! Names as the filter compares them.

#[cfg(feature = "user")]
use zerocopy::{FromBytes, Immutable, IntoBytes, KnownLayout};

/// Bytes of a name that are compared.
pub const COMPARED: u32 = 8;

/// The bits that all names of a length have in common in their first eight bytes, as they can lie in memory.
#[repr(C)]
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[cfg_attr(feature = "user", derive(FromBytes, IntoBytes, Immutable, KnownLayout))]
pub struct Common {
    /// Which bits.
    pub mask: u64,
    /// What they are.
    pub bits: u64,
}

/// Lengths that are told apart: those that differ by this are not.
pub const LENGTHS: usize = 64;

/// A name to look for. What it is found with is a bit for each action that it is looked for in.
#[repr(C)]
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[cfg_attr(feature = "user", derive(FromBytes, IntoBytes, Immutable, KnownLayout))]
pub struct Key {
    /// The first eight bytes, folded; shorter names are filled with zeros. The first byte is the lowest.
    pub head: u64,
    /// The generation that it belongs to: a new set of names is put in beside the old one before it is switched to.
    pub generation: u32,
    /// Bytes of the name.
    pub length: u16,
    /// What the name is: [`ENTRY`] and its kin.
    pub role: u16,
}

/// The name is the entry's own.
pub const ENTRY: u16 = 0;
/// The name is that of a directory above the entry.
pub const DIRECTORY: u16 = 1;
/// The entry's own name begins with it.
pub const BEGINNING: u16 = 2;
/// The entry's own name ends in it.
pub const END: u16 = 3;
/// The name is that of a directory that rules' files are in, at whatever level.
pub const ABOVE: u16 = 4;

/// The key of a name, of which these are the first eight bytes as they lie in memory.
#[inline(always)]
pub const fn key(first: u64, length: u32, role: u16, generation: u32) -> Key {
    Key { head: keep(fold(first), length), generation, length: length as u16, role }
}

/// What a name, of which the first eight bytes are folded and kept, has for certain where it lies in memory.
pub const fn bits_of(head: u64, length: u32) -> Common {
    let mut mask = keep(u64::MAX, length);
    let mut byte = 0;
    while byte < COMPARED {
        let value = (head >> (8 * byte)) as u8;
        if value.is_ascii_lowercase() {
            // It can be upper case.
            mask &= !(0x20 << (8 * byte));
        }
        byte += 1;
    }
    Common { mask, bits: head & mask }
}

impl Common {
    /// Of no name; and no name has it.
    pub const NONE: Self = Self { mask: 0, bits: 1 };

    /// What is still in common with other names.
    #[must_use]
    pub fn with(self, other: Self) -> Self {
        match (self, other) {
            (Self::NONE, one) | (one, Self::NONE) => return one,
            _ => {}
        }
        let mask = self.mask & other.mask & !(self.bits ^ other.bits);
        Self { mask, bits: self.bits & mask }
    }
}

/// The bit that stands for a length. Those that differ by [`LENGTHS`] share one.
#[inline(always)]
pub const fn length_bit(length: u32) -> u64 {
    1 << (!length & (LENGTHS as u32 - 1))
}

/// Whether a length is among those that stand for bits: shifted, its bit is the sign.
#[inline(always)]
pub const fn has_length(bits: u64, length: u32) -> bool {
    ((bits << (length & (LENGTHS as u32 - 1))) as i64) < 0
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
    fn the_bit_of_a_length_is_its_own() {
        for length in 0..256 {
            for other in 0..256 {
                assert_eq!(has_length(length_bit(length), other), length % 64 == other % 64);
            }
        }
    }

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
    fn what_names_have_in_common_holds_for_each_of_them_in_any_case() {
        let bytes = |name: &[u8; 8]| u64::from_le_bytes(*name);
        let one = bits_of(bytes(b"ld.so.co"), 12);
        let both = one.with(bits_of(bytes(b"ld.so.pr"), 12));
        for name in [b"ld.so.co", b"LD.SO.CO", b"Ld.sO.Pr"] {
            assert_eq!(bytes(name) & both.mask, both.bits);
        }
        assert_ne!(bytes(b"ld_so.co") & both.mask, both.bits);
        assert_ne!(bytes(b"ld.so.pr") & one.mask, one.bits);
        let short = bits_of(keep(bytes(b"etc\0\0\0\0\0"), 3), 3);
        assert_eq!(bytes(b"EtC~~~~~") & short.mask, short.bits);
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
