//! Where a piece of configuration was written, so that whoever finds it wrong later can say so.

use std::fmt;
use std::ops::{Deref, Range};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use serde::{Serialize, Serializer};

/// A configuration file's name and text.
#[derive(Debug, PartialEq, Eq)]
pub struct SourceFile {
    /// The file, as the user named it.
    pub path: PathBuf,
    /// Its contents.
    pub text: String,
}

impl SourceFile {
    /// The position of the byte at `offset`.
    pub fn position(&self, offset: usize) -> Position {
        let mut offset = offset.min(self.text.len());
        while !self.text.is_char_boundary(offset) {
            offset -= 1;
        }
        let before = &self.text[..offset];
        let line_start = before.rfind('\n').map_or(0, |newline| newline + 1);
        Position {
            path: self.path.clone(),
            line: before.matches('\n').count() + 1,
            column: before[line_start..].chars().count() + 1,
        }
    }
}

/// A place in a file; displayed as `FILE:LINE:COLUMN`, which editors and terminals turn into a link.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Position {
    /// The file.
    pub path: PathBuf,
    /// Line, from 1.
    pub line: usize,
    /// Column in characters, from 1.
    pub column: usize,
}

impl fmt::Display for Position {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}:{}:{}", self.path.display(), self.line, self.column)
    }
}

/// A string of the configuration, and where it stands.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Located {
    value: String,
    source: Arc<SourceFile>,
    span: Range<usize>,
}

impl Located {
    pub(super) fn new(value: toml::Spanned<String>, source: &Arc<SourceFile>) -> Self {
        Self { span: value.span(), value: value.into_inner(), source: Arc::clone(source) }
    }

    /// The string.
    pub fn as_str(&self) -> &str {
        &self.value
    }

    /// The file that it stands in, and its place there, quotes included.
    pub fn literal(&self) -> (&SourceFile, Range<usize>) {
        (&self.source, self.span.clone())
    }

    /// The file that it stands in.
    pub fn path(&self) -> &Path {
        &self.source.path
    }

    /// Where the value begins.
    pub fn position(&self) -> Position {
        self.source.position(self.span.start)
    }

    /// Where the byte at `offset` of the string stands in the file.
    ///
    /// Exact unless an escape sequence precedes it: then it is where the value begins.
    pub fn position_at(&self, offset: usize) -> Position {
        let content = self.content_start();
        let written = self.source.text.as_bytes().get(content..content + offset);
        if written.is_some() && written == self.value.as_bytes().get(..offset) {
            self.source.position(content + offset)
        } else {
            self.position()
        }
    }

    /// The offset in the file at which the string's first character stands, after the opening quotes.
    fn content_start(&self) -> usize {
        let raw = self.source.text.get(self.span.clone()).unwrap_or_default();
        let quotes = ["\"\"\"\r\n", "\"\"\"\n", "\"\"\"", "'''\r\n", "'''\n", "'''", "\"", "'"];
        let opening = quotes.into_iter().find(|quote| raw.starts_with(quote)).map_or(0, str::len);
        self.span.start + opening
    }
}

impl Deref for Located {
    type Target = str;

    fn deref(&self) -> &str {
        &self.value
    }
}

impl Serialize for Located {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        self.value.serialize(serializer)
    }
}
