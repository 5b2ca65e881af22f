//! The kernel's filter, as derived from rules: which names make an entry worth a look.
//!
//! See `sensor_common::filter` for what the kernel does with it.

use std::collections::{BTreeMap, BTreeSet, HashMap};

use sensor_common::filter::{
    self, ABOVE, BEGINNING, COMPARED, CREATION, DELETION, DIRECTORY, END, ENTRY, First, Key, MAX_NAMES,
    MODIFICATION, MOUNT, Next, PLACES, RENAME, bits_of, has_length, length_bit, place, role_place,
};

use crate::event::Action;

/// Names that rules ask for; what has none of them is dismissed in the kernel.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Filter {
    /// Names of entries.
    pub entries: BTreeSet<Vec<u8>>,
    /// What names of entries begin with.
    pub beginnings: BTreeSet<Vec<u8>>,
    /// What names of entries end in.
    pub ends: BTreeSet<Vec<u8>>,
    /// Names of directories above entries.
    pub directories: BTreeSet<Vec<u8>>,
    /// Names that a directory can get by a rename, so that what is in it gets a path to look at.
    pub above: BTreeSet<Vec<u8>>,
    /// Some rule cannot be pushed down: everything passes.
    pub everything: bool,
    /// Some rule asks for the old path of a rename.
    pub original: bool,
}

/// A filter for each action that a rule can match; the others need not be seen at all.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Filters(BTreeMap<Action, Filter>);

impl Filter {
    /// Passes whatever there is.
    pub fn everything() -> Self {
        Self { everything: true, ..Self::default() }
    }

    /// Whether nothing can pass.
    pub fn is_empty(&self) -> bool {
        !self.everything && self.names().next().is_none()
    }

    /// Adds what another filter passes.
    pub fn extend(&mut self, other: Self) {
        self.entries.extend(other.entries);
        self.beginnings.extend(other.beginnings);
        self.ends.extend(other.ends);
        self.directories.extend(other.directories);
        self.above.extend(other.above);
        self.everything |= other.everything;
        self.original |= other.original;
    }

    /// All names with their roles.
    fn names(&self) -> impl Iterator<Item = (&[u8], u16)> {
        [
            (&self.entries, ENTRY),
            (&self.beginnings, BEGINNING),
            (&self.ends, END),
            (&self.directories, DIRECTORY),
            (&self.above, ABOVE),
        ]
        .into_iter()
        .flat_map(|(names, role)| names.iter().map(move |name| (name.as_slice(), role)))
    }

    /// What the kernel reads first, and what then.
    fn summary(&self) -> (First, Next) {
        let mut first = First { original: u32::from(self.original), ..First::NONE };
        let mut next = Next { everything: u64::from(self.everything), ..Next::NONE };
        for (name, role) in self.names() {
            let length = name.len() as u32;
            let of_length = match role {
                BEGINNING => {
                    next.beginning |= 1 << length.min(COMPARED);
                    add_byte(&mut next.first_bytes, name.first());
                    continue;
                }
                END => {
                    next.end |= 1 << length.min(COMPARED);
                    add_byte(&mut next.last_bytes, name.last());
                    continue;
                }
                DIRECTORY => &mut first.directory,
                ABOVE => &mut first.above,
                _ => &mut first.entry,
            };
            let (is_first, single) = (!has_length(*of_length, length), &mut next.single[role_place(role)]);
            *single = if is_first { *single | length_bit(length) } else { *single & !length_bit(length) };
            *of_length |= length_bit(length);
            let common = &mut next.common[place(role, length)];
            *common = common.with(bits_of(key(name, role, 0).head, length));
        }
        first.other = u32::from(self.everything || next.beginning != 0 || next.end != 0);
        (first, next)
    }
}

impl Filters {
    /// Adds what is to pass when an action is done. If there are then more names than the kernel has room for, everything does.
    pub fn add(&mut self, action: Action, filter: Filter) {
        if filter.is_empty() {
            return;
        }
        self.0.entry(action).or_default().extend(filter);
        let most: usize = self.0.values().map(|filter| filter.names().count()).sum();
        if most > MAX_NAMES as usize && self.names(0).len() > MAX_NAMES as usize {
            let original = self.0[&action].original;
            self.0.insert(action, Filter { original, ..Filter::everything() });
        }
    }

    /// Adds what other filters pass.
    pub fn extend(&mut self, other: Self) {
        for (action, filter) in other.0 {
            self.add(action, filter);
        }
    }

    /// What is to pass when an action is done; nothing if it need not be seen.
    pub fn get(&self, action: Action) -> Option<&Filter> {
        self.0.get(&action)
    }

    /// The actions that have to be seen.
    pub fn actions(&self) -> impl Iterator<Item = Action> {
        self.0.keys().copied()
    }

