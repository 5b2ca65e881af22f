//! Field names and the dense numbers that stand for them.

use std::collections::HashMap;

/// The field names of all programs that were compiled against it, each with a dense number.
///
/// A caller compiles its queries against one `Fields`, and then knows which fields are worth reading from an event
/// and where to put them: field `id` at index [`FieldId::index`].
#[derive(Debug, Clone, Default)]
pub struct Fields {
    names: Vec<String>,
    ids: HashMap<String, FieldId>,
}

/// The number of a field in a [`Fields`].
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct FieldId(u32);

impl FieldId {
    /// The number, for indexing: less than [`Fields::len`].
    pub fn index(self) -> usize {
        self.0 as usize
    }
}

impl Fields {
    /// The number of `name`, a new one if the name is new.
    ///
    /// # Panics
    /// If there are more than `u32::MAX` names.
    pub fn intern(&mut self, name: &str) -> FieldId {
        if let Some(id) = self.ids.get(name) {
            return *id;
        }
        let id =
            FieldId(u32::try_from(self.names.len()).expect("fewer than 2^32 field names fit into memory"));
        self.names.push(name.to_owned());
        self.ids.insert(name.to_owned(), id);
        id
    }

    /// The number of `name`, if it has one.
    pub fn get(&self, name: &str) -> Option<FieldId> {
        self.ids.get(name).copied()
    }

    /// The name of `id`; empty if `id` comes from another `Fields`.
    pub fn name(&self, id: FieldId) -> &str {
        self.names.get(id.index()).map_or("", String::as_str)
    }

    /// How many names there are.
    pub fn len(&self) -> usize {
        self.names.len()
    }

    /// Whether there is no name yet.
    pub fn is_empty(&self) -> bool {
        self.names.is_empty()
    }

    /// All numbers with their names, in the order of the numbers.
    pub fn iter(&self) -> impl Iterator<Item = (FieldId, &str)> {
        self.names.iter().enumerate().map(|(index, name)| (FieldId(index as u32), name.as_str()))
    }
}
