//! Data flows one way through `sensor`: a stage knows only what lies before it, and does only what is its to do.

use super::source::Source;

/// What a stage may and must not touch.
struct Stage {
    /// Its module in `sensor/src`.
    name: &'static str,
    /// The modules of the crate that it may name, beside itself.
    may_use: &'static [&'static str],
    /// Paths that must not occur.
    must_not_use: &'static [&'static str],
}

const IO: [&str; 5] = ["std::fs", "std::net", "std::io", "std::process", "tokio"];
const CLOCK: [&str; 3] = ["SystemTime", "Instant", "Timestamp::now"];

const STAGES: [Stage; 8] = [
    Stage {
        name: "kernel",
        may_use: &["event", "filter", "links", "memory", "metrics", "mountinfo"],
        must_not_use: &["eql"],
    },
    Stage {
        name: "decode",
        may_use: &["event"],
        must_not_use: &["aya", IO[0], IO[1], IO[3], IO[4], CLOCK[0], CLOCK[1], CLOCK[2]],
    },
    Stage {
        name: "enrich",
        may_use: &["decode", "event", "host"],
        must_not_use: &["aya", "serde", "serde_json"],
    },
    Stage {
        name: "fanotify",
        may_use: &["decode", "enrich", "event", "host", "links", "mountinfo", "prefix"],
        must_not_use: &["aya", "eql", "serde", "serde_json", IO[4], CLOCK[0], CLOCK[2]],
    },
    Stage { name: "ecs", may_use: &["event"], must_not_use: &["aya", IO[0], IO[1], IO[3], IO[4]] },
    Stage {
        name: "detect",
        may_use: &["ecs", "event", "filter", "prefix", "rule"],
        must_not_use: &["aya", IO[0], IO[1], IO[2], IO[3], IO[4], CLOCK[0], CLOCK[1], CLOCK[2]],
    },
    Stage {
        name: "alert",
        may_use: &["detect", "ecs", "event", "rule"],
        must_not_use: &["aya", IO[0], IO[1], IO[3], IO[4]],
    },
    Stage {
        name: "sink",
        may_use: &["alert", "config", "guard", "metrics", "queue"],
        must_not_use: &["aya", "eql"],
    },
];

/// What is wrong with a file of `sensor`.
pub(super) fn check(name: &str, source: &Source) -> Vec<String> {
    let Some(module) = name.strip_prefix("sensor/src/").and_then(|path| path.split(['/', '.']).next()) else {
        return Vec::new();
    };
    let Some(stage) = STAGES.iter().find(|stage| stage.name == module) else { return Vec::new() };
    let complain = |line: usize, path: &str| format!("{name}:{line}: `{module}` must not use `{path}`");
    let mut complaints = Vec::new();
    for (number, line) in source.code() {
        for used in modules_named(line) {
            if used != stage.name && !stage.may_use.contains(&used) {
                complaints.push(complain(number, &format!("crate::{used}")));
            }
        }
        let forbidden = stage.must_not_use.iter().filter(|path| names(line, path));
        complaints.extend(forbidden.map(|path| complain(number, path)));
    }
    complaints
}

/// The modules that a line names as `crate::module`.
fn modules_named(line: &str) -> impl Iterator<Item = &str> {
    line.split("crate::").skip(1).filter_map(|rest| {
        let end = rest.find(|character: char| !character.is_ascii_lowercase() && character != '_');
        Some(&rest[..end.unwrap_or(rest.len())]).filter(|module| !module.is_empty())
    })
}

/// Whether the line has the path as whole words: `aya` is not in `aya_log`, nor `eql` in `crate::eql`.
fn names(line: &str, path: &str) -> bool {
    let is_word = |character: char| character.is_ascii_alphanumeric() || character == '_';
    line.match_indices(path).any(|(start, _)| {
        let before = line[..start].chars().next_back();
        let after = line[start + path.len()..].chars().next();
        let in_a_path = path.contains("::") || path.starts_with(char::is_uppercase) || after == Some(':');
        in_a_path
            && !before.is_some_and(|before| is_word(before) || before == ':')
            && !after.is_some_and(is_word)
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn complaints(name: &str, text: &str) -> usize {
        check(name, &Source::new(text)).len()
    }

    #[test]
    fn a_stage_knows_only_what_lies_before_it() {
        assert_eq!(
            complaints("sensor/src/detect/mod.rs", "use crate::ecs::Document;\nuse crate::rule::Rule;\n"),
            0
        );
        assert_eq!(complaints("sensor/src/detect.rs", "use crate::alert::Alert;\n"), 1);
        assert_eq!(complaints("sensor/src/ecs/mod.rs", "let event: crate::detect::Detection;\n"), 1);
        assert_eq!(complaints("sensor/src/pipeline.rs", "use crate::alert::Alert;\n"), 0);
    }

    #[test]
    fn detection_reads_no_clock_and_does_no_io() {
        assert_eq!(complaints("sensor/src/detect.rs", "let now = Instant::now();\n"), 1);
        assert_eq!(complaints("sensor/src/detect.rs", "use std::fs::File;\n"), 1);
        assert_eq!(complaints("sensor/src/detect.rs", "use tokio::sync::mpsc;\n"), 1);
        assert_eq!(complaints("sensor/src/detect.rs", "let tokio = 1;\n// std::fs\n"), 0);
        assert_eq!(
            complaints("sensor/src/detect.rs", "fn f() {}\n#[cfg(test)]\nmod tests {\nuse std::fs;\n}\n"),
            0
        );
    }
}