    /// All filters together.
    pub fn union(&self) -> Filter {
        self.0.values().cloned().fold(Filter::default(), |mut all, filter| {
            all.extend(filter);
            all
        })
    }

    /// What the kernel reads first, and what then, by its number for the action.
    pub fn summaries(&self) -> Vec<(First, Next)> {
        let mut summaries = vec![(First::NONE, Next::NONE); PLACES];
        for (action, filter) in &self.0 {
            summaries[number(*action) as usize] = filter.summary();
        }
        summaries[filter::ANY as usize] = self.union().summary();
        summaries
    }

    /// The names as the kernel looks them up, with a bit for each action.
    pub fn names(&self, generation: u32) -> HashMap<Key, u32> {
        let mut names = HashMap::new();
        for (action, filter) in &self.0 {
            for (name, role) in filter.names() {
                *names.entry(key(name, role, generation)).or_default() |=
                    1 << number(*action) | 1 << filter::ANY;
            }
        }
        names
    }
}

/// What the kernel calls an action.
fn number(action: Action) -> u32 {
    match action {
        Action::Creation => CREATION,
        Action::Rename => RENAME,
        Action::Modification => MODIFICATION,
        Action::Deletion => DELETION,
        Action::Mount => MOUNT,
    }
}

/// Adds a byte in both cases.
fn add_byte(bytes: &mut [u64; 4], byte: Option<&u8>) {
    for byte in byte.into_iter().flat_map(|byte| [byte.to_ascii_lowercase(), byte.to_ascii_uppercase()]) {
        bytes[usize::from(byte >> 6)] |= length_bit(byte.into());
    }
}

fn key(name: &[u8], role: u16, generation: u32) -> Key {
    let compared = match role {
        END => &name[name.len().saturating_sub(COMPARED as usize)..],
        BEGINNING => &name[..name.len().min(COMPARED as usize)],
        _ => name,
    };
    let mut head = [0; COMPARED as usize];
    let length = compared.len().min(head.len());
    head[..length].copy_from_slice(&compared[..length]);
    filter::key(u64::from_le_bytes(head), compared.len() as u32, role, generation)
}

#[cfg(test)]
pub(crate) mod tests {
    use sensor_common::filter::{Directory, Name, passes};

    use super::*;

    /// The filter as it is in the kernel's maps: what the kernel answers for a path within a file system.
    pub(crate) fn kernel_passes(filters: &Filters, action: Action, path: &[u8]) -> bool {
        const GENERATION: u32 = 7;
        let (first, next) = filters.summaries()[number(action) as usize];
        let filter = Maps { first, next, names: filters.names(GENERATION), action: number(action) };
        let names: Vec<_> = path.split(|&byte| byte == b'/').filter(|name| !name.is_empty()).collect();
        let Some((entry, directories)) = names.split_last() else {
            // The root: what is mounted there is looked for by the name that its directory has.
            return passes(&filter, &Text(b"/"), Above(&[]));
        };
        passes(&filter, &Text(entry), Above(directories))
    }

    struct Maps {
        first: First,
        next: Next,
        names: HashMap<Key, u32>,
        action: u32,
    }

    impl filter::Filter for Maps {
        fn first(&self) -> &First {
            &self.first
        }

        fn next(&self) -> &Next {
            &self.next
        }

        fn knows(&self, first: u64, length: u32, role: u16) -> bool {
            self.names
                .get(&filter::key(first, length, role, 7))
                .is_some_and(|actions| actions >> self.action & 1 != 0)
        }

        fn knows_beginning(&self, first: u64, length: u32) -> bool {
            filter::knows_beginning(self, first, length)
        }

        fn knows_end(&self, last: u64, length: u32) -> bool {
            filter::knows_end(self, last, length)
        }
    }

