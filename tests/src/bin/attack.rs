//! Attacks on the dynamic linker's files: each subcommand does one technique and nothing else.
fn main() {}
