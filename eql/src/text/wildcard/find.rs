//! Finding a stretch of text in linear time, also where case does not matter or single characters are open.

use memchr::memmem;

use super::{Case, PieceTooLong};

/// How many characters a stretch with `?` in it may have.
pub(super) const MAX_PIECE: usize = 64 * WORDS;
const WORDS: usize = 16;

/// Searches one stretch.
#[derive(Debug)]
pub(super) enum Finder {
    /// Exactly this text.
    Exact(Box<str>),
    /// This text, whatever the case of its ASCII letters.
    Folded(KnuthMorrisPratt),
    /// A text with `?` in it.
    Open(ShiftAnd),
}

impl Finder {
    /// Searches `stretch`, whose case is folded already and in which `?` is any character.
    pub(super) fn new(stretch: &str, case: Case) -> Result<Self, PieceTooLong> {
        Ok(if stretch.contains('?') {
            Self::Open(ShiftAnd::new(stretch)?)
        } else if case == Case::Sensitive || !stretch.bytes().any(|byte| byte.is_ascii_alphabetic()) {
            Self::Exact(stretch.into())
        } else {
            Self::Folded(KnuthMorrisPratt::new(stretch))
        })
    }

    /// What follows the leftmost occurrence in `text`.
    pub(super) fn behind<'t>(&self, text: &'t str, case: Case) -> Option<&'t str> {
        let end = match self {
            // Linear without preparation, which would take 300 bytes for each.
            Self::Exact(stretch) => {
                memmem::find(text.as_bytes(), stretch.as_bytes()).map(|start| start + stretch.len())
            }
            Self::Folded(finder) => finder.end(text.as_bytes()),
            Self::Open(finder) => finder.end(text, case),
        }?;
        text.get(end..)
    }
}

/// Search for a folded needle that looks at each byte of the text once.
#[derive(Debug)]
pub(super) struct KnuthMorrisPratt {
    needle: Box<[u8]>,
    /// For each prefix of the needle: the length of its longest proper prefix that is also its suffix.
    borders: Box<[u32]>,
}

impl KnuthMorrisPratt {
    fn new(needle: &str) -> Self {
        let needle: Box<[u8]> = needle.as_bytes().into();
        let mut borders = vec![0_u32; needle.len()];
        let mut matched = 0;
        for at in 1..needle.len() {
            while matched > 0 && needle[matched] != needle[at] {
                matched = borders[matched - 1] as usize;
            }
            matched += usize::from(needle[matched] == needle[at]);
            borders[at] = matched as u32;
        }
        Self { needle, borders: borders.into() }
    }

    fn end(&self, text: &[u8]) -> Option<usize> {
        if text.len() < self.needle.len() {
            return None;
        }
        let mut matched = 0;
        for (at, byte) in text.iter().enumerate() {
            let byte = byte.to_ascii_lowercase();
            while matched > 0 && self.needle[matched] != byte {
                matched = self.borders[matched - 1] as usize;
            }
            matched += usize::from(self.needle[matched] == byte);
            if matched == self.needle.len() {
                return Some(at + 1);
            }
        }
        None
    }
}

/// Search that follows all possible beginnings at once, a bit each.
#[derive(Debug)]
pub(super) struct ShiftAnd {
    length: usize,
    /// The literal characters, in order.
    characters: Box<[char]>,
    /// For each of them, and lastly for any other character: the places where it fits.
    fits: Box<[[u64; WORDS]]>,
}

impl ShiftAnd {
    fn new(stretch: &str) -> Result<Self, PieceTooLong> {
        let places: Vec<char> = stretch.chars().take(MAX_PIECE + 1).collect();
        if places.len() > MAX_PIECE {
            return Err(PieceTooLong);
        }
        let mut characters = places.clone();
        characters.sort_unstable();
        characters.dedup();
        let fits = |character: Option<char>| {
            let mut bits = [0; WORDS];
            for (place, expected) in places.iter().enumerate() {
                if *expected == '?' || Some(*expected) == character {
                    bits[place / 64] |= 1 << (place % 64);
                }
            }
            bits
        };
        let table = characters.iter().map(|character| fits(Some(*character))).chain([fits(None)]).collect();
        Ok(Self { length: places.len(), characters: characters.into(), fits: table })
    }

    fn end(&self, text: &str, case: Case) -> Option<usize> {
        let words = self.length.div_ceil(64);
        let (last_word, last_bit) = ((self.length - 1) / 64, (self.length - 1) % 64);
        let mut begun = [0_u64; WORDS];
        for (at, character) in text.char_indices() {
            let row =
                self.characters.binary_search(&case.fold_char(character)).unwrap_or(self.characters.len());
            // At every character, another occurrence may begin.
            let mut carried = 1;
            for (word, fits) in begun.iter_mut().zip(&self.fits[row]).take(words) {
                let shifted = *word << 1 | carried;
                carried = *word >> 63;
                *word = shifted & fits;
            }
            if begun[last_word] >> last_bit & 1 == 1 {
                return Some(at + character.len_utf8());
            }
        }
        None
    }
}
