//! The dynamic linker's files that name other files: what is read because of them is not where rules look.

use std::ffi::OsStr;
use std::os::unix::ffi::{OsStrExt as _, OsStringExt as _};
use std::path::Path;

use super::PRELOAD;

const CONFIGURATION: &[u8] = b"/etc/ld.so.conf";
const DIRECTORY: &[u8] = b"/etc/ld.so.conf.d/";

/// What a file is to the dynamic linker.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Kind {
    /// Names libraries, a path each.
    Preload,
    /// Names directories, and other such files.
    Configuration,
}

impl Kind {
    /// By its path; what such a file includes is one too.
    pub(super) fn of(path: &[u8]) -> Option<Self> {
        if path.eq_ignore_ascii_case(PRELOAD.as_bytes()) {
            Some(Self::Preload)
        } else if path.eq_ignore_ascii_case(CONFIGURATION)
            || path.get(..DIRECTORY.len()).is_some_and(|start| start.eq_ignore_ascii_case(DIRECTORY))
        {
            Some(Self::Configuration)
        } else {
            None
        }
    }
}

/// The paths, or patterns of paths, that a file names. Names without a directory, which are looked for where libraries
/// are, are not among them; nor is what has variables (`$LIB`).
pub(super) fn named(kind: Kind, path: &[u8], contents: &[u8]) -> Vec<Vec<u8>> {
    let is_path = |name: &&[u8]| name.starts_with(b"/") && !name.contains(&b'$');
    match kind {
        Kind::Preload => {
            // Colons and white space are alike; a comment goes to the end of its line.
            let lines = contents.split(|&byte| byte == b'\n').map(before_comment);
            let names = lines.flat_map(|line| line.split(|&byte| byte == b':' || byte.is_ascii_whitespace()));
            names.filter(is_path).map(<[u8]>::to_vec).collect()
        }
        Kind::Configuration => {
            let lines = contents.split(|&byte| byte == b'\n').map(before_comment);
            let included = lines.filter_map(|line| {
                let line = line.trim_ascii();
                let rest = line.strip_prefix(b"include")?;
                rest.first()?.is_ascii_whitespace().then(|| rest.trim_ascii())
            });
            let patterns = included.flat_map(|line| line.split(u8::is_ascii_whitespace));
            patterns.filter(|pattern| !pattern.is_empty()).map(|pattern| beside(path, pattern)).collect()
        }
    }
}

fn before_comment(line: &[u8]) -> &[u8] {
    line.split(|&byte| byte == b'#').next().unwrap_or_default()
}

/// A relative name is relative to the directory of the file that it stands in.
fn beside(path: &[u8], name: &[u8]) -> Vec<u8> {
    let directory = Path::new(OsStr::from_bytes(path)).parent().unwrap_or(Path::new("/"));
    directory.join(OsStr::from_bytes(name)).into_os_string().into_vec()
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn names(path: &str, contents: &str) -> Vec<String> {
        let kind = Kind::of(path.as_bytes()).unwrap();
        let named = named(kind, path.as_bytes(), contents.as_bytes());
        named.into_iter().map(|name| String::from_utf8(name).unwrap()).collect()
    }

    #[test]
    fn a_preload_file_names_libraries_between_colons_and_white_space() {
        let contents = "/a.so /b.so:/c.so\t# /not.so\n\n/usr/$LIB/d.so plain.so\n/e.so";
        assert_eq!(names("/etc/ld.so.preload", contents), ["/a.so", "/b.so", "/c.so", "/e.so"]);
    }

    #[test]
    fn a_configuration_includes_others_relative_to_itself() {
        let contents = "/usr/lib/x\ninclude ld.so.conf.d/*.conf /opt/x.conf # no.conf\n  include\tother\nincluded\n#include x";
        assert_eq!(
            names("/etc/ld.so.conf", contents),
            ["/etc/ld.so.conf.d/*.conf", "/opt/x.conf", "/etc/other"]
        );
    }

    #[test]
    fn other_files_name_nothing() {
        assert_eq!(Kind::of(b"/etc/LD.so.conf.d/x"), Some(Kind::Configuration));
        assert_eq!(Kind::of(b"/etc/ld.so.conf.d"), None);
        assert_eq!(Kind::of(b"/etc/passwd"), None);
    }

    proptest! {
        #[test]
        fn no_contents_panic(contents in proptest::collection::vec(any::<u8>(), 0..200)) {
            named(Kind::Preload, b"/etc/ld.so.preload", &contents);
            named(Kind::Configuration, b"/etc/ld.so.conf", &contents);
        }
    }
}
