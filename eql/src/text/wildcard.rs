//! Wildcard patterns, in time that grows with the text, whatever the pattern.

mod find;

use find::Finder;

use super::Case;
use crate::index::Place;

/// A piece with `?` between two `*` is longer than [`find::MAX_PIECE`] characters.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct PieceTooLong;

impl PieceTooLong {
    pub(crate) const MAX: usize = find::MAX_PIECE;
}

/// A pattern of literal characters, `?` for one character and `*` for any run of characters.
#[derive(Debug)]
pub(super) struct Wildcard {
    /// What stands before the first `*`: literal characters and `?`.
    head: Box<str>,
    /// What stands behind the first `*`, if there is one.
    rest: Option<Rest>,
}

/// A pattern from its first `*` on.
#[derive(Debug)]
struct Rest {
    /// What stands between two `*`, in order.
    pieces: Box<[Piece]>,
    /// At least so many characters lie before the tail.
    gap: usize,
    /// What stands behind the last `*`.
    tail: Box<str>,
}

/// A stretch that must occur somewhere behind the one before.
#[derive(Debug)]
struct Piece {
    /// At least so many characters lie before it: the number of `?` there.
    gap: usize,
    /// The rest of it: begins and ends with a literal character.
    finder: Finder,
}

impl Wildcard {
    /// The pattern of `pattern`, whose case is folded already.
    pub(super) fn new(pattern: &str, case: Case) -> Result<Self, PieceTooLong> {
        let Some((head, rest)) = pattern.split_once('*') else {
            return Ok(Self { head: pattern.into(), rest: None });
        };
        let (middle, tail) = rest.rsplit_once('*').unwrap_or(("", rest));
        let mut pieces = Vec::new();
        let mut gap = 0;
        for piece in middle.split('*') {
            // `*?` and `?*` say the same: a `?` at either end of a piece is a character between pieces.
            let core = piece.trim_start_matches('?');
            gap += piece.len() - core.len();
            if core.is_empty() {
                continue;
            }
            let literal = core.trim_end_matches('?');
            pieces.push(Piece { gap, finder: Finder::new(literal, case)? });
            gap = core.len() - literal.len();
        }
        Ok(Self { head: head.into(), rest: Some(Rest { pieces: pieces.into(), gap, tail: tail.into() }) })
    }

    /// A text that begins, or ends, all that the pattern covers; nothing if both may be anything.
    pub(super) fn key(&self) -> Option<(Place, String)> {
        let beginning = self.head.split('?').next().unwrap_or_default();
        if !beginning.is_empty() {
            return Some((Place::Beginning, beginning.to_owned()));
        }
        let tail = self.rest.as_ref().map_or(&self.head, |rest| &rest.tail);
        let end = tail.rsplit('?').next().unwrap_or_default();
        (!end.is_empty()).then(|| (Place::End, end.to_owned()))
    }

    /// Whether the pattern covers the whole of `text`.
    pub(super) fn covers(&self, text: &str, case: Case) -> bool {
        let Some(remaining) = strip_head(&self.head, text, case) else {
            return false;
        };
        let Some(rest) = &self.rest else {
            return remaining.is_empty();
        };
        let Some(mut remaining) = strip_tail(&rest.tail, remaining, case) else {
            return false;
        };
        // The leftmost occurrence of each piece leaves the most for those behind it.
        for piece in &rest.pieces {
            match skip(remaining, piece.gap).and_then(|text| piece.finder.behind(text, case)) {
                Some(behind) => remaining = behind,
                None => return false,
            }
        }
        skip(remaining, rest.gap).is_some()
    }
}

/// What follows the first `count` characters of `text`, if it has as many.
fn skip(text: &str, count: usize) -> Option<&str> {
    if count == 0 {
        return Some(text);
    }
    let (last, character) = text.char_indices().nth(count - 1)?;
    Some(&text[last + character.len_utf8()..])
}

/// What follows `head` in `text`, if `text` begins with it.
fn strip_head<'t>(head: &str, text: &'t str, case: Case) -> Option<&'t str> {
    let mut characters = text.chars();
    for expected in head.chars() {
        let found = case.fold_char(characters.next()?);
        if expected != '?' && expected != found {
            return None;
        }
    }
    Some(characters.as_str())
}

/// What precedes `tail` in `text`, if `text` ends with it.
fn strip_tail<'t>(tail: &str, text: &'t str, case: Case) -> Option<&'t str> {
    let mut characters = text.chars();
    for expected in tail.chars().rev() {
        let found = case.fold_char(characters.next_back()?);
        if expected != '?' && expected != found {
            return None;
        }
    }
    Some(characters.as_str())
}
