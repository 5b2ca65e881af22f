//! The pages for people say what is so: what they show is run, what they configure is loaded, what they link to is there.
//!
//! - A block of code that begins with a language and a name, as `toml NAME`, is the file NAME in the page's directory. One that is
//!   called `ldsentry.toml` must be a configuration that loads.
//! - A block of the language `console` holds commands behind `$ `, each with what it prints and, unless it is 0, `(exit code N)`. They are run in that
//!   directory, from top to bottom; with `UPDATE_DOCS` in the environment, the page gets what they print.
#![allow(clippy::unwrap_used, reason = "in a test, a panic is the answer")]

use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

/// Where the workspace is.
fn workspace() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("..").canonicalize().unwrap()
}

/// The pages, README first.
fn pages() -> Vec<PathBuf> {
    let top = workspace();
    let mut pages: Vec<_> = fs::read_dir(top.join("docs"))
        .unwrap()
        .map(|entry| entry.unwrap().path())
        .filter(|path| path.extension().is_some_and(|extension| extension == "md"))
        .collect();
    pages.sort();
    let at_top = ["README.md", "ARCHITECTURE.md", "CONTRIBUTING.md", "CHANGELOG.md", "SECURITY.md"];
    at_top.iter().map(|name| top.join(name)).chain(pages).collect()
}

/// A page's directory, in which its commands run.
struct Site {
    directory: tempfile::TempDir,
}

impl Site {
    fn new() -> Self {
        Self { directory: tempfile::tempdir().unwrap() }
    }

    fn write(&self, name: &str, content: &str) {
        let path = self.directory.path().join(name);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(path, content).unwrap();
    }

    /// What a command prints, errors included, and its exit code unless that is 0.
    fn run(&self, command: &str) -> String {
        let binary = Path::new(env!("CARGO_BIN_EXE_ldsentry"));
        let path = format!("{}:{}", binary.parent().unwrap().display(), std::env::var("PATH").unwrap());
        let mut shell = Command::new("sh");
        shell.args(["-c", &format!("exec 2>&1\n{command}")]).current_dir(&self.directory).env("PATH", path);
        let output = shell.stdin(Stdio::null()).output().unwrap();
        let mut text = String::from_utf8(output.stdout).unwrap();
        let code = output.status.code().unwrap();
        if code != 0 {
            text.extend(["(exit code ", &code.to_string(), ")\n"]);
        }
        text.lines().map(|line| line.trim_end().to_owned() + "\n").collect()
    }

    /// A session with what its commands print now. In a list, all of it is indented.
    fn session(&self, told: &str) -> String {
        let indent = &told[..told.len() - told.trim_start().len()];
        assert!(told.trim_start().starts_with("$ "), "a session begins with a command: {told}");
        let mut now = String::new();
        let mut lines = told.lines().map(|line| line.strip_prefix(indent).unwrap_or(line));
        while let Some(line) = lines.next() {
            let Some(command) = line.strip_prefix("$ ") else { continue };
            let mut command = command.to_owned();
            now.extend([line, "\n"]);
            // A line that ends in a backslash goes on.
            while command.ends_with('\\') {
                let more = lines.next().unwrap_or_default();
                now.extend([more, "\n"]);
                command.extend(["\n", more]);
            }
            now += &self.run(&command);
        }
        now.lines().map(|line| [indent, line, "\n"].concat()).collect()
    }
}

/// The page as it would be if all that it shows were run now, and what is wrong with its configurations.
fn run_page(text: &str) -> (String, Vec<String>) {
    let site = Site::new();
    let (mut now, mut faults) = (String::new(), Vec::new());
    let mut rest = text;
    while let Some(start) = rest.find("```") {
        let (before, block) = rest.split_at(start);
        let Some((info, body)) = block[3..].split_once('\n') else { break };
        let Some((body, after)) = body.split_once("```\n") else { break };
        let mut words = info.split_whitespace();
        let (language, name) = (words.next(), words.next());
        now += before;
        now.extend(["```", info, "\n"]);
        if let Some(name) = name {
            site.write(name, body);
            if name == "ldsentry.toml" {
                let shown = site.run("ldsentry config show --config ldsentry.toml");
                if shown.contains("(exit code") {
                    faults.push(format!("{body}\n{shown}"));
                }
            }
        }
        // The indent of the last line, if there is one, is that of what ends the block.
        let (body, indent) = body.rsplit_once('\n').map_or(("", body), |(body, indent)| (body, indent));
        now += &if language == Some("console") { site.session(body) } else { [body, "\n"].concat() };
        now.extend([indent, "```\n"]);
        rest = after;
    }
    (now + rest, faults)
}

#[test]
fn pages_show_what_is_printed_and_configurations_that_load() {
    for page in pages() {
        let text = fs::read_to_string(&page).unwrap();
        let (now, faults) = run_page(&text);
        assert!(faults.is_empty(), "{}: {}", page.display(), faults.join("\n"));
        if std::env::var_os("UPDATE_DOCS").is_some() && now != text {
            fs::write(&page, &now).unwrap();
        } else if now != text {
            let differs = text.lines().zip(now.lines()).position(|(told, printed)| told != printed);
            let line = differs.unwrap_or_default();
            panic!(
                "{}:{} is stale, `UPDATE_DOCS=1 cargo test -p sensor` writes it anew:\n{}\n{}",
                page.display(),
                line + 1,
                text.lines().nth(line).unwrap_or_default(),
                now.lines().nth(line).unwrap_or_default()
            );
        }
    }
}

#[test]
fn links_lead_somewhere() {
    let mut dead = Vec::new();
    for page in pages() {
        let text = fs::read_to_string(&page).unwrap();
        for link in text.split("](").skip(1).filter_map(|rest| rest.split(')').next()) {
            let file = link.split('#').next().unwrap_or_default();
            let is_elsewhere = link.contains("://") || file.is_empty();
            if !is_elsewhere && !page.parent().unwrap().join(file).exists() {
                dead.push(format!("{}: {link}", page.display()));
            }
        }
    }
    assert!(dead.is_empty(), "{dead:#?}");
}

/// The test itself must be able to fail.
#[test]
fn what_is_not_so_is_noticed() {
    let (now, faults) = run_page("```console\n$ echo one; false\ntwo\n```\n");
    assert_eq!(now, "```console\n$ echo one; false\none\n(exit code 1)\n```\n");
    assert!(faults.is_empty());
    let (_, faults) = run_page("```toml ldsentry.toml\n[sensors]\n```\n");
    assert!(faults[0].contains("ldsentry.toml:1"), "{faults:?}");
}
