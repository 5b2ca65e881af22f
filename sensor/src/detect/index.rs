//! Which rules can be about a document at all, without asking each of them.
//!
//! Most rules cannot do without one of a few literal paths, directories, names or extensions. They are kept in hash
//! tables, so that an event costs about the same whether there is one rule or a hundred. What is found is a superset:
//! letters are folded and hashes may collide, and the rule itself decides.

use std::collections::HashMap;
use std::hash::{BuildHasherDefault, Hasher};

use eql::ast::{Comparison, Literal};
use eql::{Expr, ExprKind, FieldId, Fields, Value};

/// As many lookups of an event may succeed before all rules are asked.
const MAX_HITS: usize = 32;

/// Rules by what they cannot do without.
#[derive(Debug)]
pub(super) struct Index {
    fields: IndexedFields,
    /// The lengths of the atoms of each kind: what has none of them is not even hashed.
    lengths: [Lengths; Atom::COUNT],
    /// Rules for each atom, by the atom's hash: a bit each.
    atoms: HashMap<u64, RuleBits, BuildHasherDefault<Identity>>,
    /// Rules that can do without any atom.
    always: RuleBits,
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

/// What a document can have for a rule to be asked.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum Atom {
    /// `file.path` as a whole.
    Path,
    /// A directory at the beginning of `file.path`, with its final `/`.
    Directory,
    /// A part of `file.path` after a `/`.
    Component,
    /// `file.name`
    Name,
    /// `file.extension`
    Extension,
}

impl Atom {
    const COUNT: usize = Self::Extension as usize + 1;
}

/// A set of lengths. Those that do not fit are always in it.
#[derive(Debug, Clone, Copy, Default)]
struct Lengths([u64; 4]);

/// Rules that ask for one of a few texts in a field.
#[derive(Debug)]
struct Restriction {
    texts: HashMap<u64, RuleBits, BuildHasherDefault<Identity>>,
    /// Those that do not ask.
    unrestricted: RuleBits,
}

/// The rules that a document can be about.
pub(super) struct Candidates<'i> {
    index: &'i Index,
    hits: [&'i [u64]; MAX_HITS],
    count: usize,
    /// There were too many hits, or a value that the index does not understand.
    all: bool,
    action: Allowed<'i>,
    kind: Allowed<'i>,
}

/// The rules that a field's value leaves, beside those that do not ask for it.
enum Allowed<'i> {
    These(&'i [u64]),
    None,
    /// The value is of a kind that the index does not understand.
    All,
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
            atoms: HashMap::default(),
            always: none(),
            last: u64::MAX >> ((64 - conditions.len() % 64) % 64),
            actions: Restriction { texts: HashMap::default(), unrestricted: none() },
            types: Restriction { texts: HashMap::default(), unrestricted: none() },
        };
        for (rule, condition) in conditions.enumerate() {
            match needed(condition) {
                None => set(&mut index.always, rule),
                Some(atoms) => {
                    for (atom, text) in atoms {
                        index.lengths[atom as usize].insert(text.len());
                        set(index.atoms.entry(hash(atom, text.as_bytes())).or_insert_with(none), rule);
                    }
                }
            }
            index.actions.add(condition, "event.action", rule, none);
            index.types.add(condition, "event.type", rule, none);
        }
        index
    }

    /// Starts with the rules that the action and type of `document` leave.
    pub(super) fn candidates<D: eql::Document + ?Sized>(&self, document: &D) -> Candidates<'_> {
        Candidates {
            index: self,
            hits: [&[]; MAX_HITS],
            count: 0,
            all: false,
            action: self.actions.of(document.field(self.fields.action)),
            kind: self.types.of(document.field(self.fields.kind)),
        }
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

    /// The rules, in their order.
    pub(super) fn rules(&self) -> impl Iterator<Item = usize> {
        let words = self.index.always.len();
        (0..words).flat_map(move |word| Bits(self.word(word)).map(move |bit| word * 64 + bit))
    }

    fn word(&self, word: usize) -> u64 {
        let found = if self.all {
            u64::MAX
        } else {
            self.hits[..self.count].iter().fold(self.index.always[word], |bits, hit| bits | hit[word])
        };
        let allowed = |restriction: &Restriction, allowed: &Allowed<'_>| match allowed {
            Allowed::These(rules) => restriction.unrestricted[word] | rules[word],
            Allowed::None => restriction.unrestricted[word],
            Allowed::All => u64::MAX,
        };
        let last = word + 1 == self.index.always.len();
        let there = if last { self.index.last } else { u64::MAX };
        found & there & allowed(&self.index.actions, &self.action) & allowed(&self.index.types, &self.kind)
    }

    fn add_path(&mut self, path: &[u8]) {
        self.look_up(Atom::Path, path);
        let mut component = 0;
        for (position, _) in path.iter().enumerate().filter(|(_, byte)| **byte == b'/') {
            self.look_up(Atom::Component, &path[component..position]);
            component = position + 1;
            self.look_up(Atom::Directory, &path[..component]);
        }
        self.look_up(Atom::Component, &path[component..]);
    }

    fn look_up(&mut self, atom: Atom, text: &[u8]) {
        if !self.index.lengths[atom as usize].contains(text.len()) {
            return;
        }
        if let Some(rules) = self.index.atoms.get(&hash(atom, text)) {
            match self.hits.get_mut(self.count) {
                Some(hit) => {
                    *hit = rules;
                    self.count += 1;
                }
                None => self.all = true,
            }
        }
    }
}

impl Lengths {
    fn insert(&mut self, length: usize) {
        if let Some(word) = self.0.get_mut(length / 64) {
            *word |= 1 << (length % 64);
        }
        // Lengths that do not fit have no bit, but the set is no longer empty.
        self.0[0] |= u64::from(length >= 256);
    }

