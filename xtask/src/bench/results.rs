//! What was measured, and what of it is kept.

use std::collections::BTreeMap;
use std::fs;
use std::path::Path;

use anyhow::{Context as _, Result};
use serde::{Deserialize, Serialize};

/// How the label of a measurement without anything begins.
const NOTHING: &str = "nothing ";
/// How much more may be added than before: instructions, or a part of what was added before.
const TOLERANCE: i64 = 25;
const TOLERANCE_PERCENT: i64 = 3;

/// Everything that is kept, by the series of the kernel.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Stored {
    /// What was measured last.
    pub kernels: BTreeMap<String, Results>,
}

/// What one boot gave.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Results {
    /// The build of the kernel: figures of another one cannot be compared.
    pub kernel: String,
    /// Instructions of each operation when nothing is attached, in the order in which they were measured.
    pub operations: Vec<(String, i64)>,
    /// What each configuration adds to them, in the order in which they were measured: operations with instructions.
    pub added: Vec<(String, BTreeMap<String, i64>)>,
    /// How much of it can be chance: the largest difference between two measurements of the same operation without anything.
    pub spread: i64,
    /// Whatever else was found out.
    pub facts: BTreeMap<String, String>,
}

impl Stored {
    /// Reads what is kept; nothing if there is no such file.
    pub fn read(path: &Path) -> Result<Self> {
        match fs::read(path) {
            Ok(bytes) => {
                serde_json::from_slice(&bytes).with_context(|| format!("reading {}", path.display()))
            }
            Err(_) => Ok(Self::default()),
        }
    }

    /// Adds what was measured. What was not stays, if it is about the same build of the kernel.
    pub fn add(&mut self, series: &str, results: Results) {
        let kept = self.kernels.entry(series.to_owned()).or_default();
        if kept.kernel != results.kernel {
            *kept = results;
            return;
        }
        kept.operations = results.operations;
        kept.spread = kept.spread.max(results.spread);
        kept.facts.extend(results.facts);
        for (configuration, added) in results.added {
            match kept.added.iter_mut().find(|(name, _)| *name == configuration) {
                Some((_, before)) => *before = added,
                None => kept.added.push((configuration, added)),
            }
        }
    }

    /// Keeps it.
    pub fn write(&self, path: &Path) -> Result<()> {
        let mut text = serde_json::to_string_pretty(self)?;
        text.push('\n');
        fs::write(path, text).with_context(|| format!("writing {}", path.display()))
    }
}

impl Results {
    /// Reads what the guest printed. What a configuration adds is its measurement less the mean of those before and after it,
    /// with nothing attached, or less that before it where there is none after it.
    pub fn parse(output: &str) -> Result<Self> {
        let mut results = Self::default();
        let mut measured: Vec<(String, Vec<(String, i64)>)> = Vec::new();
        for line in output.lines() {
            if let [label, operation, instructions] = line.split('\t').collect::<Vec<_>>()[..] {
                let instructions = instructions.parse().with_context(|| format!("reading `{line}`"))?;
                if measured.last().is_none_or(|(last, _)| last != label) {
                    measured.push((label.to_owned(), Vec::new()));
                }
                if let Some((_, figures)) = measured.last_mut() {
                    figures.push((operation.to_owned(), instructions));
                }
            } else if let Some((name, value)) = line.split_once('=') {
                results.facts.insert(name.to_owned(), value.to_owned());
            }
        }
        results.kernel =
            results.facts.remove("kernel").context("the guest did not say what kernel it has")?;
        let (_, first) = measured.first().context("nothing was measured")?;
        results.operations.clone_from(first);
        for (index, (label, with)) in measured.iter().enumerate() {
            let nothing = |index: usize| measured.get(index).filter(|(label, _)| label.starts_with(NOTHING));
            let Some((_, before)) = index.checked_sub(1).and_then(nothing) else { continue };
            if label.starts_with(NOTHING) {
                continue;
            }
            // After the last one nothing is as it was before.
            let after = nothing(index + 1).map_or(before, |(_, after)| after);
            let mut added = BTreeMap::new();
            for (((operation, count), (_, before)), (_, after)) in with.iter().zip(before).zip(after) {
                added.insert(operation.clone(), count - i64::midpoint(*before, *after));
                results.spread = results.spread.max((before - after).abs());
            }
            results.added.push((label.clone(), added));
        }
        Ok(results)
    }

