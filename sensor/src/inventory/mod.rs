//! What is there when the sensor starts: the files that rules are about, and those that the dynamic linker's own files name.
//!
//! Hooks see what is done, not what was done before. Looking takes as long as the disk likes, so it is done beside the event
//! path, by a thread of its own.

mod document;
mod linker;
mod search;

use std::fs::Metadata;

pub use self::document::{Facts, document};
pub use self::search::look;
use crate::rule::{Parsed, Rule};

/// The id of [`rule`].
pub const RULE_ID: &str = "0b1f6f7c-6d0e-4a6b-9f0c-5c1b8f0e7a52";

/// The file that no host has unless somebody put it there.
pub const PRELOAD: &str = "/etc/ld.so.preload";

/// The rule whose alert says that [`PRELOAD`] was there at the start.
pub fn rule() -> Option<Rule> {
    // It is part of the program, and a test reads it.
    match Rule::parse("inventory", include_str!("rule.toml")) {
        Parsed::Rule(rule, _) => Some(*rule),
        Parsed::Skipped(_) | Parsed::Invalid(_) => None,
    }
}

/// What was found.
#[derive(Debug, Default)]
pub struct Inventory {
    /// The files, each once.
    pub files: Vec<File>,
    /// Why there can be more.
    pub incomplete: Option<String>,
}

/// A file that is there.
#[derive(Debug)]
pub struct File {
    /// Its path.
    pub path: Vec<u8>,
    /// The file or symbolic link because of which it was looked at, where no rule names it.
    pub named_by: Option<Vec<u8>>,
    /// Not those of what a symbolic link points to.
    pub metadata: Metadata,
    /// Symbolic links: where it points to.
    pub target: Option<Vec<u8>>,
    /// Regular files that could be read.
    pub contents: Option<Contents>,
}

/// What a file holds.
#[derive(Debug, Default)]
pub struct Contents {
    /// SHA-256 in hexadecimal digits, unless it is too much to read.
    pub sha256: Option<String>,
    /// The first bytes.
    pub head: Vec<u8>,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_rule_is_the_one_for_the_file() {
        let rule = rule().unwrap();
        assert_eq!(rule.id, RULE_ID);
        assert!(rule.query.source().contains(PRELOAD));
    }
}