    /// A name as it lies in memory, with something behind it.
    struct Text<'n>(&'n [u8]);

    impl Name for Text<'_> {
        fn length(&self) -> u32 {
            self.0.len() as u32
        }

        fn first(&self) -> u64 {
            let mut bytes = [b'~'; 8];
            let length = self.0.len().min(8);
            bytes[..length].copy_from_slice(&self.0[..length]);
            u64::from_le_bytes(bytes)
        }

        fn last(&self) -> u64 {
            u64::from_le_bytes(*self.0.last_chunk().unwrap())
        }
    }

    /// The last of these directories. The one above the first is the root of the file system, whose name is `/`.
    #[derive(Clone, Copy)]
    struct Above<'n>(&'n [&'n [u8]]);

    impl Above<'_> {
        fn name(&self) -> Text<'_> {
            Text(self.0.last().copied().unwrap_or(b"/"))
        }
    }

    impl Name for Above<'_> {
        fn length(&self) -> u32 {
            self.name().length()
        }

        fn first(&self) -> u64 {
            self.name().first()
        }

        fn last(&self) -> u64 {
            self.name().last()
        }
    }

    impl Directory<Maps> for Above<'_> {
        fn parent(&self) -> Option<Self> {
            self.0.split_last().map(|(_, above)| Self(above))
        }

        fn further_pass(&self, filter: &Maps) -> bool {
            filter::further_pass(filter, self)
        }
    }

    fn names(names: &[&str]) -> BTreeSet<Vec<u8>> {
        names.iter().map(|name| name.as_bytes().to_vec()).collect()
    }

    fn creations(filter: Filter) -> Filters {
        let mut filters = Filters::default();
        filters.add(Action::Creation, filter);
        filters
    }

    #[track_caller]
    fn assert_passes(filters: &Filters, passing: &[&str], dismissed: &[&str]) {
        for (paths, expected) in [(passing, true), (dismissed, false)] {
            for path in paths {
                let passes = kernel_passes(filters, Action::Creation, path.as_bytes());
                assert_eq!(passes, expected, "{path}");
            }
        }
    }

    #[test]
    fn names_pass_in_their_role_and_in_any_case() {
        let filters = creations(Filter {
            entries: names(&["ld.so.preload", "é"]),
            directories: names(&["cron.d"]),
            ..Filter::default()
        });
        assert_passes(
            &filters,
            &["/etc/ld.so.preload", "/LD.SO.PRELOAD", "/x/é", "/etc/Cron.D/x", "/cron.d/a/b/c"],
            &["/etc/ld.so.preload/x", "/etc/cron.d", "/etc/ld.so.cache", "/É", "/etc/cron/x", "/"],
        );
    }

    #[test]
    fn beginnings_and_ends_pass() {
        let filters = creations(Filter {
            beginnings: names(&["lib", "systemd-private-"]),
            ends: names(&[".so", ".SERVICE", "~"]),
            ..Filter::default()
        });
        assert_passes(
            &filters,
            &["/lib", "/a/Libc", "/systemd-x", "/x.so", "/.so", "/a/b.service", "/~", "/averylongname.So"],
            &["/li", "/alib", "/systemd", "/so", "/x.so.1", "/service", "/lo.s", "/lib/x", "/x.so/y"],
        );
    }

    #[test]
    fn actions_have_filters_of_their_own() {
        let entries = |name| Filter { entries: names(&[name]), ..Filter::default() };
        let mut filters = creations(entries("a"));
        filters.add(Action::Rename, entries("b"));
        filters.add(Action::Rename, entries("c"));
        for (path, creation, rename) in [("/a", true, false), ("/b", false, true), ("/c", false, true)] {
            assert_eq!(kernel_passes(&filters, Action::Creation, path.as_bytes()), creation, "{path}");
            assert_eq!(kernel_passes(&filters, Action::Rename, path.as_bytes()), rename, "{path}");
        }
        assert_eq!(filters.actions().collect::<Vec<_>>(), [Action::Creation, Action::Rename]);
        assert_eq!(creations(Filter::default()), Filters::default());
        filters.add(Action::Creation, Filter::everything());
        assert!(kernel_passes(&filters, Action::Creation, b"/x"));
        assert!(!kernel_passes(&filters, Action::Rename, b"/x"));
    }

    #[test]
    fn more_names_than_there_is_room_for_let_everything_pass() {
        let entries = (0..=MAX_NAMES).map(|number| number.to_string().into_bytes());
        let mut filters =
            creations(Filter { entries: entries.clone().skip(1).collect(), ..Filter::default() });
        assert_passes(&filters, &["/1"], &["/0"]);
        filters.add(Action::Creation, Filter { entries: entries.take(1).collect(), ..Filter::default() });
        assert_passes(&filters, &["/0", "/1", "/x"], &[]);
        assert!(filters.names(0).is_empty());
    }

    #[test]
    fn what_is_deeper_than_the_kernel_looks_passes() {
        let filters = creations(Filter { directories: names(&["never"]), ..Filter::default() });
        let deep = |depth: usize| "/d".repeat(depth) + "/file";
        let most = filter::MAX_DEPTH as usize;
        assert_passes(&filters, &[&deep(most)], &[&deep(most - 1), &deep(10), "/file"]);
    }

    #[test]
    fn a_directory_is_found_at_every_depth() {
        let filters = creations(Filter { directories: names(&["here"]), ..Filter::default() });
        for depth in 0..filter::MAX_DEPTH as usize - 2 {
            let path = |name: &str| format!("/{name}{}/file", "/d".repeat(depth));
            assert_passes(&filters, &[&path("here")], &[&path("there")]);
        }
    }
}
