//! What an event says of its file.

use super::marks::{Facts, FileSystem};
use super::process::Who;
use crate::enrich::text_path;
use crate::event::{File, Path, View};

/// The file at `paths` as it was found, if it still was there.
pub(super) fn file(
    paths: &[Vec<u8>],
    original_paths: &[Vec<u8>],
    facts: Option<Facts>,
    file_system: FileSystem,
    who: &Who,
) -> File {
    File {
        paths: views(paths, who),
        original_paths: views(original_paths, who),
        mode: facts.as_ref().map(|facts| facts.mode),
        device: file_system.device,
        inode: facts.as_ref().map(|facts| facts.inode),
        file_system: file_system.kind,
        target: facts.and_then(|facts| facts.target).map(|target| target.as_slice().into()),
        linked: None,
        mount: None,
    }
}

/// The paths in the process's view, where that is known, and in the host's.
pub(super) fn views(paths: &[Vec<u8>], who: &Who) -> Vec<Path> {
    let mut views = Vec::with_capacity(paths.len());
    for path in paths {
        match who.root.as_deref() {
            Some(b"/") => views.push(text_path(path, View::Process, false)),
            Some(root) => {
                let seen = path.strip_prefix(root).filter(|seen| seen.starts_with(b"/"));
                views.extend(seen.map(|seen| text_path(seen, View::Process, false)));
                views.push(text_path(path, View::Host, false));
            }
            None => views.push(text_path(path, View::Host, false)),
        }
    }
    views
}

#[cfg(test)]
mod tests {
    use super::*;

    fn seen_from(root: Option<&str>) -> Vec<(String, View)> {
        let who = Who { root: root.map(Into::into), ..Who::unknown(1) };
        let views = views(&[b"/srv/jail/etc/ld.so.preload".to_vec()], &who);
        views.into_iter().map(|path| (path.text, path.view)).collect()
    }

    #[test]
    fn the_views_are_those_of_the_process_and_of_the_host() {
        let whole = "/srv/jail/etc/ld.so.preload".to_owned();
        assert_eq!(seen_from(Some("/")), [(whole.clone(), View::Process)]);
        assert_eq!(seen_from(None), [(whole.clone(), View::Host)]);
        assert_eq!(
            seen_from(Some("/srv/jail")),
            [("/etc/ld.so.preload".to_owned(), View::Process), (whole.clone(), View::Host)]
        );
        assert_eq!(seen_from(Some("/srv/j")), [(whole, View::Host)], "it only begins like the root");
    }
}
