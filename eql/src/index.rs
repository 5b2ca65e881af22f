//! Which of many programs an event can concern at all.

mod affixes;
mod keys;

use std::collections::HashMap;

use affixes::{Affixes, Direction};
use keys::{Key, alternatives};

pub(crate) use keys::Place;

use crate::fields::FieldId;
use crate::program::{Program, Scalar, any_scalar, with_text};
use crate::value::Document;

/// An index over programs: finds those that an event may match, in a time that hardly grows with their number.
///
/// Of each program, up to four conditions are indexed, all of which must hold for it to match: that a field has one of some
/// values, or begins or ends with one of some texts. They are those that fewest other programs have. Programs without
/// such a condition are always candidates.
///
/// A program that is no candidate has the verdict [`NoMatch`](crate::Verdict::NoMatch).
///
/// ```
/// # use eql::{Candidates, Document, FieldId, Fields, Index, Query, Value};
/// let mut fields = Fields::default();
/// let mut program = |text: &str| Query::parse(text)?.compile(&mut fields);
/// let programs = [
///     program(r#"file where file.path : "/etc/cron.d/*""#)?,
///     program(r#"file where file.path : ("/etc/ld.so.preload", "/etc/ld.so.conf.d/*")"#)?,
///     program(r#"file where file.name != null"#)?,
/// ];
/// let index = Index::new(&programs);
///
/// struct Path(Option<FieldId>);
/// impl Document for Path {
///     fn field(&self, id: FieldId) -> Value<'_> {
///         if Some(id) == self.0 { Value::String("/etc/ld.so.conf.d/x") } else { Value::String("file") }
///     }
/// }
/// let mut candidates = Candidates::default();
/// index.find(&Path(fields.get("file.path")), &mut candidates);
/// assert_eq!(candidates.iter().collect::<Vec<_>>(), [1, 2]);
/// # Ok::<(), eql::Error>(())
/// ```
#[derive(Debug)]
pub struct Index {
    /// How many words a set of programs has.
    words: usize,
    /// For each of the [`LAYERS`], the set of the programs that have no condition there.
    unconditional: Box<[u64]>,
    fields: Box<[FieldIndex]>,
}

/// How many conditions of a program are indexed. A candidate fulfils one in each layer.
const LAYERS: usize = 4;

/// Some programs: bits of one word of the sets of all layers.
#[derive(Debug, Clone, Copy)]
struct Some64 {
    word: usize,
    bits: u64,
}

/// The keys of one field.
#[derive(Debug)]
struct FieldIndex {
    field: FieldId,
    /// Values and beginnings of values.
    forward: Affixes,
    /// Ends of values.
    backward: Affixes,
}

/// The programs that [`Index::find`] found. One can be used for many events: then finding does not allocate.
#[derive(Debug, Clone, Default)]
pub struct Candidates {
    words: Vec<u64>,
}

impl Candidates {
    /// The programs by their place among those that the index was made of, in this order.
    pub fn iter(&self) -> impl Iterator<Item = usize> {
        self.words.iter().enumerate().flat_map(|(index, word)| {
            let mut rest = *word;
            std::iter::from_fn(move || {
                let bit = (rest != 0).then(|| rest.trailing_zeros() as usize)?;
                rest &= rest - 1;
                Some(index * 64 + bit)
            })
        })
    }

    /// Whether a program is among them.
    pub fn contains(&self, program: usize) -> bool {
        self.words.get(program / 64).is_some_and(|word| word >> (program % 64) & 1 == 1)
    }

    fn insert(&mut self, programs: &[Some64]) {
        for Some64 { word, bits } in programs {
            self.words[*word] |= bits;
        }
    }
}

impl Index {
    /// The index over `programs`, which must have been compiled against the same [`Fields`](crate::Fields).
    pub fn new<'p>(programs: impl IntoIterator<Item = &'p Program>) -> Self {
        let alternatives: Vec<Vec<Vec<Key>>> = programs.into_iter().map(alternatives).collect();
        let mut programs_with = HashMap::<&Key, usize>::new();
        for key in alternatives.iter().flatten().flatten() {
            *programs_with.entry(key).or_default() += 1;
        }
        let words = alternatives.len().div_ceil(64);
        let mut unconditional = vec![0; LAYERS * words];
        let mut keys = HashMap::<FieldId, Vec<(&Key, Some64)>>::new();
        for (program, alternatives) in alternatives.iter().enumerate() {
            let mut best: Vec<&Vec<Key>> = alternatives.iter().collect();
            // How many candidates a key brings along, on average.
            best.sort_by_key(|keys| {
                keys.iter().map(|key| programs_with[key]).sum::<usize>() / keys.len().max(1)
            });
            for layer in 0..LAYERS {
                let set = Some64 { word: layer * words + program / 64, bits: 1 << (program % 64) };
                match best.get(layer) {
                    None => unconditional[set.word] |= set.bits,
                    Some(alternative) => {
                        for key in *alternative {
                            keys.entry(key.field).or_default().push((key, set));
                        }
                    }
                }
            }
        }
        let mut fields: Vec<FieldIndex> = keys
            .into_iter()
            .map(|(field, keys)| {
                let (backward, forward) = keys.into_iter().partition(|(key, _)| key.place == Place::End);
                FieldIndex {
                    field,
                    forward: Affixes::new(forward, Direction::Forward),
                    backward: Affixes::new(backward, Direction::Backward),
                }
            })
            .collect();
        fields.sort_by_key(|index| index.field);
        Self { words, unconditional: unconditional.into(), fields: fields.into() }
    }

    /// Finds the programs that may match `document`.
    pub fn find<D: Document + ?Sized>(&self, document: &D, candidates: &mut Candidates) {
        candidates.words.clear();
        candidates.words.extend_from_slice(&self.unconditional);
        for index in &self.fields {
            let mut find = |text: &str| {
                index.forward.find(text.as_bytes(), &mut |programs| candidates.insert(programs));
                index.backward.find(text.as_bytes(), &mut |programs| candidates.insert(programs));
            };
            any_scalar(document.field(index.field), &mut |scalar: Scalar<'_>| {
                with_text(scalar, &mut find);
                false
            });
        }
        for word in 0..self.words {
            let layers = (0..LAYERS).map(|layer| candidates.words[layer * self.words + word]);
            candidates.words[word] = layers.fold(u64::MAX, |all, layer| all & layer);
        }
        candidates.words.truncate(self.words);
    }
}
