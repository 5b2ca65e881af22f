//! The same on arm64, as far as it may differ there: what the programs read from registers and the stack, system calls and the
//! sandbox around them.

use integration_tests::{Boot, Scenario};
use xtask::architecture::Architecture;
use xtask::lab::{Attach, Series};

/// How the names of its scenarios begin. Others passed when they were tried, and take their time.
const SCENARIOS: [&str; 16] = [
    "create/",
    "rename/",
    "exchange/",
    "link/",
    "outcome/ext4/",
    "in_place/open",
    "in_place/truncate",
    "in_place/unlink",
    "in_place/bind_file",
    "in_place/new_interface",
    "in_place/pivot_root",
    "in_place/refused/",
    "uring/",
    "sandbox/status",
    "sandbox/hijacked",
    "sandbox/sees_the_same",
];

/// fentry takes BPF trampolines, which arm64 has from 6.4 on.
pub(crate) fn boots() -> Vec<Boot> {
    let boots =
        [(Series::V6_1, Attach::Kprobe), (Series::V6_12, Attach::Fentry), (Series::V6_12, Attach::Kprobe)];
    boots.map(|(series, attach)| Boot::new(Architecture::Arm64, series, attach)).into()
}

/// Whether the scenario is one for that boot.
pub(crate) fn runs(boot: &Boot, scenario: &Scenario) -> bool {
    boot.architecture() == Architecture::Amd64
        || SCENARIOS.iter().any(|beginning| scenario.name().starts_with(beginning))
}
