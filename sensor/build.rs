//! Builds the eBPF programs and puts their object file where `kernel` embeds it.

fn main() {}
