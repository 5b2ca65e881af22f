//! Which rules can be about a document at all, without asking each of them.
//!
//! Most rules cannot do without one of a few literal paths, directories, names or extensions. They are kept in hash
//! tables, so that an event costs about the same whether there is one rule or a hundred. What is found is a superset:
//! letters are folded and hashes may collide, and the rule itself decides.

mod atoms;
mod hash;
mod restriction;

use std::collections::HashMap;
use std::hash::BuildHasherDefault;

use eql::{Expr, FieldId, Fields, Value};

use self::atoms::{Atom, needed};
use self::hash::{Identity, Lengths, hash};
use self::restriction::Restriction;

/// As many lookups of an event may succeed before all rules are asked.
const MAX_HITS: usize = 32;

/// Rules by what they cannot do without.
#[derive(Debug)]
pub(super) struct Index {
    fields: IndexedFields,
    /// The lengths of the atoms of each kind: what has none of them is not even hashed.
    lengths: [Lengths; Atom::COUNT],
    /// Those of the directories, the shortest first: a path is cut where one could end, and not at every `/`.
    directories: Vec<usize>,
    /// Where in `sets` the rules for an atom are, by the atom's hash.
    atoms: HashMap<u64, usize, BuildHasherDefault<Identity>>,
    /// Rules, a bit each.
    sets: Vec<RuleBits>,
    /// Rules that can do without any atom.
    always: RuleBits,
    /// There are such.
    some_always: bool,
    /// The bits of the last word that stand for rules.
    last: u64,
    /// Rules by the `event.action` that they ask for.
    actions: Restriction,
    /// Rules by the `event.type` that they ask for.
    types: Restriction,
}

type RuleBits = Box<[u64]>;

#[derive(Debug)]
struct IndexedFields {
    path: FieldId,
    name: FieldId,
    extension: FieldId,
    action: FieldId,
    kind: FieldId,
}

/// The rules that a document can be about.
pub(super) struct Candidates<'i> {
    index: &'i Index,
    /// Which sets were found.
    hits: [usize; MAX_HITS],
    count: usize,
    /// There were too many hits, or a value that the index does not understand.
    all: bool,
}

impl Index {
    /// The index of rules with these conditions, in their order.
    pub(super) fn new<'q>(conditions: impl ExactSizeIterator<Item = &'q Expr>, fields: &mut Fields) -> Self {
        let words = conditions.len().div_ceil(64);
        let none = || vec![0; words].into_boxed_slice();
        let mut index = Self {
            fields: IndexedFields {
                path: fields.intern("file.path"),
                name: fields.intern("file.name"),
                extension: fields.intern("file.extension"),
                action: fields.intern("event.action"),
                kind: fields.intern("event.type"),
            },
            lengths: [Lengths::default(); Atom::COUNT],
            directories: Vec::new(),
            atoms: HashMap::default(),
            sets: Vec::new(),
            always: none(),
            some_always: false,
            last: u64::MAX >> ((64 - conditions.len() % 64) % 64),
            actions: Restriction::new(none()),
            types: Restriction::new(none()),
        };
        for (rule, condition) in conditions.enumerate() {
            match needed(condition) {
                None => set(&mut index.always, rule),
                Some(atoms) => {
                    for (atom, text) in atoms {
                        index.lengths[atom as usize].insert(text.len());
                        if atom == Atom::Directory {
                            index.directories.push(text.len());
                        }
                        let position = *index.atoms.entry(hash(atom, text.as_bytes())).or_insert_with(|| {
                            index.sets.push(none());
                            index.sets.len() - 1
                        });
                        set(&mut index.sets[position], rule);
                    }
                }
            }
            index.actions.add(condition, "event.action", rule, none);
            index.types.add(condition, "event.type", rule, none);
        }
        index.directories.sort_unstable();
        index.directories.dedup();
        index.some_always = index.always.iter().any(|word| *word != 0);
        index
    }

    /// Starts with no rule but those that can do without any atom.
    pub(super) fn candidates(&self) -> Candidates<'_> {
        Candidates { index: self, hits: [0; MAX_HITS], count: 0, all: false }
    }
}

