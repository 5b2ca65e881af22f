//! Sets of texts: lists of strings and patterns, made ready to be compared with a value in one go.

mod prefixes;
mod regex;
mod strings;
mod wildcard;

pub(crate) use regex::Regex;
pub(crate) use wildcard::PieceTooLong;

use prefixes::Affixes;
use strings::Strings;
use wildcard::Wildcard;

use crate::index::Place;

/// Whether ASCII letters of both cases are equal.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Case {
    Sensitive,
    Insensitive,
}

impl Case {
    pub(crate) fn of(insensitive: bool) -> Self {
        if insensitive { Self::Insensitive } else { Self::Sensitive }
    }

    fn fold(self, byte: u8) -> u8 {
        match self {
            Self::Sensitive => byte,
            Self::Insensitive => byte.to_ascii_lowercase(),
        }
    }

    fn fold_char(self, character: char) -> char {
        match self {
            Self::Sensitive => character,
            Self::Insensitive => character.to_ascii_lowercase(),
        }
    }

    fn folded(self, text: &str) -> String {
        match self {
            Self::Sensitive => text.to_owned(),
            Self::Insensitive => text.to_ascii_lowercase(),
        }
    }
}

/// Texts and wildcard patterns. A value is in the set if it equals one of the texts or one of the patterns covers it.
#[derive(Debug)]
pub(crate) struct TextSet {
    case: Case,
    /// The pattern `*` is among the patterns.
    everything: bool,
    exact: Strings,
    prefixes: Affixes,
    suffixes: Affixes,
    wildcards: Box<[Wildcard]>,
}

impl TextSet {
    /// The set of `texts`, in which `*` and `?` are characters.
    pub(crate) fn of_strings<'t>(texts: impl IntoIterator<Item = &'t str>, case: Case) -> Self {
        Self {
            case,
            everything: false,
            exact: Strings::new(texts.into_iter().map(|text| case.folded(text)).collect()),
            prefixes: Affixes::default(),
            suffixes: Affixes::default(),
            wildcards: Box::default(),
        }
    }

    /// The set of `patterns`; the error names the place of the pattern that is refused.
    pub(crate) fn of_patterns<'t>(
        patterns: impl IntoIterator<Item = &'t str>,
        case: Case,
    ) -> Result<Self, (usize, PieceTooLong)> {
        let (mut exact, mut prefixes, mut suffixes, mut wildcards) = (vec![], vec![], vec![], vec![]);
        let mut everything = false;
        for (index, pattern) in patterns.into_iter().enumerate() {
            let pattern = case.folded(pattern);
            let begin = pattern.trim_start_matches('*');
            let end = pattern.trim_end_matches('*');
            let is_plain = |text: &str| !text.contains(['*', '?']);
            if is_plain(&pattern) {
                exact.push(pattern);
            } else if begin.is_empty() {
                everything = true;
            } else if is_plain(end) {
                prefixes.push(end.to_owned());
            } else if is_plain(begin) {
                suffixes.push(begin.to_owned());
            } else {
                wildcards.push(Wildcard::new(&pattern, case).map_err(|error| (index, error))?);
            }
        }
        Ok(Self {
            case,
            everything,
            exact: Strings::new(exact),
            prefixes: Affixes::prefixes(prefixes),
            suffixes: Affixes::suffixes(suffixes),
            wildcards: wildcards.into(),
        })
    }

    /// All texts that begin with `prefix`, in which `*` and `?` are characters.
    pub(crate) fn of_prefix(prefix: &str, case: Case) -> Self {
        Self { prefixes: Affixes::prefixes(vec![case.folded(prefix)]), ..Self::of_strings([], case) }
    }

    /// All texts that end with `suffix`, in which `*` and `?` are characters.
    pub(crate) fn of_suffix(suffix: &str, case: Case) -> Self {
        Self { suffixes: Affixes::suffixes(vec![case.folded(suffix)]), ..Self::of_strings([], case) }
    }

    /// Texts of which every member of the set is, begins with or ends with one; nothing if there are none that say much.
    pub(crate) fn keys(&self) -> Option<Vec<(Place, String)>> {
        if self.everything {
            return None;
        }
        let of = |place: Place| move |text: &[u8]| (place, String::from_utf8_lossy(text).into_owned());
        let mut keys: Vec<_> = self.exact.iter().map(of(Place::Whole)).collect();
        keys.extend(self.prefixes.iter().map(of(Place::Beginning)));
        keys.extend(self.suffixes.iter().map(of(Place::End)));
        for wildcard in &self.wildcards {
            keys.push(wildcard.key()?);
        }
        Some(keys)
    }

    /// What looking a text up costs, roughly, in comparisons with one short string.
    pub(crate) fn cost(&self) -> usize {
        1 + usize::from(!self.prefixes.is_empty())
            + usize::from(!self.suffixes.is_empty())
            + 2 * self.wildcards.len()
    }

    pub(crate) fn contains(&self, text: &str) -> bool {
        self.everything
            || self.exact.contains(text.as_bytes(), self.case)
            || self.prefixes.any_begins(text.as_bytes(), self.case)
            || self.suffixes.any_ends(text.as_bytes(), self.case)
            || self.wildcards.iter().any(|wildcard| wildcard.covers(text, self.case))
    }
}

/// Where `needle` begins in `text` for the first time.
pub(crate) fn find(text: &str, needle: &str, case: Case) -> Option<usize> {
    match case {
        Case::Sensitive => text.find(needle),
        Case::Insensitive if needle.is_empty() => Some(0),
        Case::Insensitive => text
            .as_bytes()
            .windows(needle.len())
            .position(|window| window.eq_ignore_ascii_case(needle.as_bytes())),
    }
}

/// Where `needle` begins in `text` for the last time.
pub(crate) fn find_last(text: &str, needle: &str, case: Case) -> Option<usize> {
    match case {
        Case::Sensitive => text.rfind(needle),
        Case::Insensitive if needle.is_empty() => Some(text.len()),
        Case::Insensitive => text
            .as_bytes()
            .windows(needle.len())
            .rposition(|window| window.eq_ignore_ascii_case(needle.as_bytes())),
    }
}

/// Whether `text` starts with `prefix`, in either case if it does not matter.
pub(crate) fn starts_with(text: &[u8], prefix: &[u8], case: Case) -> bool {
    match case {
        Case::Sensitive => text.starts_with(prefix),
        Case::Insensitive => {
            text.get(..prefix.len()).is_some_and(|beginning| beginning.eq_ignore_ascii_case(prefix))
        }
    }
}

/// Whether `text` ends with `suffix`, in either case if it does not matter.
pub(crate) fn ends_with(text: &[u8], suffix: &[u8], case: Case) -> bool {
    match case {
        Case::Sensitive => text.ends_with(suffix),
        Case::Insensitive => {
            let start = text.len().checked_sub(suffix.len());
            start.is_some_and(|start| text[start..].eq_ignore_ascii_case(suffix))
        }
    }
}
