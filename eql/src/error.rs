//! What is wrong with a query, where, and what to write instead.

use std::fmt::Write as _;

use crate::span::{Span, position};

/// As many characters of a line are shown with an error; of a longer line, the part around the fault.
const SHOWN_CHARACTERS: usize = 110;
/// As many characters of a token are quoted in a message.
const QUOTED_CHARACTERS: usize = 40;

/// Why a query was refused.
///
/// Its [`Display`](std::fmt::Display) is the bare message; [`Error::render`] shows the place in the source as well.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{message}")]
pub struct Error {
    message: String,
    span: Span,
    help: Option<String>,
    needs_several_events: bool,
}

impl Error {
    /// An error about the text at `span`. Callers use it for their own findings (an unknown field, say), so that
    /// they read like the language's.
    pub fn new(message: impl Into<String>, span: Span) -> Self {
        Self { message: message.into(), span, help: None, needs_several_events: false }
    }

    /// Adds what to do about it.
    #[must_use]
    pub fn with_help(mut self, help: impl Into<String>) -> Self {
        self.help = Some(help.into());
        self
    }

    /// Marks a query as one that may be good EQL, but is about several events.
    pub(crate) fn about_several_events(mut self) -> Self {
        self.needs_several_events = true;
        self
    }

    /// Whether the query may be good EQL, but is about several events (a sequence, a sample, a pipe): it is not for this
    /// engine, rather than wrong.
    pub fn needs_several_events(&self) -> bool {
        self.needs_several_events
    }

    /// What is wrong.
    pub fn message(&self) -> &str {
        &self.message
    }

    /// Where in the query's text, in bytes.
    pub fn span(&self) -> Span {
        self.span
    }

    /// What to do about it, if that is known.
    pub fn help(&self) -> Option<&str> {
        self.help.as_deref()
    }

    /// The same error at another place: for a query that is part of a file.
    #[must_use]
    pub fn with_span(mut self, span: Span) -> Self {
        self.span = span;
        self
    }

    /// The same error in a text in which the query begins at byte `by`.
    #[must_use]
    pub fn offset(self, by: usize) -> Self {
        let span = self.span.offset(by);
        self.with_span(span)
    }

    /// The error for a reader: origin, line and column, the line with a caret under the fault, and the help.
    ///
    /// `source` is the text that the span refers to, `origin` its name, normally a file's.
    /// Control characters of the source are not passed on to the reader's terminal.
    pub fn render(&self, origin: &str, source: &str) -> String {
        let place = position(source, self.span.start);
        let line = source[place.line_start..].split('\n').next().unwrap_or_default().trim_end_matches('\r');

        let mut skipped = 0;
        if line.chars().count() > SHOWN_CHARACTERS {
            skipped = place.column.saturating_sub(SHOWN_CHARACTERS / 2);
        }
        let mut shown: String = line.chars().skip(skipped).take(SHOWN_CHARACTERS).map(printable).collect();
        let mut before = place.column - 1 - skipped;
        if skipped > 0 {
            shown.insert(0, '…');
            before += 1;
        }
        if line.chars().count() > skipped + SHOWN_CHARACTERS {
            shown.push('…');
        }
        let marked = self.span.of(source).split('\n').next().unwrap_or_default().chars().count();
        let carets = marked.clamp(1, shown.chars().count().saturating_sub(before).max(1));

        let gutter = " ".repeat(place.line.to_string().len());
        let mut text = format!(
            "error: {}\n{gutter}--> {origin}:{}:{}\n{gutter} |\n{} | {shown}\n{gutter} | {}{}\n",
            self.message,
            place.line,
            place.column,
            place.line,
            " ".repeat(before),
            "^".repeat(carets),
        );
        if let Some(help) = &self.help {
            // Writing to a string cannot fail.
            let _ = writeln!(text, "{gutter} = help: {help}");
        }
        text
    }
}

/// A piece of the source as it may appear in a message: one line, not too long, nothing that steers a terminal.
pub(crate) fn quoted(text: &str) -> String {
    let mut shown: String = text.chars().take(QUOTED_CHARACTERS).map(printable).collect();
    if text.chars().nth(QUOTED_CHARACTERS).is_some() {
        shown.push('…');
    }
    format!("`{shown}`")
}

fn printable(character: char) -> char {
    match character {
        '\t' => ' ',
        _ if character.is_control() => char::REPLACEMENT_CHARACTER,
        _ => character,
    }
}