impl Candidates<'_> {
    /// Adds the rules that can be about the file of `document`.
    pub(super) fn add<D: eql::Document + ?Sized>(&mut self, document: &D) {
        let fields = &self.index.fields;
        match document.field(fields.path) {
            Value::String(path) => self.add_path(path.as_bytes()),
            Value::Missing => {}
            _ => self.all = true,
        }
        for (field, atom) in [(fields.name, Atom::Name), (fields.extension, Atom::Extension)] {
            if self.index.lengths[atom as usize].is_empty() {
                continue;
            }
            match document.field(field) {
                Value::String(text) => self.look_up(atom, text.as_bytes()),
                Value::Missing => {}
                _ => self.all = true,
            }
        }
    }

    /// The rules that the action and type of `document` leave, in their order. Its file is not looked at.
    pub(super) fn rules<D: eql::Document + ?Sized>(&self, document: &D) -> impl Iterator<Item = usize> {
        let Index { actions, types, fields, always, .. } = self.index;
        // Most events are about nothing that any rule is about: they are not asked for more.
        let none = self.count == 0 && !self.all && !self.index.some_always;
        let words = if none { 0 } else { always.len() };
        let allowed = (!none)
            .then(|| (actions.of(document.field(fields.action)), types.of(document.field(fields.kind))));
        (0..words).flat_map(move |word| {
            let allowed = allowed
                .as_ref()
                .map_or(0, |(action, kind)| actions.word(word, action) & types.word(word, kind));
            Bits(self.word(word) & allowed).map(move |bit| word * 64 + bit)
        })
    }

    /// A word of the set of rules that were found.
    fn word(&self, word: usize) -> u64 {
        let Index { sets, always, last, .. } = self.index;
        let there = if word + 1 == always.len() { *last } else { u64::MAX };
        if self.all {
            return there;
        }
        let hits = self.hits[..self.count].iter();
        hits.fold(always[word], |bits, hit| bits | sets[*hit][word]) & there
    }

    fn add_path(&mut self, path: &[u8]) {
        let index = self.index;
        self.look_up(Atom::Path, path);
        for &length in index.directories.iter().take_while(|length| **length <= path.len()) {
            if path[length - 1] == b'/' {
                self.look_up(Atom::Directory, &path[..length]);
            }
        }
        if !index.lengths[Atom::Component as usize].is_empty() {
            for component in path.split(|byte| *byte == b'/') {
                self.look_up(Atom::Component, component);
            }
        }
    }

    fn look_up(&mut self, atom: Atom, text: &[u8]) {
        if !self.index.lengths[atom as usize].contains(text.len()) {
            return;
        }
        if let Some(set) = self.index.atoms.get(&hash(atom, text)) {
            match self.hits.get_mut(self.count) {
                Some(hit) => {
                    *hit = *set;
                    self.count += 1;
                }
                None => self.all = true,
            }
        }
    }
}

fn set(bits: &mut [u64], rule: usize) {
    bits[rule / 64] |= 1 << (rule % 64);
}

/// The positions of the bits that are set.
struct Bits(u64);

impl Iterator for Bits {
    type Item = usize;

