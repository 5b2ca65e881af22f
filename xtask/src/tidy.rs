//! `cargo xtask tidy`: what the compiler does not check. Which stage may know of which, that every module says what it
//! is for, that every package is linted; and a question to the author of every long file.

use std::fs;
use std::path::{Path, PathBuf};

use anyhow::{Context as _, Result, bail};

use crate::command::{complain, workspace};

mod source;
mod stages;

use source::Source;

/// More lines than this, tests aside, are a question.
const LONG_FILE: usize = 400;

/// Checks the tree; with `questions`, also lists the long files.
pub fn run(questions: bool) -> Result<()> {
    let top = workspace();
    let mut complaints = Vec::new();
    let mut long = Vec::new();
    for package in packages(&top)? {
        check_lints(&package, &top, &mut complaints)?;
        for directory in ["src", "tests", "benches", "examples"] {
            for path in files_below(&package.join(directory))? {
                let name = shown(&path, &top);
                if path.extension().is_some_and(|extension| extension == "snap") {
                    check_snapshot(&path, &name, &top, &mut complaints)?;
                } else if path.extension().is_some_and(|extension| extension == "rs") {
                    let source = Source::read(&path)?;
                    if !path.ends_with("tests.rs") && !source.has_module_docs() {
                        complaints.push(format!("{name}: begin with `//!` and what the module is for"));
                    }
                    complaints.extend(stages::check(&name, &source));
                    if source.lines() > LONG_FILE {
                        long.push(format!("{name}: {} lines: is it one thing?", source.lines()));
                    }
                }
            }
        }
    }
    if questions {
        for question in &long {
            complain(question);
        }
    }
    if !complaints.is_empty() {
        bail!("the tree is not tidy:\n{}", complaints.join("\n"));
    }
    Ok(())
}

fn packages(top: &Path) -> Result<Vec<PathBuf>> {
    let mut packages = Vec::new();
    for entry in fs::read_dir(top)? {
        let path = entry?.path();
        if path.join("Cargo.toml").exists() {
            packages.push(path);
        }
    }
    packages.sort();
    Ok(packages)
}

/// A lint table that a member does not inherit checks nothing there.
fn check_lints(package: &Path, top: &Path, complaints: &mut Vec<String>) -> Result<()> {
    let manifest = package.join("Cargo.toml");
    let text = fs::read_to_string(&manifest).with_context(|| format!("reading {}", manifest.display()))?;
    if !text.contains("[lints]\nworkspace = true") {
        complaints.push(format!("{}: add `[lints]` with `workspace = true`", shown(&manifest, top)));
    }
    Ok(())
}

/// A snapshot whose test is gone is compared with nothing.
fn check_snapshot(path: &Path, name: &str, top: &Path, complaints: &mut Vec<String>) -> Result<()> {
    let text = fs::read_to_string(path).with_context(|| format!("reading {name}"))?;
    let source = text.lines().find_map(|line| line.strip_prefix("source: ")).unwrap_or_default();
    let stem = path.file_stem().unwrap_or_default().to_string_lossy();
    let last = stem.rsplit("__").next().unwrap_or(&stem);
    let base = last.trim_end_matches(|character: char| character.is_ascii_digit()).trim_end_matches('-');
    let found = fs::read_to_string(top.join(source.trim_matches('"')));
    if !found.is_ok_and(|source| source.contains(last) || source.contains(base)) {
        complaints.push(format!("{name}: no test `{base}` in {source} makes this snapshot: remove it"));
    }
    Ok(())
}

fn files_below(directory: &Path) -> Result<Vec<PathBuf>> {
    let mut files = Vec::new();
    let Ok(entries) = fs::read_dir(directory) else { return Ok(files) };
    for entry in entries {
        let path = entry?.path();
        if path.is_dir() {
            files.extend(files_below(&path)?);
        } else {
            files.push(path);
        }
    }
    files.sort();
    Ok(files)
}

fn shown(path: &Path, top: &Path) -> String {
    path.strip_prefix(top).unwrap_or(path).display().to_string()
}