    /// What a configuration adds to an operation.
    pub fn added(&self, configuration: &str, operation: &str) -> Option<i64> {
        let (_, added) = self.added.iter().find(|(name, _)| name == configuration)?;
        added.get(operation).copied()
    }

    /// Of what was measured twice, keeps what added less: chance only adds.
    pub fn keep_least(&mut self, again: &Self) {
        for (configuration, added) in &mut self.added {
            for (operation, least) in added {
                *least = again.added(configuration, operation).map_or(*least, |again| again.min(*least));
            }
        }
    }

    /// What adds more than it did before.
    pub fn worse_than(&self, before: &Self) -> Vec<String> {
        let mut worse = Vec::new();
        for (configuration, added) in &self.added {
            for (operation, now) in added {
                let Some(then) = before.added(configuration, operation) else { continue };
                if now - then > TOLERANCE.max(then * TOLERANCE_PERCENT / 100) {
                    worse.push(format!("{configuration}: {operation}: {now} instructions, were {then}"));
                }
            }
        }
        worse
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const OUTPUT: &str = "kernel=6.12 #1\nnothing 1\ta\t1000\nnothing 1\tb\t50\nx\ta\t1200\nx\tb\t51\nnothing 2\ta\t1010\n\
                          nothing 2\tb\t50\nfact=7\n";

    #[test]
    fn a_configuration_adds_what_it_has_more_than_the_mean_of_its_neighbours() {
        let results = Results::parse(OUTPUT).unwrap();
        assert_eq!(results.kernel, "6.12 #1");
        assert_eq!((results.added("x", "a"), results.added("x", "b")), (Some(195), Some(1)));
        assert_eq!(results.spread, 10);
        assert_eq!(results.facts["fact"], "7");
        let (last, _) = OUTPUT.split_once("nothing 2").unwrap();
        assert_eq!(Results::parse(last).unwrap().added("x", "a"), Some(200));
    }

    #[test]
    fn what_is_not_measured_again_stays_unless_the_kernel_is_another() {
        let mut stored = Stored::default();
        stored.add("6.12", Results::parse(OUTPUT).unwrap());
        stored.add("6.12", Results::parse(&OUTPUT.replace('x', "y")).unwrap());
        let kept = &stored.kernels["6.12"];
        assert_eq!((kept.added("x", "a"), kept.added("y", "a")), (Some(195), Some(195)));
        stored.add("6.12", Results::parse(&OUTPUT.replace("#1", "#2").replace('x', "y")).unwrap());
        assert_eq!(stored.kernels["6.12"].added("x", "a"), None);
    }

    #[test]
    fn worse_is_what_exceeds_both_tolerances() {
        let results = |added: i64| Results {
            added: vec![("x".to_owned(), BTreeMap::from([("a".to_owned(), added)]))],
            ..Results::default()
        };
        assert!(results(225).worse_than(&results(200)).is_empty());
        assert_eq!(results(226).worse_than(&results(200)).len(), 1);
        assert!(results(2060).worse_than(&results(2000)).is_empty());
        assert_eq!(results(2061).worse_than(&results(2000)).len(), 1);
        assert!(results(10).worse_than(&results(2000)).is_empty());
        let mut twice = results(3000);
        twice.keep_least(&results(2010));
        twice.keep_least(&results(2500));
        assert_eq!(twice.added("x", "a"), Some(2010));
    }
}