    fn next(&mut self) -> Option<usize> {
        let without_lowest = self.0 & self.0.checked_sub(1)?;
        let bit = (self.0 ^ without_lowest).trailing_zeros();
        self.0 = without_lowest;
        Some(bit as usize)
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::{Bits, Index};
    use crate::ecs::{Candidate, Document, FieldTable};
    use crate::testing::{event, rename};

    #[test]
    fn bits_are_found_in_order() {
        assert_eq!(Bits(1 | 1 << 5 | 1 << 63).collect::<Vec<_>>(), [0, 5, 63]);
        assert_eq!(Bits(0).next(), None);
    }

    /// The rules that are asked about a creation of `path`.
    fn asked(conditions: &[&str], path: &str) -> Vec<usize> {
        let queries: Vec<_> =
            conditions.iter().map(|condition| eql::Query::parse_condition(condition).unwrap()).collect();
        let mut fields = eql::Fields::default();
        let index = Index::new(queries.iter().map(eql::Query::condition), &mut fields);
        let mut event = event();
        event.file.paths[0].text = path.to_owned();
        let table = FieldTable::new(&fields);
        let document = Document::new(&event, &table, Candidate::default());
        let mut candidates = index.candidates();
        candidates.add(&document);
        candidates.rules(&document).collect()
    }

    #[test]
    fn rules_that_cannot_be_about_a_file_are_not_asked() {
        let conditions = [
            r#"file.path : ("/etc/passwd", "/etc/cron.d/*")"#,
            r#"file.path like "*/.git/hooks/*""#,
            r#"file.extension in ("so", "ko") or file.name == "passwd""#,
            r#"event.action == "rename" and file.path : "/etc/passwd""#,
            r#"event.type == "creation" and not file.path : "/etc/passwd""#,
            r#"event.type == "change""#,
            r#"process.name == "x""#,
        ];
        assert_eq!(asked(&conditions, "/etc/passwd"), [0, 2, 4, 6]);
        assert_eq!(asked(&conditions, "/ETC/Passwd"), [0, 2, 4, 6]);
        assert_eq!(asked(&conditions, "/etc/cron.d/a/b"), [0, 4, 6]);
        assert_eq!(asked(&conditions, "/home/x/.git/hooks/y.so"), [1, 2, 4, 6]);
        assert_eq!(asked(&conditions, "/tmp/x"), [4, 6]);
    }

    #[test]
    fn there_can_be_many_rules_and_many_hits() {
        let conditions: Vec<String> =
            (0..200).map(|number| format!("file.path : \"*/{number}/*\"")).collect();
        let conditions: Vec<&str> = conditions.iter().map(String::as_str).collect();
        assert_eq!(asked(&conditions, "/tmp/7/x/63/64/150/y"), [7, 63, 64, 150]);
        let all = (0..200).fold(String::new(), |path, number| format!("{path}/{number}")) + "/x";
        assert_eq!(asked(&conditions, &all).len(), 200);
        assert_eq!(asked(&[], "/tmp/x").len(), 0);
    }

    fn patterns() -> impl Strategy<Value = String> {
        prop::collection::vec("(/?[abB*?.]{0,3}){1,4}", 1..4)
            .prop_map(|list| list.iter().map(|pattern| format!("{pattern:?}")).collect::<Vec<_>>().join(", "))
    }

    fn conditions() -> impl Strategy<Value = String> {
        let field = prop::sample::select(vec!["file.path", "file.name", "file.extension"]);
        let operator = prop::sample::select(vec![":", "like", "like~", "in", "in~", "not in"]);
        let leaf = prop_oneof![
            (field, operator, patterns())
                .prop_map(|(field, operator, list)| format!("{field} {operator} ({list})")),
            Just(r#"event.action == "rename""#.to_owned()),
            Just(r#"event.type in ("creation", "deletion")"#.to_owned()),
            Just(r#"process.name == "evil""#.to_owned()),
        ];
        leaf.prop_recursive(3, 12, 3, |inner| {
            prop_oneof![
                prop::collection::vec(inner.clone(), 2..4)
                    .prop_map(|parts| format!("({})", parts.join(" and "))),
                prop::collection::vec(inner.clone(), 2..4)
                    .prop_map(|parts| format!("({})", parts.join(" or "))),
                inner.prop_map(|part| format!("not ({part})")),
            ]
        })
    }

    proptest! {
        /// A rule that matches is asked.
        #[test]
        fn no_rule_is_passed_over(
            conditions in prop::collection::vec(conditions(), 1..6),
            path in "(/[abAB.]{1,3}){1,5}",
            renamed in any::<bool>(),
        ) {
            let event = if renamed {
                rename("/x", &path)
            } else {
                let mut event = event();
                event.file.paths[0].text.clone_from(&path);
                event
            };
            let queries: Vec<_> =
                conditions.iter().map(|condition| eql::Query::parse_condition(condition).unwrap()).collect();
            let mut fields = eql::Fields::default();
            let programs: Vec<_> = queries.iter().map(|query| query.compile(&mut fields).unwrap()).collect();
            let index = Index::new(queries.iter().map(eql::Query::condition), &mut fields);
            let table = FieldTable::new(&fields);
            let document = Document::new(&event, &table, Candidate::default());
            let mut candidates = index.candidates();
            candidates.add(&document);
            let asked: Vec<_> = candidates.rules(&document).collect();
            for (rule, program) in programs.iter().enumerate() {
                prop_assert!(
                    asked.contains(&rule) || !program.matches(&document),
                    "{} is not asked about {path}",
                    conditions[rule]
                );
            }
        }
    }
}
