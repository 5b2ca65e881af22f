//! Errors and warnings about a file, with their place in it.

use std::fmt;
use std::ops::Range;
use std::sync::Arc;

use eql::Span;

/// How bad a [`Diagnostic`] is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, serde::Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Level {
    /// What it is about cannot be used.
    Error,
    /// It can, but perhaps not as its author meant it.
    Warning,
}

/// Something to tell the author of a file. Its `Display` is what a terminal shows: the place, the line with carets
/// under the fault, and what to do.
#[derive(Debug, Clone, PartialEq, Eq, serde::Serialize)]
pub struct Diagnostic {
    /// How bad it is.
    pub level: Level,
    /// The file, or what stands for it.
    pub origin: String,
    /// Line, counted from 1; 0 if it is about the file as a whole.
    pub line: usize,
    /// Column, counted from 1 in characters; 0 if it is about the file as a whole.
    pub column: usize,
    /// What is wrong.
    pub message: String,
    /// What to do about it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub help: Option<String>,
    #[serde(skip)]
    rendered: String,
}

impl Diagnostic {
    /// About the bytes `span` of `source`, which is the text of `origin`.
    pub fn at(level: Level, origin: &str, source: &str, error: &eql::Error) -> Self {
        let at = source.floor_char_boundary(error.span().start);
        let line_start = source[..at].rfind('\n').map_or(0, |newline| newline + 1);
        let rendered = error.render(origin, source);
        let rendered = match level {
            Level::Error => rendered,
            Level::Warning => rendered.replacen("error:", "warning:", 1),
        };
        Self {
            level,
            origin: origin.to_owned(),
            line: source[..at].bytes().filter(|byte| *byte == b'\n').count() + 1,
            column: source[line_start..at].chars().count() + 1,
            message: error.message().to_owned(),
            help: error.help().map(str::to_owned),
            rendered,
        }
    }

    /// About a file as a whole.
    pub fn whole(level: Level, origin: &str, message: impl Into<String>, help: Option<String>) -> Self {
        let message = message.into();
        let name = match level {
            Level::Error => "error",
            Level::Warning => "warning",
        };
        let mut rendered = format!("{name}: {message}\n --> {origin}\n");
        if let Some(help) = &help {
            rendered.extend(["  = help: ", help, "\n"]);
        }
        Self { level, origin: origin.to_owned(), line: 0, column: 0, message, help, rendered }
    }
}

impl fmt::Display for Diagnostic {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.rendered.trim_end())
    }
}

impl std::error::Error for Diagnostic {}

/// Where a query stands as a string in a TOML file.
#[derive(Debug, Clone)]
pub struct Embedded {
    origin: Arc<str>,
    source: Arc<str>,
    literal: Range<usize>,
}

impl Embedded {
    /// The string that stands at `literal`, quotes included, in `source`, the text of `origin`.
    pub fn new(origin: &str, source: &str, literal: Range<usize>) -> Self {
        Self { origin: origin.into(), source: source.into(), literal }
    }

    /// A finding about the query, with its place in the file.
    pub fn diagnostic(&self, level: Level, error: &eql::Error) -> Diagnostic {
        let text = self.source.get(self.literal.clone()).unwrap_or_default();
        let place = |at| self.literal.start + offset_in_literal(text, at);
        let span = Span::new(place(error.span().start), place(error.span().end));
        Diagnostic::at(level, &self.origin, &self.source, &error.clone().with_span(span))
    }
}

/// The place in a TOML file of byte `at` of a string that stands there, quotes included, as `literal`.
///
/// A rule's query is such a string, and an error in the query is shown where the author can see it: in the file.
fn offset_in_literal(literal: &str, at: usize) -> usize {
    let delimiter =
        ["\"\"\"", "'''", "\"", "'"].into_iter().find(|quote| literal.starts_with(quote)).unwrap_or("");
    let mut source = delimiter.len();
    if delimiter.len() == 3 {
        let rest = &literal[source..];
        source += if rest.starts_with("\r\n") { 2 } else { usize::from(rest.starts_with('\n')) };
    }
    if !delimiter.starts_with('"') {
        return (source + at).min(literal.len());
    }
    let mut decoded = 0;
    loop {
        let (read, written) = escape(&literal[source..]);
        let is_there = decoded >= at && written > 0;
        if is_there || read == 0 {
            return source;
        }
        source += read;
        decoded += written;
    }
}

/// How many bytes of a basic string the next unit takes, and how many it stands for.
fn escape(text: &str) -> (usize, usize) {
    let Some(first) = text.chars().next() else { return (0, 0) };
    if first != '\\' {
        return (first.len_utf8(), first.len_utf8());
    }
    let code = |digits: usize| {
        let value = text.get(2..2 + digits).and_then(|hex| u32::from_str_radix(hex, 16).ok());
        (2 + digits, value.and_then(char::from_u32).map_or(1, char::len_utf8))
    };
    match text.as_bytes().get(1) {
        Some(b'x') => code(2),
        Some(b'u') => code(4),
        Some(b'U') => code(8),
        Some(b' ' | b'\t' | b'\r' | b'\n') => {
            let blank = text[1..].len() - text[1..].trim_start_matches([' ', '\t', '\r', '\n']).len();
            (1 + blank, 0)
        }
        Some(_) => (2, 1),
        None => (1, 0),
    }
}

/// A TOML span as one of a query's.
pub(super) fn span(range: Range<usize>) -> Span {
    Span::new(range.start, range.end)
}

#[cfg(test)]
mod tests {
    use super::offset_in_literal;

    #[test]
    fn places_in_strings_of_all_four_kinds() {
        for (literal, decoded, needle) in [
            ("\"a b\"", "a b", "b"),
            ("'a b'", "a b", "b"),
            ("'''\nfile where\n x'''", "file where\n x", "x"),
            ("\"\"\"\r\nfile where\r\n x\"\"\"", "file where\r\n x", "x"),
            (r#""""a \"q\" \u00e9 b""""#, "a \"q\" é b", "b"),
            ("\"\"\"one \\\n    two\"\"\"", "one two", "two"),
        ] {
            let at = decoded.find(needle).unwrap();
            let found = offset_in_literal(literal, at);
            assert!(literal[found..].starts_with(needle), "{literal}: {found}");
        }
    }

    #[test]
    fn a_place_beyond_the_end_stays_within_the_literal() {
        assert_eq!(offset_in_literal("\"a\\", 10), 3);
        assert_eq!(offset_in_literal("'a'", 10), 3);
    }
}
