//! Where rules' files are, for sources that watch directories and not the whole kernel.

/// The beginning of all paths that a text or pattern of a rule can be about.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct Prefix {
    /// The bytes; rules may compare them without regard to case.
    pub text: Vec<u8>,
    /// Anything may follow; else the text is the whole path.
    pub open: bool,
}

impl Prefix {
    /// Whether a path begins so. Rules that do not disregard case tell the rest apart.
    pub fn covers(&self, path: &[u8]) -> bool {
        let beginning = if self.open { path.get(..self.text.len()) } else { Some(path) };
        beginning.is_some_and(|beginning| beginning.eq_ignore_ascii_case(&self.text))
    }

    /// Whether such a path can be that of an entry of a directory.
    pub fn holds(&self, directory: &[u8]) -> bool {
        let length = directory.strip_suffix(b"/").unwrap_or(directory).len() + 1;
        let is_name = |rest: &[u8]| (self.open || !rest.is_empty()) && !rest.contains(&b'/');
        self.leads_through(directory) && self.text.get(length..).is_none_or(is_name)
    }

    /// Whether a directory is on the way to such a path, or can itself be the beginning of one.
    pub fn leads_through(&self, directory: &[u8]) -> bool {
        let directory = directory.strip_suffix(b"/").unwrap_or(directory);
        let length = directory.len() + 1;
        let common = self.text.len().min(length);
        let slash = directory.iter().chain(b"/").take(common);
        (self.open || length <= self.text.len())
            && slash.zip(&self.text).all(|(ours, wanted)| ours.eq_ignore_ascii_case(wanted))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn directories_on_the_way_and_within_are_told_from_others() {
        let leads = |text: &str, open, directory: &str| {
            Prefix { text: text.into(), open }.leads_through(directory.as_bytes())
        };
        for directory in ["/", "/etc", "/ETC"] {
            assert!(leads("/etc/ld.so.preload", false, directory), "{directory}");
        }
        for directory in ["/e", "/etcetera", "/etc/ld.so.preload", "/usr", "/etc/x"] {
            assert!(!leads("/etc/ld.so.preload", false, directory), "{directory}");
        }
        for directory in
            ["/", "/etc", "/etc/ld.so.conf.d", "/etc/LD.so.conf.d/a/b", "/etc/ld.so.conf.d/\u{ff}"]
        {
            assert!(leads("/etc/ld.so.conf.d/", true, directory), "{directory}");
        }
        assert!(leads("/etc/ld.so", true, "/etc/ld.so.conf.d"), "the star may stand for a slash");
        assert!(!leads("/etc/ld.so.conf.d/", true, "/etc/ld.so.conf"));
    }

    #[test]
    fn directories_that_hold_what_is_asked_for_are_told_from_the_way_there() {
        let holds = |text: &str, open, directory: &str| {
            Prefix { text: text.into(), open }.holds(directory.as_bytes())
        };
        assert!(holds("/etc/ld.so.preload", false, "/ETC") && holds("/x", false, "/"));
        assert!(!holds("/etc/ld.so.preload", false, "/") && !holds("/etc/ld.so.preload", false, "/usr"));
        for directory in ["/etc/ld.so.conf.d", "/etc/ld.so.conf.d/a/b"] {
            assert!(holds("/etc/ld.so.conf.d/", true, directory), "{directory}");
        }
        assert!(!holds("/etc/ld.so.conf.d/", true, "/etc"));
        assert!(holds("/etc/ld.so", true, "/etc") && holds("/etc/ld.so", true, "/etc/ld.so.conf.d"));
        assert!(!holds("/etc/ld.so", true, "/etc/x") && !holds("/etc/ld.so", true, "/"));
    }

    #[test]
    fn a_whole_path_covers_itself_and_an_open_one_what_follows() {
        let covers = |open, path: &str| Prefix { text: b"/etc/x".to_vec(), open }.covers(path.as_bytes());
        assert!(covers(false, "/etc/X") && covers(true, "/etc/x") && covers(true, "/ETC/x/y"));
        assert!(!covers(false, "/etc/xy") && !covers(true, "/etc/") && !covers(true, "/etc/y"));
    }
}
