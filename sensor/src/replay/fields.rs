//! Reads from a JSON document the fields that queries ask for, and skips the rest.

use std::fmt;
use std::ops::Range;

use eql::{Array, FieldId, Fields, Value};
use serde::de::{DeserializeSeed, Deserializer, Error, IgnoredAny, MapAccess, SeqAccess, Visitor};

/// As deep as arrays in arrays are looked into.
const MAX_DEPTH: u32 = 32;

/// The fields of one document at a time, in memory that is used again for the next.
pub struct FieldReader {
    tree: Tree,
    slots: Vec<Slot>,
}

/// The names of the fields, level by level.
struct Tree {
    nodes: Vec<Node>,
}

#[derive(Default)]
struct Node {
    children: Vec<(Box<str>, usize)>,
    /// The field that ends here.
    slot: Option<usize>,
}

/// The values of a field.
#[derive(Default)]
struct Slot {
    values: Vec<Scalar>,
    /// The texts of all values.
    text: String,
}

enum Scalar {
    Bool(bool),
    Integer(i64),
    Float(f64),
    Text(Range<usize>),
}

const ROOT: usize = 0;

impl FieldReader {
    /// A reader for `fields`.
    pub fn new(fields: &Fields) -> Self {
        let mut tree = Tree { nodes: vec![Node::default()] };
        for (id, name) in fields.iter() {
            tree.add(name, id.index());
        }
        let slots = (0..fields.len()).map(|_| Slot::default()).collect();
        Self { tree, slots }
    }

    /// Takes the fields out of `line`, a JSON object or an Elasticsearch hit with one in `_source`.
    pub fn read(&mut self, line: &[u8]) -> Result<(), serde_json::Error> {
        self.clear();
        let mut deserializer = serde_json::Deserializer::from_slice(line);
        (&mut deserializer).deserialize_map(RootVisitor(self))?;
        deserializer.end()
    }

    fn clear(&mut self) {
        for slot in &mut self.slots {
            slot.values.clear();
            slot.text.clear();
        }
    }
}

impl eql::Document for FieldReader {
    fn field(&self, id: FieldId) -> Value<'_> {
        match self.slots.get(id.index()) {
            None => Value::Missing,
            Some(slot) if slot.values.len() > 1 => Value::Array(slot),
            Some(slot) => slot.get(0),
        }
    }
}

impl Array for Slot {
    fn len(&self) -> usize {
        self.values.len()
    }

    fn get(&self, index: usize) -> Value<'_> {
        match self.values.get(index) {
            None => Value::Missing,
            Some(Scalar::Bool(truth)) => Value::Bool(*truth),
            Some(Scalar::Integer(number)) => Value::Integer(*number),
            Some(Scalar::Float(number)) => Value::Float(*number),
            Some(Scalar::Text(range)) => self.text.get(range.clone()).map_or(Value::Missing, Value::String),
        }
    }
}

impl Tree {
    fn add(&mut self, name: &str, slot: usize) {
        let mut node = ROOT;
        for level in name.split('.') {
            node = self.child(node, level).unwrap_or_else(|| {
                self.nodes.push(Node::default());
                let child = self.nodes.len() - 1;
                self.nodes[node].children.push((level.into(), child));
                child
            });
        }
        self.nodes[node].slot = Some(slot);
    }

    fn child(&self, node: usize, level: &str) -> Option<usize> {
        self.nodes[node].children.iter().find(|(name, _)| **name == *level).map(|(_, child)| *child)
    }

    /// The node that `key` leads to, whose dots are levels.
    fn descend(&self, node: usize, key: &str) -> Option<usize> {
        match key.split_once('.') {
            None => self.child(node, key),
            Some((level, rest)) => self.descend(self.child(node, level)?, rest),
        }
    }
}

struct RootVisitor<'r>(&'r mut FieldReader);

impl<'de> Visitor<'de> for RootVisitor<'_> {
    type Value = ();

    fn expecting(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str("an object")
    }

    fn visit_map<A: MapAccess<'de>>(self, mut entries: A) -> Result<(), A::Error> {
        let reader = self.0;
        let mut is_hit = false;
        while let Some(key) = entries.next_key_seed(KeySeed { tree: &reader.tree, node: ROOT })? {
            match key {
                Key::Source => {
                    // What was read so far are fields of the hit, not of the document.
                    reader.clear();
                    is_hit = true;
                    entries.next_value_seed(ValueSeed::new(reader, ROOT))?;
                }
                Key::Node(node) if !is_hit => entries.next_value_seed(ValueSeed::new(reader, node))?,
                Key::Node(_) | Key::Other => {
                    entries.next_value::<IgnoredAny>()?;
                }
            }
        }
        Ok(())
    }
}

