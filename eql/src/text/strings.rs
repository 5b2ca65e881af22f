//! A set of strings without hashing: nothing a rule's author writes makes it slow.

use std::cmp::Ordering;

use super::Case;

/// A set of strings: those of one length lie side by side, in order.
#[derive(Debug, Default)]
pub(super) struct Strings {
    /// Bit `n` is set if there is a string whose length modulo 64 is `n`.
    lengths: u64,
    groups: Box<[Group]>,
    /// The strings of all groups.
    bytes: Box<[u8]>,
}

/// The strings of one length.
#[derive(Debug)]
struct Group {
    length: usize,
    start: usize,
    count: usize,
}

impl Strings {
    /// The set of `strings`, whose case is folded already.
    pub(super) fn new(mut strings: Vec<String>) -> Self {
        strings.sort_unstable_by(|a, b| a.len().cmp(&b.len()).then_with(|| a.cmp(b)));
        strings.dedup();
        let mut groups: Vec<Group> = Vec::new();
        let mut bytes = Vec::with_capacity(strings.iter().map(String::len).sum());
        for string in &strings {
            match groups.last_mut() {
                Some(group) if group.length == string.len() => group.count += 1,
                _ => groups.push(Group { length: string.len(), start: bytes.len(), count: 1 }),
            }
            bytes.extend_from_slice(string.as_bytes());
        }
        let lengths = groups.iter().fold(0, |bits, group| bits | 1 << (group.length % 64));
        Self { lengths, groups: groups.into(), bytes: bytes.into() }
    }

    pub(super) fn iter(&self) -> impl Iterator<Item = &[u8]> {
        self.groups.iter().flat_map(|group| {
            (0..group.count).map(|index| {
                let start = group.start + index * group.length;
                &self.bytes[start..start + group.length]
            })
        })
    }

    pub(super) fn contains(&self, text: &[u8], case: Case) -> bool {
        if self.lengths & 1 << (text.len() % 64) == 0 {
            return false;
        }
        let Ok(group) = self.groups.binary_search_by_key(&text.len(), |group| group.length) else {
            return false;
        };
        let group = &self.groups[group];
        let string = |index: usize| {
            let start = group.start + index * group.length;
            &self.bytes[start..start + group.length]
        };
        let (mut low, mut high) = (0, group.count);
        while low < high {
            let middle = low.midpoint(high);
            match compare(string(middle), text, case) {
                Ordering::Equal => return true,
                Ordering::Less => low = middle + 1,
                Ordering::Greater => high = middle,
            }
        }
        false
    }
}

/// Compares a folded string with a text of the same length.
fn compare(string: &[u8], text: &[u8], case: Case) -> Ordering {
    match case {
        Case::Sensitive => string.cmp(text),
        Case::Insensitive => string.iter().copied().cmp(text.iter().map(u8::to_ascii_lowercase)),
    }
}
