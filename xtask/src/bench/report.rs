//! docs/cost.md.

use std::fmt::Write as _;

use super::{Results, Stored};

const HEAD: &str = "<!-- Written by `cargo xtask bench`. -->
# What it costs

Instructions that are added to a whole system call, measured in a guest under QEMU whose only processor takes a nanosecond for each
instruction (`-icount shift=0`): so they are the same on every machine, to within some ten. Each figure is the median of seven
batches' medians, less the mean of two measurements with nothing attached, before and after in the same boot (auditd's: before). All programs that
an operation passes are in it, those that learn the outcome included; what a process does that is woken is not.

```sh
cargo xtask bench                    # everything on this page; `--daemon FILE` for another build of the daemon
cargo xtask bench --kernel 6.12 --only \"sensor fentry 'one rule' --rules /lab/one.toml\"
```

A test of `cargo xtask test` measures the rule with both ways to attach again, and fails where a figure has become worse by more than 25 instructions
or 3 %. The figures themselves are in [cost.json](cost.json).
";

const TERMS: &str = "
*other lengths*: no name on the way has a length that a rule's names have. *Same lengths*: all have, and none is such a name. *Depth* is that of
directories below the file system's root. *One rule* is the built-in one about creations and renames; *built-in rules* are all, which look at deletions and at every `open` for writing too; *60 rules* are generated ones of the size that Elastic's have, and the built-in
one. *Floor*: programs that do nothing, on the functions that an open, a creation and a rename pass.
";

const OTHERS: &str = "
Each watches `/etc/ld.so.preload` and `/etc/ld.so.conf.d`, and nothing else, as well as it can: auditd with `-w PATH -p wa` for both; bpftrace
with kfuncs on the two functions and a comparison of the last name; inotifywait with `-e create,move` on `/etc` and the directory; fanotify with a
mark on `/etc`, and with one on its file system. `ldsentry: fanotify` is `--source fanotify`, for kernels that take no hooks: what it adds to
what is done in other directories is the kernel's own look whether the directory is marked, which it takes on a file system as soon as anybody
watches anything there: *beside an inotify watch* on another directory, as systemd, udev and others have them, nothing is left of it. To
processes, programs on tracepoints are added that keep who was who, where the kernel takes them.
";

/// The whole page.
pub fn page(stored: &Stored) -> String {
    let mut page = HEAD.to_owned();
    for (series, results) in &stored.kernels {
        let _ = writeln!(
            page,
            "\n## Linux {series}\n\n`{}`. Two measurements of the same differ by at most {}.\n",
            results.kernel, results.spread
        );
        page.push_str(&core(results));
    }
    page.push_str(TERMS);
    for (series, results) in &stored.kernels {
        let _ = writeln!(page, "\n## Beside others, Linux {series}\n");
        page.push_str(&table(results, |name| !is_core(name) || name == "ldsentry: fentry, one rule"));
    }
    page.push_str(OTHERS);
    for (series, results) in stored.kernels.iter().filter(|(_, results)| !results.facts.is_empty()) {
        let _ = writeln!(page, "\n## Resources, Linux {series}\n");
        page.push_str(&facts(results));
    }
    page
}

/// What the hooks add.
pub fn core(results: &Results) -> String {
    table(results, is_core)
}

fn is_core(configuration: &str) -> bool {
    configuration.starts_with("floor")
        || (configuration.starts_with("ldsentry") && !configuration.contains("fanotify"))
}

fn table(results: &Results, wanted: impl Fn(&str) -> bool) -> String {
    let configurations: Vec<_> = results.added.iter().filter(|(name, _)| wanted(name)).collect();
    let mut table = String::from("| | alone |");
    for (name, _) in &configurations {
        let name = if is_core(name) { name.trim_start_matches("ldsentry: ") } else { name };
        let _ = write!(table, " {name} |");
    }
    table.push_str("\n|---|--:|");
    table.push_str(&"--:|".repeat(configurations.len()));
    table.push('\n');
    for (operation, alone) in &results.operations {
        let _ = write!(table, "| {operation} | {} |", grouped(*alone));
        for (_, added) in &configurations {
            let added = added.get(operation).map(|added| grouped(*added)).unwrap_or_default();
            let _ = write!(table, " {added} |");
        }
        table.push('\n');
    }
    table
}

/// What the guest's facts are about, in the order of the page.
const FACTS: [(&str, &str); 19] = [
    ("binary", "bytes of the program"),
    ("ready", "instructions from exec to ready, the kernel's verifier included"),
    ("idle.VmRSS", "resident when idle, KiB"),
    ("idle.RssAnon", "of that its own memory, KiB"),
    ("wakeups", "times its threads woke up in an idle minute"),
    ("latency_median", "instructions from a creation to its alert in the reader's hands, median"),
    ("latency_99", "the same, 99th percentile"),
    ("voluntary_switches_per_100", "times its threads waited, in 100 alerts"),
    ("involuntary_switches_per_100", "times the processor was taken from them, in 100 alerts"),
    ("after.VmRSS", "resident after 200 alerts, KiB"),
    ("after.RssAnon", "of that its own memory, KiB"),
    ("rate", "watched files a second without loss, of those that were tried"),
    ("flooded.VmRSS", "resident after these floods, KiB"),
    ("flooded.RssAnon", "of that its own memory, KiB"),
    ("flood_rate", "watched files a second in a flood without pause"),
    ("flood_lost", "events of its 5,000 that are lost, and counted"),
    ("recovered", "instructions to the alert after it, median"),
    ("recovered.VmRSS", "resident after it, KiB"),
    ("recovered.RssAnon", "of that its own memory, KiB"),
];

const FACTS_TERMS: &str = "
The daemon and those who make files share the guest's one processor, and its second has 1,000,000,000 instructions: times and rates are those of
an emulated machine, and serve to compare. One alert is one file, and the ring has its default size, 1 MiB. *A second without loss*: 500, 1,000,
2,000, 3,000, 3,250, 3,500 and 3,750 files a second are tried in turn, 5,000 of each, until one loses any.
";

fn facts(results: &Results) -> String {
    let mut table = String::from("| | one rule | 60 rules |\n|---|--:|--:|\n");
    for (name, meaning) in FACTS {
        let value = |rules: &str| {
            let value = results.facts.get(&format!("{rules}.{name}"));
            value.map(|value| value.parse().map_or_else(|_| value.clone(), grouped))
        };
        let (one, many) = (value("one"), value("many"));
        if one.is_some() || many.is_some() {
            let _ =
                writeln!(table, "| {meaning} | {} | {} |", one.unwrap_or_default(), many.unwrap_or_default());
        }
    }
    table.push_str(FACTS_TERMS);
    table
}

/// A number with its thousands apart.
fn grouped(number: i64) -> String {
    let digits = number.unsigned_abs().to_string();
    let mut text = String::from(if number < 0 { "-" } else { "" });
    for (index, digit) in digits.chars().enumerate() {
        if index > 0 && (digits.len() - index).is_multiple_of(3) {
            text.push(',');
        }
        text.push(digit);
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_are_grouped_by_thousands() {
        assert_eq!([0, 999, 1000, -1_234_567].map(grouped), ["0", "999", "1,000", "-1,234,567"]);
    }
}
