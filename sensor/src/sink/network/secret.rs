//! Secrets, and what else is read from files while the daemon runs: read again when a file changes, never shown.

use std::fmt;
use std::fs;
use std::io;
use std::os::unix::fs::MetadataExt as _;
use std::path::{Path, PathBuf};

use crate::config::SecretSource;
use crate::sink::Failure;

/// A secret's text. It has no `Display`, and its `Debug` does not show it.
pub(super) struct Secret(String);

impl Secret {
    pub(super) fn read(source: &SecretSource) -> Result<Self, Failure> {
        let (text, place) = match source {
            SecretSource::File(path) => {
                guard(path)?;
                let text = fs::read_to_string(path).map_err(|error| unreadable(path, error))?;
                (text, path.display().to_string())
            }
            SecretSource::Environment(name) => {
                let text = std::env::var(name).map_err(|error| Failure {
                    attempt: format!("cannot read the secret in the environment variable {name}"),
                    source: error.into(),
                    remedy: format!("set {name} for the daemon (`Environment=` or `EnvironmentFile=`)"),
                })?;
                (text, name.clone())
            }
        };
        let text = text.trim_end_matches(['\r', '\n']);
        if text.is_empty() || text.contains(char::is_control) {
            return Err(Failure {
                attempt: format!("cannot use the secret in {place}"),
                source: "it is empty, or more than one line".into(),
                remedy: "write the secret there, and nothing else".to_owned(),
            });
        }
        Ok(Self(text.to_owned()))
    }

    /// One that is made of another.
    pub(super) fn new(text: String) -> Self {
        Self(text)
    }

    pub(super) fn reveal(&self) -> &str {
        &self.0
    }
}

impl fmt::Debug for Secret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Secret")
    }
}

/// Reads a file that the configuration names.
pub(super) fn read_file(path: &Path) -> Result<Vec<u8>, Failure> {
    guard(path)?;
    fs::read(path).map_err(|error| unreadable(path, error))
}

/// Who can change a secret, or a certificate, decides where alerts go.
fn guard(path: &Path) -> Result<(), Failure> {
    crate::guard::check(path).map_err(|exposed| Failure {
        attempt: format!("cannot use {}", path.display()),
        source: exposed.matter().into(),
        remedy: exposed.remedy(),
    })
}

fn unreadable(path: &Path, error: io::Error) -> Failure {
    let remedy = match error.kind() {
        io::ErrorKind::NotFound => "create it, or correct its path in the configuration",
        io::ErrorKind::PermissionDenied => "let the user that runs ldsentry read it",
        io::ErrorKind::InvalidData => "save it as UTF-8",
        _ => "see what is wrong with it, or correct its path in the configuration",
    };
    Failure {
        attempt: format!("cannot read {}", path.display()),
        source: error.into(),
        remedy: remedy.to_owned(),
    }
}

/// A value that is made from files, and made anew when one of them changes.
#[derive(Debug)]
pub(super) struct Watched<T> {
    files: Vec<PathBuf>,
    made: Option<(Vec<Fingerprint>, T)>,
}

/// Device, inode, size and time of the last change; nothing for a file that is not there.
type Fingerprint = Option<(u64, u64, u64, i64, i64)>;

impl<T> Watched<T> {
    pub(super) fn new(files: impl IntoIterator<Item = PathBuf>) -> Self {
        Self { files: files.into_iter().collect(), made: None }
    }

    /// The value, from `make` if there is none yet or a file has changed.
    pub(super) fn get(&mut self, make: impl FnOnce() -> Result<T, Failure>) -> Result<&mut T, Failure> {
        let now: Vec<Fingerprint> = self.files.iter().map(|path| fingerprint(path)).collect();
        let current = match self.made.take() {
            Some((then, value)) if then == now => (then, value),
            _ => (now, make()?),
        };
        Ok(&mut self.made.insert(current).1)
    }
}

fn fingerprint(path: &Path) -> Fingerprint {
    let found = fs::metadata(path).ok()?;
    Some((found.dev(), found.ino(), found.size(), found.ctime(), found.ctime_nsec()))
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::PermissionsExt as _;

    use super::*;

    #[test]
    fn a_secret_is_what_stands_in_its_file_and_never_shown() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("key");
        let read = || Secret::read(&SecretSource::File(path.clone()));
        let message = |result: Result<Secret, Failure>| {
            result.unwrap_err().to_string().replace(directory.path().to_str().unwrap(), "DIR")
        };
        insta::assert_snapshot!(message(read()), @"cannot read DIR/key: No such file or directory (os error 2); create it, or correct its path in the configuration");
        fs::write(&path, "hunter2\n").unwrap();
        let secret = read().unwrap();
        assert_eq!(secret.reveal(), "hunter2");
        assert_eq!(format!("{secret:?}"), "Secret");
        fs::set_permissions(&path, fs::Permissions::from_mode(0o622)).unwrap();
        insta::assert_snapshot!(message(read()), @"cannot use DIR/key: DIR/key can be written to by others (mode 0622); chmod go-w DIR/key");
        fs::set_permissions(&path, fs::Permissions::from_mode(0o600)).unwrap();
        fs::write(&path, "hunter2\r\nX-Injected: 1\n").unwrap();
        insta::assert_snapshot!(message(read()), @"cannot use the secret in DIR/key: it is empty, or more than one line; write the secret there, and nothing else");
        let missing = Secret::read(&SecretSource::Environment("LDSENTRY_TEST_NO_SUCH".to_owned()));
        insta::assert_snapshot!(message(missing), @"cannot read the secret in the environment variable LDSENTRY_TEST_NO_SUCH: environment variable not found; set LDSENTRY_TEST_NO_SUCH for the daemon (`Environment=` or `EnvironmentFile=`)");
    }

    #[test]
    fn what_is_made_from_a_file_is_made_anew_when_it_changes() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("key");
        let mut watched = Watched::new([path.clone()]);
        let mut value = || watched.get(|| Ok(fs::read_to_string(&path).unwrap_or_default())).unwrap().clone();
        assert_eq!(value(), "");
        fs::write(&path, "one").unwrap();
        assert_eq!(value(), "one");
        // As an orchestrator exchanges secrets.
        fs::write(directory.path().join("new"), "two").unwrap();
        fs::rename(directory.path().join("new"), &path).unwrap();
        assert_eq!(value(), "two");
        let mut made = 0;
        for _ in 0..2 {
            watched
                .get(|| {
                    made += 1;
                    Ok(String::new())
                })
                .unwrap();
        }
        assert_eq!(made, 0, "nothing has changed");
    }
}
