//! What the fuzzer of rule files runs, for a short time and without a fuzzer: over the corpus, and over mutations of it.

#[path = "../../eql/fuzz/short_run.rs"]
mod short_run;
#[path = "../fuzz/targets.rs"]
mod targets;

use std::path::Path;

#[test]
fn rule() {
    short_run::run(&Path::new(env!("CARGO_MANIFEST_DIR")).join("fuzz/corpus/rule"), targets::rule);
}
