//! That the hooks cost no more than they did: docs/cost.md.

use std::io::Write as _;

use xtask::lab::Series;

#[test]
fn the_hooks_cost_no_more_instructions_than_stored() {
    xtask::setup::run().unwrap();
    let binaries = xtask::bench::programs(true).unwrap();
    let said = xtask::bench::compare(Series::V6_12, &binaries).unwrap_or_else(|error| panic!("{error:#}"));
    writeln!(std::io::stderr(), "{said}").unwrap();
}