/// What a key of an object leads to.
enum Key {
    Node(usize),
    /// `_source` at the root.
    Source,
    Other,
}

struct KeySeed<'t> {
    tree: &'t Tree,
    node: usize,
}

impl<'de> DeserializeSeed<'de> for KeySeed<'_> {
    type Value = Key;

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<Key, D::Error> {
        deserializer.deserialize_str(self)
    }
}

impl Visitor<'_> for KeySeed<'_> {
    type Value = Key;

    fn expecting(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str("a key")
    }

    fn visit_str<E: Error>(self, key: &str) -> Result<Key, E> {
        Ok(match self.tree.descend(self.node, key) {
            Some(node) => Key::Node(node),
            None if self.node == ROOT && key == "_source" => Key::Source,
            None => Key::Other,
        })
    }
}

/// Reads what belongs to a node and all nodes below it.
struct ValueSeed<'r> {
    tree: &'r Tree,
    slots: &'r mut [Slot],
    node: usize,
    /// A field that is written twice has the value that was written last; the elements of an array are all values.
    replace: bool,
    depth: u32,
}

impl<'r> ValueSeed<'r> {
    fn new(reader: &'r mut FieldReader, node: usize) -> Self {
        Self { tree: &reader.tree, slots: &mut reader.slots, node, replace: true, depth: 0 }
    }

    fn put(self, make: impl FnOnce(&mut String) -> Scalar) {
        if let Some(slot) = self.tree.nodes[self.node].slot.and_then(|slot| self.slots.get_mut(slot)) {
            if self.replace {
                slot.values.clear();
                slot.text.clear();
            }
            let value = make(&mut slot.text);
            slot.values.push(value);
        }
    }
}

impl<'de> DeserializeSeed<'de> for ValueSeed<'_> {
    type Value = ();

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<(), D::Error> {
        if self.depth > MAX_DEPTH {
            return deserializer.deserialize_ignored_any(IgnoredAny).map(|_| ());
        }
        deserializer.deserialize_any(self)
    }
}

impl<'de> Visitor<'de> for ValueSeed<'_> {
    type Value = ();

    fn expecting(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str("any JSON value")
    }

    fn visit_unit<E>(self) -> Result<(), E> {
        Ok(())
    }

    fn visit_bool<E>(self, truth: bool) -> Result<(), E> {
        self.put(|_| Scalar::Bool(truth));
        Ok(())
    }

    fn visit_i64<E>(self, number: i64) -> Result<(), E> {
        self.put(|_| Scalar::Integer(number));
        Ok(())
    }

    #[expect(clippy::cast_precision_loss, reason = "the language has no larger integers")]
    fn visit_u64<E>(self, number: u64) -> Result<(), E> {
        self.put(|_| i64::try_from(number).map_or(Scalar::Float(number as f64), Scalar::Integer));
        Ok(())
    }

    fn visit_f64<E>(self, number: f64) -> Result<(), E> {
        self.put(|_| Scalar::Float(number));
        Ok(())
    }

    fn visit_str<E>(self, text: &str) -> Result<(), E> {
        self.put(|texts| {
            let start = texts.len();
            texts.push_str(text);
            Scalar::Text(start..texts.len())
        });
        Ok(())
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut sequence: A) -> Result<(), A::Error> {
        let Self { tree, slots, node, mut replace, depth } = self;
        while sequence
            .next_element_seed(ValueSeed { tree, slots: &mut *slots, node, replace, depth: depth + 1 })?
            .is_some()
        {
            replace = false;
        }
        Ok(())
    }

    fn visit_map<A: MapAccess<'de>>(self, mut entries: A) -> Result<(), A::Error> {
        let Self { tree, slots, node, replace, depth } = self;
        while let Some(key) = entries.next_key_seed(KeySeed { tree, node })? {
            match key {
                Key::Node(node) => entries.next_value_seed(ValueSeed {
                    tree,
                    slots: &mut *slots,
                    node,
                    replace,
                    depth: depth + 1,
                })?,
                Key::Source | Key::Other => {
                    entries.next_value::<IgnoredAny>()?;
                }
            }
        }
        Ok(())
    }
}