    fn contains(&self, length: usize) -> bool {
        self.0.get(length / 64).is_none_or(|word| word >> (length % 64) & 1 == 1)
    }

    fn is_empty(&self) -> bool {
        self.0 == [0; 4]
    }
}

impl Restriction {
    fn add(&mut self, condition: &Expr, field: &str, rule: usize, none: impl Fn() -> RuleBits + Copy) {
        let conjuncts = match &condition.kind {
            ExprKind::And(parts) => parts.as_slice(),
            _ => std::slice::from_ref(condition),
        };
        match conjuncts.iter().find_map(|conjunct| super::check::equals_one_of(conjunct, field)) {
            None => set(&mut self.unrestricted, rule),
            Some(texts) => texts.into_iter().for_each(|text| {
                set(self.texts.entry(fingerprint(text.as_bytes())).or_insert_with(none), rule);
            }),
        }
    }

    fn of(&self, value: Value<'_>) -> Allowed<'_> {
        match value {
            Value::Missing => Allowed::None,
            Value::String(text) => self
                .texts
                .get(&fingerprint(text.as_bytes()))
                .map_or(Allowed::None, |rules| Allowed::These(rules)),
            Value::Array(array) if array.len() == 1 => self.of(array.get(0)),
            Value::Array(_) | Value::Bool(_) | Value::Integer(_) | Value::Float(_) => Allowed::All,
        }
    }
}

/// The atoms of which `expr` needs one, or nothing if it can be true without any.
fn needed(expr: &Expr) -> Option<Vec<(Atom, &str)>> {
    match &expr.kind {
        ExprKind::And(parts) => parts.iter().filter_map(needed).min_by_key(Vec::len),
        ExprKind::Or(parts) => parts.iter().map(needed).try_fold(Vec::new(), |mut all, part| {
            all.extend(part?);
            Some(all)
        }),
        ExprKind::Compare { operator: Comparison::Equal, left, right } => match (&left.kind, &right.kind) {
            (ExprKind::Field(field), ExprKind::Constant(Literal::String(text))) => {
                atom(&field.name, text, false).map(|atom| vec![atom])
            }
            _ => None,
        },
        ExprKind::In { subject, negated: false, list, .. } => {
            let ExprKind::Field(field) = &subject.kind else { return None };
            let texts = list.iter().map(|constant| match &constant.value {
                Literal::String(text) => atom(&field.name, text, false),
                _ => None,
            });
            texts.collect()
        }
        ExprKind::Match { subject, operator, patterns } if !operator.is_regex() => {
            let ExprKind::Field(field) = &subject.kind else { return None };
            patterns.iter().map(|pattern| atom(&field.name, &pattern.text, true)).collect()
        }
        _ => None,
    }
}

/// What a document must have for `field` to equal or match `text`.
fn atom<'t>(field: &str, text: &'t str, wildcards: bool) -> Option<(Atom, &'t str)> {
    let literal = |text: &str| !wildcards || !text.contains(['*', '?']);
    let whole = |atom: Atom| literal(text).then_some((atom, text));
    match field {
        "file.name" => whole(Atom::Name),
        "file.extension" => whole(Atom::Extension),
        "file.path" if literal(text) => whole(Atom::Path),
        "file.path" => {
            let beginning = text.split(['*', '?']).next().unwrap_or_default();
            let directory = beginning.rfind('/').map_or("", |slash| &beginning[..=slash]);
            let components = text.split('/').skip(1).filter(|part| !part.is_empty() && literal(part));
            // A directory says more than a name that can be anywhere, and the root says nothing.
            if directory.len() > 1 {
                Some((Atom::Directory, directory))
            } else {
                let longest = components.max_by_key(|component| component.len());
                longest.map(|component| (Atom::Component, component))
            }
        }
        _ => None,
    }
}

/// The key of an atom in the table.
fn hash(atom: Atom, text: &[u8]) -> u64 {
    mix(fingerprint(text) ^ atom as u64)
}

/// A hash of bytes in which ASCII letters are equal in both cases, eight bytes at a time.
fn fingerprint(text: &[u8]) -> u64 {
    let (words, rest) = text.as_chunks::<8>();
    let hash = words.iter().fold(text.len() as u64, |hash, word| mix(hash ^ fold(*word)));
    let mut last = [0; 8];
    last[..rest.len()].copy_from_slice(rest);
    mix(hash ^ fold(last))
}

/// Eight bytes with the bit set in which upper and lower case differ. It makes some other characters equal as well,
/// which costs a rule a question more.
fn fold(word: [u8; 8]) -> u64 {
    u64::from_le_bytes(word) | 0x2020_2020_2020_2020
}

fn mix(hash: u64) -> u64 {
    let product = hash.wrapping_mul(0x9e37_79b9_7f4a_7c15);
    product ^ product >> 32
}

/// For keys that are hashes already.
#[derive(Debug, Default)]
struct Identity(u64);

impl Hasher for Identity {
    fn finish(&self) -> u64 {
        self.0
    }

    fn write(&mut self, bytes: &[u8]) {
        // Keys are u64 and come through `write_u64`.
        self.0 = bytes.iter().fold(self.0, |hash, byte| hash << 8 | u64::from(*byte));
    }

    fn write_u64(&mut self, hash: u64) {
        self.0 = hash;
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
        let mut candidates = index.candidates(&document);
        candidates.add(&document);
        candidates.rules().collect()
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
            let mut candidates = index.candidates(&document);
            candidates.add(&document);
            let asked: Vec<_> = candidates.rules().collect();
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
