//! Fields as the text of a JSON object, written at once: the same as the text of the tree of values that
//! [`Document::to_json`](super::Document::to_json) gives, without the tree.

use std::fmt::Write as _;

use eql::Value;

use super::Field;
use super::field::place;

/// Writes fields whose dots are levels. Those of one level have to follow each other, as in [`Field::ALL`](super::Field::ALL).
#[derive(Debug)]
pub(crate) struct Writer {
    text: String,
    /// The levels that are open.
    open: &'static str,
}

impl Writer {
    /// The beginning of an object that is likely to have `capacity` bytes.
    pub(crate) fn new(capacity: usize) -> Self {
        let mut text = String::with_capacity(capacity);
        text.push('{');
        Self { text, open: "" }
    }

    /// Adds a field, unless it is missing.
    pub(crate) fn add(&mut self, field: Field, value: Value<'_>) {
        self.add_at(field.place(), value);
    }

    /// Adds a field of another name.
    pub(crate) fn add_other(&mut self, name: &'static str, value: Value<'_>) {
        self.add_at(place(name), value);
    }

    fn add_at(&mut self, (levels, key): (&'static str, &'static str), value: Value<'_>) {
        match value {
            Value::Missing => return,
            Value::Array(array) if array.is_empty() => return,
            _ => {}
        }
        if self.open == levels {
            self.separate();
        } else {
            let shared = self.close_others(levels);
            self.separate();
            split(&levels[shared..]).for_each(|level| {
                write_key(&mut self.text, level);
                self.text.push('{');
            });
            self.open = levels;
        }
        write_key(&mut self.text, key);
        write_value(&mut self.text, value);
    }

    /// The text so far. The object itself is not closed: more can be written.
    pub(crate) fn into_text(mut self) -> String {
        self.close_others("");
        self.text
    }

    /// Closes the levels that are open and none of `levels`. Gives how many bytes of these name levels that stay open.
    fn close_others(&mut self, levels: &str) -> usize {
        let shared = shared(self.open, levels);
        split(&self.open[shared..]).for_each(|_| self.text.push('}'));
        shared
    }

    fn separate(&mut self) {
        if !self.text.ends_with('{') {
            self.text.push(',');
        }
    }
}

/// How many bytes name the levels that both begin with.
fn shared(open: &str, levels: &str) -> usize {
    let (open, levels) = (open.as_bytes(), levels.as_bytes());
    let mut shared = 0;
    for at in 0.. {
        match (open.get(at), levels.get(at)) {
            (None | Some(b'.'), None | Some(b'.')) => {
                shared = at;
                if at >= open.len() || at >= levels.len() {
                    break;
                }
            }
            (one, other) if one != other => break,
            _ => {}
        }
    }
    shared
}

fn split(levels: &str) -> impl Iterator<Item = &str> {
    levels.split('.').filter(|level| !level.is_empty())
}

/// Names of fields have nothing in them that would have to be escaped.
fn write_key(text: &mut String, key: &str) {
    text.push('"');
    text.push_str(key);
    text.push_str("\":");
}

/// Appends a value that is there.
pub(crate) fn write_value(text: &mut String, value: Value<'_>) {
    match value {
        Value::Missing => text.push_str("null"),
        Value::Bool(truth) => text.push_str(if truth { "true" } else { "false" }),
        Value::Integer(number) => {
            // Writing to a string cannot fail.
            let _ = write!(text, "{number}");
        }
        // As serde_json has it: there is more than one way to write such a number.
        Value::Float(number) => text.push_str(&serde_json::Value::from(number).to_string()),
        Value::String(string) => {
            text.push('"');
            write_escaped(text, string);
            text.push('"');
        }
        Value::Array(array) => {
            text.push('[');
            let there = (0..array.len()).map(|index| array.get(index));
            let there = there.filter(|value| !matches!(value, Value::Missing));
            for (number, value) in there.enumerate() {
                if number > 0 {
                    text.push(',');
                }
                write_value(text, value);
            }
            text.push(']');
        }
    }
}

/// Appends what stands between the quotation marks of a JSON string.
pub(crate) fn write_escaped(text: &mut String, string: &str) {
    if !has_escapes(string.as_bytes()) {
        text.push_str(string);
    } else if let Ok(quoted) = serde_json::to_string(string) {
        text.push_str(&quoted[1..quoted.len() - 1]);
    }
}

/// Whether JSON has another way to write one of the bytes: those below the blank, quotation marks, backslashes. Eight at a time.
fn has_escapes(bytes: &[u8]) -> bool {
    const ONES: u64 = u64::MAX / 0xff;
    // The highest bit of a byte is set if it is below `least`, of the lowest such byte at least.
    let below = |word: u64, least: u8| word.wrapping_sub(ONES * u64::from(least)) & !word;
    let is_one = |word: u64| {
        let found = below(word, b' ') | below(word ^ (ONES * u64::from(b'"')), 1);
        (found | below(word ^ (ONES * u64::from(b'\\')), 1)) & (ONES << 7) != 0
    };
    let (words, rest) = bytes.as_chunks::<8>();
    let mut last = [b' '; 8];
    last[..rest.len()].copy_from_slice(rest);
    words.iter().chain(std::iter::once(&last)).any(|word| is_one(u64::from_ne_bytes(*word)))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    /// Without this a level would be written twice.
    #[test]
    fn fields_of_a_level_follow_each_other() {
        let levels = |field: &Field| {
            let name = field.name();
            name.match_indices('.').map(|(dot, _)| &name[..dot]).collect::<Vec<_>>()
        };
        let mut closed = std::collections::BTreeSet::new();
        for pair in Field::ALL.windows(2) {
            let [before, after] = [levels(&pair[0]), levels(&pair[1])];
            closed.extend(before.into_iter().filter(|level| !after.contains(level)));
            assert!(after.iter().all(|level| !closed.contains(level)), "{}", pair[1].name());
        }
    }

    #[test]
    fn values_of_every_kind_are_written_as_json() {
        let mut writer = Writer::new(0);
        writer.add_other("a", Value::Integer(-3));
        writer.add_other("b.c.d", Value::Bool(true));
        writer.add_other("b.c.e", Value::Missing);
        writer.add_other("b.f", Value::Array(&["x", "\n"]));
        writer.add_other("b.g.h", Value::Float(0.5));
        writer.add_other("i", Value::Array(&[""; 0]));
        writer.add_other("j", Value::String("ü\"\\"));
        let text = writer.into_text() + "}";
        assert_eq!(text, r#"{"a":-3,"b":{"c":{"d":true},"f":["x","\n"],"g":{"h":0.5}},"j":"ü\"\\"}"#);
    }

    proptest! {
        #[test]
        fn texts_are_written_as_serde_json_writes_them(string in "[\\x00-\\x24A-Z\\[-\\]\u{7e}-\u{82}\u{ff}ü☃]{0,30}") {
            let mut text = String::new();
            write_value(&mut text, Value::String(&string));
            prop_assert_eq!(text, serde_json::to_string(&string).unwrap());
        }
    }
}
