//! Rules from several places, in one order.

use std::collections::HashMap;
use std::fs;
use std::io;
use std::path::{Path, PathBuf};

use super::diagnostic::{Diagnostic, Level};
use super::{Parsed, Rule};

/// What `--rules` calls the rules in the binary.
pub const BUILTIN: &str = "builtin";

macro_rules! builtin {
    ($($name:literal)*) => {
        &[$((
            concat!("builtin:linux/persistence/", $name, ".toml"),
            include_str!(concat!("../../../rules/linux/persistence/", $name, ".toml")),
        ),)*]
    };
}

const BUILTIN_RULES: &[(&str, &str)] = builtin! {
    "dynamic_linker_creation_or_modification"
    "dynamic_linker_modification_in_place"
    "dynamic_linker_cache_or_loader_replacement"
};

/// The deepest directory that is looked into; a loop of symbolic links ends here.
const MAX_DEPTH: usize = 16;

/// The rules of a run, in the order in which they are listed and tried.
#[derive(Debug, Default)]
pub struct RuleSet {
    /// Rules to run.
    pub rules: Vec<Rule>,
    /// Rules that are not for this sensor.
    pub skipped: Vec<Skipped>,
    /// What authors should know.
    pub warnings: Vec<Diagnostic>,
    /// What is wrong. A set with errors should not be run.
    pub errors: Vec<Diagnostic>,
}

/// A rule that is left out, and why.
#[derive(Debug, Clone, PartialEq, Eq, serde::Serialize)]
pub struct Skipped {
    /// The file.
    pub origin: String,
    /// `rule_id`
    #[serde(rename = "rule_id")]
    pub id: String,
    /// `name`
    pub name: String,
    /// Why.
    pub reason: String,
}

impl RuleSet {
    /// The rules in the binary.
    pub fn builtin() -> Self {
        let mut set = Self::default();
        set.add_builtin();
        set
    }

    /// The rules of `sources`, each a directory (looked through to the bottom), a file or [`BUILTIN`]; the built-in
    /// ones if there are no sources. A file replaces the built-in rule of the same `rule_id`.
    pub fn load(sources: &[PathBuf]) -> Self {
        let mut set = Self::default();
        if sources.is_empty() {
            set.add_builtin();
        }
        for source in sources {
            if source.as_os_str() == BUILTIN {
                set.add_builtin();
            } else {
                set.add_path(source);
            }
        }
        set.resolve_duplicates();
        if set.rules.is_empty() && set.errors.is_empty() {
            let places: Vec<_> = sources.iter().map(|source| source.display().to_string()).collect();
            let message = format!("no rule to run was found ({} skipped)", set.skipped.len());
            let help = "a rule is a file *.toml with type = \"eql\" and a query `file where …`";
            let error = Diagnostic::whole(Level::Error, &places.join(", "), message, Some(help.to_owned()));
            set.errors.push(error);
        }
        set
    }

    fn add_builtin(&mut self) {
        for (origin, source) in BUILTIN_RULES {
            self.add_file(origin, source);
        }
    }

    fn add_path(&mut self, path: &Path) {
        let mut files = Vec::new();
        let listed = match fs::metadata(path) {
            Ok(metadata) if metadata.is_dir() => list(path, MAX_DEPTH, &mut files, &mut self.errors),
            Ok(_) => {
                files.push(path.to_owned());
                Ok(())
            }
            Err(error) => Err(error),
        };
        if let Err(error) = listed {
            let help = "give --rules a directory with rule files, or `builtin`".to_owned();
            self.errors.push(unreadable(path, &error, Some(help)));
        }
        files.sort();
        for file in files {
            match fs::read_to_string(&file) {
                Ok(source) => self.add_file(&file.display().to_string(), &source),
                Err(error) => self.errors.push(unreadable(&file, &error, None)),
            }
        }
    }

    fn add_file(&mut self, origin: &str, source: &str) {
        match Rule::parse(origin, source) {
            Parsed::Rule(rule, warnings) => {
                self.rules.push(*rule);
                self.warnings.extend(warnings);
            }
            Parsed::Skipped(skipped) => self.skipped.push(skipped),
            Parsed::Invalid(errors) => self.errors.extend(errors),
        }
    }

    fn resolve_duplicates(&mut self) {
        let mut seen: HashMap<String, String> = HashMap::new();
        for rule in self.rules.iter().filter(|rule| !is_builtin(rule)) {
            if let Some(first) = seen.insert(rule.id.clone(), rule.origin.clone()) {
                let message = format!("rule_id `{}` is also that of {first}", rule.id);
                let help = "give one of the two an id of its own, or remove it".to_owned();
                self.errors.push(Diagnostic::whole(Level::Error, &rule.origin, message, Some(help)));
            }
        }
        let mut builtin = std::collections::HashSet::new();
        self.rules.retain(|rule| {
            !is_builtin(rule) || (!seen.contains_key(&rule.id) && builtin.insert(rule.id.clone()))
        });
    }
}

fn is_builtin(rule: &Rule) -> bool {
    rule.origin.starts_with("builtin:")
}

/// Collects the rule files below `directory`. Hidden ones are left out: editors put their own there.
fn list(
    directory: &Path,
    depth: usize,
    files: &mut Vec<PathBuf>,
    errors: &mut Vec<Diagnostic>,
) -> io::Result<()> {
    for entry in fs::read_dir(directory)? {
        let path = entry?.path();
        let hidden = path.file_name().is_some_and(|name| name.as_encoded_bytes().starts_with(b"."));
        if hidden {
            continue;
        }
        if path.is_dir() {
            if depth > 0
                && let Err(error) = list(&path, depth - 1, files, errors)
            {
                errors.push(unreadable(&path, &error, None));
            }
        } else if path.extension().is_some_and(|extension| extension == "toml") {
            files.push(path);
        }
    }
    Ok(())
}

fn unreadable(path: &Path, error: &io::Error, help: Option<String>) -> Diagnostic {
    Diagnostic::whole(
        Level::Error,
        &path.display().to_string(),
        format!("cannot read the rules: {error}"),
        help,
    )
}
