//! Texts as numbers, so that a look-up compares none of them.

use std::hash::Hasher;

use super::atoms::Atom;

/// The key of an atom in the table.
pub(super) fn hash(atom: Atom, text: &[u8]) -> u64 {
    mix(fingerprint(text) ^ atom as u64)
}

/// A hash of bytes in which ASCII letters are equal in both cases, eight bytes at a time.
pub(super) fn fingerprint(text: &[u8]) -> u64 {
    let (words, rest) = text.as_chunks::<8>();
    let hash = words.iter().fold(text.len() as u64, |hash, word| mix(hash ^ fold(*word)));
    let mut last = [0; 8];
    last[..rest.len()].copy_from_slice(rest);
    mix(hash ^ fold(last))
}

/// Eight bytes with the bit set in which upper and lower case differ. It makes some other characters equal as well,
/// which costs a rule a question more.
fn fold(word: [u8; 8]) -> u64 {
    u64::from_le_bytes(word) | 0x2020_2020_2020_2020
}

fn mix(hash: u64) -> u64 {
    let product = hash.wrapping_mul(0x9e37_79b9_7f4a_7c15);
    product ^ product >> 32
}

/// For keys that are hashes already.
#[derive(Debug, Default)]
pub(super) struct Identity(u64);

impl Hasher for Identity {
    fn finish(&self) -> u64 {
        self.0
    }

    fn write(&mut self, bytes: &[u8]) {
        // Keys are u64 and come through `write_u64`.
        self.0 = bytes.iter().fold(self.0, |hash, byte| hash << 8 | u64::from(*byte));
    }

    fn write_u64(&mut self, hash: u64) {
        self.0 = hash;
    }
}

/// A set of lengths. Those that do not fit are always in it.
#[derive(Debug, Clone, Copy, Default)]
pub(super) struct Lengths([u64; 4]);

impl Lengths {
    pub(super) fn insert(&mut self, length: usize) {
        if let Some(word) = self.0.get_mut(length / 64) {
            *word |= 1 << (length % 64);
        }
        // Lengths that do not fit have no bit, but the set is no longer empty.
        self.0[0] |= u64::from(length >= 256);
    }

    pub(super) fn contains(&self, length: usize) -> bool {
        self.0.get(length / 64).is_none_or(|word| word >> (length % 64) & 1 == 1)
    }

    pub(super) fn is_empty(&self) -> bool {
        self.0 == [0; 4]
    }
}
