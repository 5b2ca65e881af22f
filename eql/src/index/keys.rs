//! What must be in an event for a program to match: the part of a condition that an index can look up.

use crate::fields::FieldId;
use crate::program::{ClauseKind, Node, NodeKind, Program, Test};

/// A text that a field's value must be, begin with or end with, its ASCII letters in lower case.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub(super) struct Key {
    pub(super) field: FieldId,
    pub(super) place: Place,
    pub(super) text: String,
}

/// Where in a value a key's text stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(crate) enum Place {
    Whole,
    Beginning,
    End,
}

/// The conditions of `program` that can be looked up. Each is a set of keys, one of which every matching event has.
pub(super) fn alternatives(program: &Program) -> Vec<Vec<Key>> {
    let category =
        program.category.as_ref().and_then(|(field, names)| Some(keys_of_field(*field, names.keys()?)));
    let conditions = program.conjuncts.iter().filter(|conjunct| conjunct.kind == ClauseKind::Condition);
    let conditions = conditions.flat_map(|conjunct| &conjunct.nodes).filter_map(keys);
    category.into_iter().chain(conditions).collect()
}

/// Keys of which every event has one for which `node` holds, if there are such.
fn keys(node: &Node) -> Option<Vec<Key>> {
    match &node.kind {
        NodeKind::Field(field, Test::Texts(texts)) => Some(keys_of_field(*field, texts.keys()?)),
        NodeKind::Any(parts) => Some(parts.iter().map(keys).collect::<Option<Vec<_>>>()?.concat()),
        NodeKind::All(parts) => parts.iter().filter_map(keys).min_by_key(Vec::len),
        _ => None,
    }
}

fn keys_of_field(field: FieldId, texts: Vec<(Place, String)>) -> Vec<Key> {
    let key = |(place, text): (Place, String)| Key { field, place, text: text.to_ascii_lowercase() };
    texts.into_iter().map(key).collect()
}
