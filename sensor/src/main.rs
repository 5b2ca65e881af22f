//! `ldsentry`, the command.

fn main() {}
