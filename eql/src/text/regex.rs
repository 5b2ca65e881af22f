//! Lucene's regular expressions.

use super::Case;

/// Why a regular expression is refused.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub(crate) enum RegexError {
    #[error("regular expressions are not supported yet")]
    Unsupported,
}

/// Regular expressions, one of which must cover the whole value.
#[derive(Debug)]
pub(crate) struct Regex {}

impl Regex {
    pub(crate) fn new<'t>(
        _patterns: impl IntoIterator<Item = &'t str>,
        _case: Case,
    ) -> Result<Self, (usize, RegexError)> {
        Err((0, RegexError::Unsupported))
    }

    #[expect(clippy::unused_self, reason = "to come")]
    pub(crate) fn covers(&self, _text: &str) -> bool {
        false
    }
}
