//! A short run without a fuzzer, for tests.

use std::fs;
use std::path::Path;
use std::time::{Duration, Instant};

/// A generator of numbers that look random enough (xorshift).
struct Numbers(u64);

impl Numbers {
    fn below(&mut self, end: usize) -> usize {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        (self.0 % end.max(1) as u64) as usize
    }
}

fn mutated(input: &[u8], other: &[u8], numbers: &mut Numbers) -> Vec<u8> {
    let mut bytes = input.to_vec();
    for _ in 0..=numbers.below(4) {
        let at = numbers.below(bytes.len());
        match numbers.below(5) {
            0 => bytes.truncate(at),
            1 if at < bytes.len() => drop(bytes.remove(at)),
            2 => bytes.insert(at, b"()\"'`*?~:=!,.\\/0a \n[|-"[numbers.below(22)]),
            3 => {
                let from = numbers.below(other.len());
                let piece = &other[from..(from + numbers.below(24)).min(other.len())];
                bytes.splice(at..at, piece.iter().copied());
            }
            _ if at < bytes.len() => bytes[at] ^= 1 << numbers.below(8),
            _ => {}
        }
    }
    bytes
}

/// Gives `target` the inputs of its corpus, and for two seconds mutations of them.
pub fn run(corpus: &Path, target: fn(&[u8])) {
    let mut paths: Vec<_> =
        fs::read_dir(corpus).expect("the corpus").flatten().map(|entry| entry.path()).collect();
    paths.sort();
    let inputs: Vec<Vec<u8>> = paths.iter().map(|path| fs::read(path).expect("an input")).collect();
    assert!(inputs.len() > 5, "the corpus is in the tree");
    for input in &inputs {
        target(input);
    }
    // The inputs of one run are those of the next, as far as the time goes.
    let mut numbers = Numbers(0x2545_f491_4f6c_dd1d);
    let started = Instant::now();
    while started.elapsed() < Duration::from_secs(2) {
        let (input, other) = (&inputs[numbers.below(inputs.len())], &inputs[numbers.below(inputs.len())]);
        target(&mutated(input, other, &mut numbers));
    }
}
