//! The reference of metrics, made from the code: docs/metrics.md.

use std::fmt::Write as _;

use super::Family;

/// docs/metrics.md.
pub fn markdown_reference() -> String {
    let mut text = "# Metrics\n\n\
        <!-- Generated from sensor/src/metrics/mod.rs; `UPDATE_DOCS=1 cargo test -p sensor` writes it anew. -->\n\n\
        `ldsentry run` writes them to standard error when it exits and when it gets SIGUSR1: as one line of JSON, or, \
        where alerts are shown for people, those that are not 0 as text. With `[metrics]` in the \
        configuration, Prometheus can scrape them. Names that end in `_total` are counters that start at 0 with the daemon; the others are gauges.\n\n\
        | name | labels | counts |\n|---|---|---|\n"
        .to_owned();
    for family in Family::ALL {
        let labels: Vec<_> = family.labels().iter().map(|label| format!("`{label}`")).collect();
        let _ = writeln!(text, "| `{}` | {} | {} |", family.full_name(), labels.join(", "), family.help());
    }
    text.push_str(
        "\n`ldsentry_events_lost_total` has a series for each reason:\n\n| reason | meaning |\n|---|---|\n",
    );
    for (reason, meaning) in [
        ("ring_full", "the ring buffer had no room: raise `sensor.ring_bytes`"),
        ("program_miss", "the kernel did not run the program (recursion, or no free kprobe instance)"),
        (
            "queue_overflow",
            "fanotify's queue was full: counts the times, each of which lost one or more, and is followed by a rescan",
        ),
        ("decode", "the bytes are no event of this version: the programs in the kernel are of another one"),
        (
            "directory",
            "a directory was renamed so that rules look for what is in it, and not all of it could be looked at: counts the directories",
        ),
    ] {
        let _ = writeln!(text, "| `{reason}` | {meaning} |");
    }
    text
}
