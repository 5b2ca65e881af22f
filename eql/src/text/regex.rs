//! Lucene's regular expressions, on an engine whose time grows with the text and not with the pattern's twists.

mod lucene;

use regex_automata::meta;
use regex_automata::util::syntax;
use regex_automata::{Anchored, Input};

use super::Case;
pub(crate) use lucene::RegexError;

/// As much memory as a compiled expression may take, in bytes.
const MAX_SIZE: usize = 1 << 20;
/// As deep as groups may be nested.
const MAX_DEPTH: u32 = 100;

/// Regular expressions, one of which must cover the whole of a value.
#[derive(Debug)]
pub(crate) struct Regex(meta::Regex);

impl Regex {
    /// The expressions of `patterns`; the error names the place of the one that is refused.
    pub(crate) fn new<'p>(
        patterns: impl IntoIterator<Item = &'p str>,
        case: Case,
    ) -> Result<Self, (usize, RegexError)> {
        let mut alternatives = Vec::new();
        for (index, pattern) in patterns.into_iter().enumerate() {
            let translated = lucene::translate(pattern, case).map_err(|error| (index, error))?;
            alternatives.push(format!("(?:{translated})"));
        }
        let expression = format!(r"(?:{})\z", alternatives.join("|"));
        meta::Builder::new()
            .syntax(syntax::Config::new().nest_limit(MAX_DEPTH))
            .configure(meta::Config::new().nfa_size_limit(Some(MAX_SIZE)).hybrid_cache_capacity(MAX_SIZE))
            .build(&expression)
            .map(Self)
            .map_err(|_| (0, RegexError::TooLarge))
    }

    pub(crate) fn covers(&self, text: &str) -> bool {
        self.0.is_match(Input::new(text).anchored(Anchored::Yes))
    }
}
