//! What a query sees of an event.

use std::fmt;

use crate::fields::FieldId;

/// An event, as far as a query looks into it.
pub trait Document {
    /// The value of a field, [`Value::Missing`] if the event does not have it.
    fn field(&self, id: FieldId) -> Value<'_>;
}

/// The value of a field.
#[derive(Clone, Copy, Default)]
pub enum Value<'a> {
    /// The event does not have the field (also: it is `null`).
    #[default]
    Missing,
    /// `true` or `false`.
    Bool(bool),
    /// A whole number.
    Integer(i64),
    /// Any other number.
    Float(f64),
    /// A text.
    String(&'a str),
    /// Several values. An array without a value in it is the same as [`Value::Missing`].
    Array(&'a dyn Array),
}

/// Several values of one field.
///
/// An array may hold arrays; the language sees all values at one level, as Elasticsearch does.
pub trait Array {
    /// How many elements there are.
    fn len(&self) -> usize;

    /// Element `index`, [`Value::Missing`] beyond the end.
    fn get(&self, index: usize) -> Value<'_>;

    /// Whether there is no element.
    fn is_empty(&self) -> bool {
        self.len() == 0
    }
}

/// What can be an element of an array.
pub trait ToValue {
    /// The value, borrowed.
    fn to_value(&self) -> Value<'_>;
}

impl ToValue for String {
    fn to_value(&self) -> Value<'_> {
        Value::String(self)
    }
}

impl ToValue for &str {
    fn to_value(&self) -> Value<'_> {
        Value::String(self)
    }
}

impl ToValue for i64 {
    fn to_value(&self) -> Value<'_> {
        Value::Integer(*self)
    }
}

impl ToValue for Value<'_> {
    fn to_value(&self) -> Value<'_> {
        *self
    }
}

impl<T: ToValue> Array for [T] {
    fn len(&self) -> usize {
        <[T]>::len(self)
    }

    fn get(&self, index: usize) -> Value<'_> {
        <[T]>::get(self, index).map_or(Value::Missing, T::to_value)
    }
}

impl<T: ToValue, const N: usize> Array for [T; N] {
    fn len(&self) -> usize {
        N
    }

    fn get(&self, index: usize) -> Value<'_> {
        Array::get(self.as_slice(), index)
    }
}

impl<T: ToValue> Array for Vec<T> {
    fn len(&self) -> usize {
        self.as_slice().len()
    }

    fn get(&self, index: usize) -> Value<'_> {
        Array::get(self.as_slice(), index)
    }
}

/// So that a slice, too, can become a `&dyn Array`.
impl<A: Array + ?Sized> Array for &A {
    fn len(&self) -> usize {
        A::len(self)
    }

    fn get(&self, index: usize) -> Value<'_> {
        A::get(self, index)
    }
}

impl<'a> From<&'a str> for Value<'a> {
    fn from(text: &'a str) -> Self {
        Self::String(text)
    }
}

impl From<bool> for Value<'_> {
    fn from(truth: bool) -> Self {
        Self::Bool(truth)
    }
}

impl From<i64> for Value<'_> {
    fn from(number: i64) -> Self {
        Self::Integer(number)
    }
}

impl From<f64> for Value<'_> {
    fn from(number: f64) -> Self {
        Self::Float(number)
    }
}

impl fmt::Debug for Value<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Missing => f.write_str("missing"),
            Self::Bool(truth) => truth.fmt(f),
            Self::Integer(number) => number.fmt(f),
            Self::Float(number) => number.fmt(f),
            Self::String(text) => text.fmt(f),
            Self::Array(array) => {
                f.debug_list().entries((0..array.len()).map(|index| array.get(index))).finish()
            }
        }
    }
}
