//! Sets of prefixes and of suffixes, searched in logarithmic time.

use std::cmp::Ordering;

use super::{Case, ends_with, starts_with};

/// Prefixes (or suffixes), in order, none of which begins (or ends) another.
///
/// Then at most one of them can begin a text: the last one that is not greater than the text.
#[derive(Debug, Default)]
pub(super) struct Affixes(Box<[Box<[u8]>]>);

impl Affixes {
    /// The set of `prefixes`, whose case is folded already.
    pub(super) fn prefixes(prefixes: Vec<String>) -> Self {
        let mut prefixes: Vec<Box<[u8]>> =
            prefixes.into_iter().map(|text| text.into_bytes().into()).collect();
        prefixes.sort_unstable();
        // In order, whatever begins with a prefix comes right behind it.
        prefixes.dedup_by(|next, kept| next.starts_with(kept));
        Self(prefixes.into())
    }

    /// The set of `suffixes`, whose case is folded already.
    pub(super) fn suffixes(suffixes: Vec<String>) -> Self {
        let mut suffixes: Vec<Box<[u8]>> =
            suffixes.into_iter().map(|text| text.into_bytes().into()).collect();
        suffixes.sort_unstable_by(|a, b| a.iter().rev().cmp(b.iter().rev()));
        suffixes.dedup_by(|next, kept| next.ends_with(kept));
        Self(suffixes.into())
    }

    pub(super) fn iter(&self) -> impl Iterator<Item = &[u8]> {
        self.0.iter().map(AsRef::as_ref)
    }

    pub(super) fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    pub(super) fn any_begins(&self, text: &[u8], case: Case) -> bool {
        let at = self.0.partition_point(|prefix| !is_greater(prefix.iter(), text.iter(), case));
        at > 0 && starts_with(text, &self.0[at - 1], case)
    }

    pub(super) fn any_ends(&self, text: &[u8], case: Case) -> bool {
        let at = self.0.partition_point(|suffix| !is_greater(suffix.iter().rev(), text.iter().rev(), case));
        at > 0 && ends_with(text, &self.0[at - 1], case)
    }
}

/// Whether `affix` comes after `text` in order.
fn is_greater<'b>(
    affix: impl Iterator<Item = &'b u8>,
    text: impl Iterator<Item = &'b u8>,
    case: Case,
) -> bool {
    affix.copied().cmp(text.map(|byte| case.fold(*byte))) == Ordering::Greater
}
