//! One source file, without its tests.

use std::fs;
use std::path::Path;

use anyhow::{Context as _, Result};

/// One source file, without its tests.
#[derive(Debug)]
pub(super) struct Source {
    text: String,
}

impl Source {
    pub(super) fn read(path: &Path) -> Result<Self> {
        let text = fs::read_to_string(path).with_context(|| format!("reading {}", path.display()))?;
        let is_test = path.to_string_lossy().rsplit_once("/src/").is_some_and(|(_, module)| {
            module.split('/').any(|part| matches!(part.trim_end_matches(".rs"), "tests" | "testing"))
        });
        // Of a file that is all tests, what it says about itself is left.
        let first = text.lines().next().unwrap_or_default().to_owned();
        Ok(if is_test { Self { text: first } } else { Self::new(&text) })
    }

    /// By custom, tests are the last thing in a file.
    pub(super) fn new(text: &str) -> Self {
        let end = text.find("#[cfg(test)]\nmod tests {").unwrap_or(text.len());
        Self { text: text[..end].to_owned() }
    }

    pub(super) fn lines(&self) -> usize {
        self.text.lines().count()
    }

    /// A crate's root may have attributes first.
    pub(super) fn has_module_docs(&self) -> bool {
        let first = self.text.lines().find(|line| !line.is_empty() && !line.starts_with("#!["));
        first.is_some_and(|line| line.starts_with("//!"))
    }

    /// The lines of code, each with its number.
    pub(super) fn code(&self) -> impl Iterator<Item = (usize, &str)> {
        let numbered = self.text.lines().enumerate().map(|(index, line)| (index + 1, line));
        numbered.filter(|(_, line)| !line.trim_start().starts_with("//"))
    }
}
