//! What the fuzzers run, for a short time and without a fuzzer: over the corpus, and over mutations of it.

#[path = "../fuzz/short_run.rs"]
mod short_run;
#[path = "../fuzz/targets.rs"]
mod targets;

use std::path::Path;

fn run(name: &str, target: fn(&[u8])) {
    short_run::run(&Path::new(env!("CARGO_MANIFEST_DIR")).join("fuzz/corpus").join(name), target);
}

#[test]
fn parse() {
    run("parse", targets::parse);
}

#[test]
fn compile() {
    run("compile", targets::compile);
}

#[test]
fn evaluate() {
    run("evaluate", targets::evaluate);
}
