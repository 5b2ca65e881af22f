//! Texts of which all those are found that a value is, begins with, or ends with.

use std::cmp::Ordering;
use std::collections::BTreeMap;

use super::Some64;
use super::keys::{Key, Place};

/// From which end values are read.
#[derive(Debug, Clone, Copy)]
pub(super) enum Direction {
    Forward,
    Backward,
}

/// Texts with the programs that want them, in order.
///
/// All texts that begin a value begin also the last one that is not greater than the value: they are found from there,
/// each by the one before.
#[derive(Debug)]
pub(super) struct Affixes {
    direction: Direction,
    entries: Box<[Entry]>,
}

#[derive(Debug)]
struct Entry {
    /// In lower case, and in the order in which values are read.
    text: Box<[u8]>,
    /// The longest other entry that begins this one.
    parent: Option<usize>,
    /// The programs for values that are this text.
    whole: Box<[Some64]>,
    /// The programs for values that begin with this text.
    beginning: Box<[Some64]>,
}

impl Affixes {
    pub(super) fn new(keys: Vec<(&Key, Some64)>, direction: Direction) -> Self {
        let mut programs = BTreeMap::<Box<[u8]>, (Vec<Some64>, Vec<Some64>)>::new();
        for (key, program) in keys {
            let mut text = key.text.clone().into_bytes();
            if matches!(direction, Direction::Backward) {
                text.reverse();
            }
            let (whole, beginning) = programs.entry(text.into()).or_default();
            let set = if key.place == Place::Whole { whole } else { beginning };
            match set.iter_mut().find(|other| other.word == program.word) {
                Some(other) => other.bits |= program.bits,
                None => set.push(program),
            }
        }
        let mut entries = Vec::<Entry>::with_capacity(programs.len());
        for (text, (whole, beginning)) in programs {
            let mut parent = entries.len().checked_sub(1);
            while let Some(index) = parent.filter(|index| !text.starts_with(&entries[*index].text)) {
                parent = entries[index].parent;
            }
            entries.push(Entry { text, parent, whole: whole.into(), beginning: beginning.into() });
        }
        Self { direction, entries: entries.into() }
    }

    /// Calls `found` with the programs that want `value`.
    pub(super) fn find(&self, value: &[u8], found: &mut dyn FnMut(&[Some64])) {
        let behind =
            self.entries.partition_point(|entry| self.compare(&entry.text, value) != Ordering::Greater);
        let mut next = behind.checked_sub(1);
        while let Some(index) = next {
            let entry = &self.entries[index];
            if self.begins(&entry.text, value) {
                found(&entry.beginning);
                if entry.text.len() == value.len() {
                    found(&entry.whole);
                }
            }
            next = entry.parent;
        }
    }

    fn compare(&self, text: &[u8], value: &[u8]) -> Ordering {
        match self.direction {
            Direction::Forward => text.iter().copied().cmp(value.iter().map(u8::to_ascii_lowercase)),
            Direction::Backward => text.iter().copied().cmp(value.iter().rev().map(u8::to_ascii_lowercase)),
        }
    }

    fn begins(&self, text: &[u8], value: &[u8]) -> bool {
        match self.direction {
            Direction::Forward => value.get(..text.len()).is_some_and(|part| part.eq_ignore_ascii_case(text)),
            Direction::Backward => {
                text.len() <= value.len()
                    && text.iter().zip(value.iter().rev()).all(|(a, b)| *a == b.to_ascii_lowercase())
            }
        }
    }
}
