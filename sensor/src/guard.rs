//! Whether others could change a file that decides what the sensor does: its configuration, rules, secrets.
//!
//! A file is safe if it, and all that leads to it, belongs to root or to the user that runs the sensor, and nobody else may write to
//! it. A directory with the sticky bit may be written to by all (what is in it cannot be replaced by others), and so
//! may what is mounted read-only, as orchestrators mount configuration.

use std::collections::VecDeque;
use std::ffi::OsString;
use std::fmt;
use std::fs::{self, Metadata};
use std::os::unix::fs::MetadataExt as _;
use std::path::{Component, Path, PathBuf};

use rustix::fs::StatVfsMountFlags;

/// As many symbolic links as the kernel follows.
const MAX_LINKS: usize = 40;
const STICKY: u32 = 0o1000;
const WRITABLE_BY_OTHERS: u32 = 0o022;

/// A file that others could change.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub struct Exposed {
    /// The file that is needed.
    file: PathBuf,
    /// What others may change: the file itself, or what leads to it.
    place: PathBuf,
    weakness: Weakness,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Weakness {
    /// It belongs to somebody else.
    Owner(u32),
    /// Its permissions let somebody else write to it.
    Mode(u32),
}

impl Exposed {
    /// What is wrong, without what to do.
    pub fn matter(&self) -> String {
        let Self { file, place, weakness } = self;
        let weakness = match weakness {
            Weakness::Owner(uid) => format!("belongs to user {uid}"),
            Weakness::Mode(mode) => format!("can be written to by others (mode {:04o})", mode & 0o7777),
        };
        if file == place {
            format!("{} {weakness}", file.display())
        } else {
            format!("{}: {}, which leads to it, {weakness}", file.display(), place.display())
        }
    }

    /// What to do.
    pub fn remedy(&self) -> String {
        let place = self.place.display();
        match self.weakness {
            Weakness::Owner(_) => format!("chown root {place}"),
            Weakness::Mode(_) => format!("chmod go-w {place}"),
        }
    }
}

impl fmt::Display for Exposed {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "{}: whoever can change it decides what is reported, so it is not used; {}",
            self.matter(),
            self.remedy()
        )
    }
}

/// Looks at a file or directory and all that leads to it. What is not there is for whoever reads it to report.
pub fn check(file: &Path) -> Result<(), Exposed> {
    let user = rustix::process::geteuid().as_raw();
    let exposed = |(place, weakness)| Exposed { file: file.to_owned(), place, weakness };
    let Ok(absolute) = std::path::absolute(file) else { return Ok(()) };
    walk(&absolute, user).map_err(exposed)
}

/// Follows `path` step by step, as the kernel does.
fn walk(path: &Path, user: u32) -> Result<(), (PathBuf, Weakness)> {
    let mut left: VecDeque<OsString> = names(path);
    let mut place = PathBuf::from("/");
    look_at(&place, user)?;
    let mut links = 0;
    while let Some(name) = left.pop_front() {
        if name == ".." {
            place.pop();
            continue;
        }
        place.push(name);
        let Some(metadata) = look_at(&place, user)? else { return Ok(()) };
        if !metadata.is_symlink() {
            continue;
        }
        links += 1;
        let Ok(target) = fs::read_link(&place) else { return Ok(()) };
        if links > MAX_LINKS {
            return Ok(());
        }
        place.pop();
        if target.is_absolute() {
            place = PathBuf::from("/");
        }
        for name in names(&target).into_iter().rev() {
            left.push_front(name);
        }
    }
    Ok(())
}

fn names(path: &Path) -> VecDeque<OsString> {
    let name = |component| match component {
        Component::Normal(name) => Some(name.to_owned()),
        Component::ParentDir => Some("..".into()),
        Component::RootDir | Component::CurDir | Component::Prefix(_) => None,
    };
    path.components().filter_map(name).collect()
}

fn look_at(place: &Path, user: u32) -> Result<Option<Metadata>, (PathBuf, Weakness)> {
    let Ok(metadata) = fs::symlink_metadata(place) else { return Ok(None) };
    match weakness(&metadata, user) {
        Some(weakness) if !is_read_only(place) => Err((place.to_owned(), weakness)),
        _ => Ok(Some(metadata)),
    }
}

fn weakness(metadata: &Metadata, user: u32) -> Option<Weakness> {
    let (owner, mode) = (metadata.uid(), metadata.mode());
    if owner != 0 && owner != user {
        return Some(Weakness::Owner(owner));
    }
    let is_sticky = metadata.is_dir() && mode & STICKY != 0;
    // What a symbolic link's permissions say, the kernel does not ask.
    let writable = !metadata.is_symlink() && !is_sticky && mode & WRITABLE_BY_OTHERS != 0;
    writable.then_some(Weakness::Mode(mode))
}

fn is_read_only(place: &Path) -> bool {
    // Of a symbolic link, where it lies.
    let place = if place.is_symlink() { place.parent().unwrap_or(place) } else { place };
    rustix::fs::statvfs(place).is_ok_and(|found| found.f_flag.contains(StatVfsMountFlags::RDONLY))
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::{PermissionsExt as _, chown, symlink};

    use super::*;

    fn set_mode(path: &Path, mode: u32) {
        fs::set_permissions(path, fs::Permissions::from_mode(mode)).unwrap();
    }

    /// A file in a directory of its own.
    fn tree() -> (tempfile::TempDir, PathBuf) {
        let top = tempfile::tempdir().unwrap();
        let directory = top.path().join("etc");
        fs::create_dir(&directory).unwrap();
        set_mode(&directory, 0o755);
        let file = directory.join("file");
        fs::write(&file, "").unwrap();
        set_mode(&file, 0o644);
        (top, file)
    }

    fn message(file: &Path, top: &Path) -> String {
        check(file).unwrap_err().to_string().replace(top.to_str().unwrap(), "")
    }

    #[test]
    fn a_file_that_only_its_owner_may_write_is_safe() {
        let (_top, file) = tree();
        assert_eq!(check(&file), Ok(()));
        assert_eq!(check(&file.with_extension("missing")), Ok(()));
    }

    #[test]
    fn permissions_of_the_file_and_of_what_leads_to_it_are_named_with_the_remedy() {
        let (top, file) = tree();
        set_mode(&file, 0o664);
        insta::assert_snapshot!(message(&file, top.path()), @"/etc/file can be written to by others (mode 0664): whoever can change it decides what is reported, so it is not used; chmod go-w /etc/file");
        set_mode(&file, 0o644);
        let directory = file.parent().unwrap();
        set_mode(directory, 0o757);
        insta::assert_snapshot!(message(&file, top.path()), @"/etc/file: /etc, which leads to it, can be written to by others (mode 0757): whoever can change it decides what is reported, so it is not used; chmod go-w /etc");
        set_mode(directory, 0o1777);
        assert_eq!(check(&file), Ok(()), "with the sticky bit, nobody can replace what is in it");
    }

    #[test]
    fn both_ends_of_a_symbolic_link_count() {
        let (top, file) = tree();
        let elsewhere = top.path().join("elsewhere");
        fs::create_dir(&elsewhere).unwrap();
        set_mode(&elsewhere, 0o755);
        let link = elsewhere.join("link");
        symlink("../etc/file", &link).unwrap();
        assert_eq!(check(&link), Ok(()));
        set_mode(&file, 0o646);
        assert!(message(&link, top.path()).contains("/etc/file, which leads to it"));
        set_mode(&file, 0o644);
        set_mode(&elsewhere, 0o777);
        assert!(message(&link, top.path()).contains("/elsewhere, which leads to it"));
        set_mode(&elsewhere, 0o755);
        let endless = elsewhere.join("endless");
        symlink("endless", &endless).unwrap();
        assert_eq!(check(&endless), Ok(()), "reading it will fail");
    }

    #[test]
    fn the_owner_must_be_root_or_this_user() {
        let (top, file) = tree();
        if chown(&file, Some(12345), None).is_err() {
            return;
        }
        insta::assert_snapshot!(message(&file, top.path()), @"/etc/file belongs to user 12345: whoever can change it decides what is reported, so it is not used; chown root /etc/file");
    }
}
