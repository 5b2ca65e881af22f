//! Numbers: exact comparison of whole and other numbers, their text, arithmetic.

use std::cmp::Ordering;
use std::fmt::{self, Write as _};

use crate::ast::Arithmetic;

/// A number of the language.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Number {
    Integer(i64),
    Float(f64),
}

/// 2^63: the first float beyond all `i64`.
const BEYOND_INTEGERS: f64 = 9_223_372_036_854_775_808.0;

impl Number {
    /// Compares by value, without rounding; `None` if one is not a number.
    pub(crate) fn compare(self, other: Self) -> Option<Ordering> {
        match (self, other) {
            (Self::Integer(a), Self::Integer(b)) => Some(a.cmp(&b)),
            (Self::Float(a), Self::Float(b)) => a.partial_cmp(&b),
            (Self::Integer(a), Self::Float(b)) => integer_with_float(a, b),
            (Self::Float(a), Self::Integer(b)) => integer_with_float(b, a).map(Ordering::reverse),
        }
    }

    /// The number that a text denotes in decimal, if it denotes one.
    pub(crate) fn parse(text: &str) -> Option<Self> {
        // Rust would also take `inf`, `NaN` and their like.
        if !text.bytes().all(|byte| byte.is_ascii_digit() || matches!(byte, b'+' | b'-' | b'.' | b'e' | b'E'))
        {
            return None;
        }
        if let Ok(number) = text.parse() {
            return Some(Self::Integer(number));
        }
        text.parse().ok().filter(|number: &f64| number.is_finite()).map(Self::Float)
    }

    /// The same number as an integer, if it is whole and small enough.
    pub(crate) fn as_integer(self) -> Option<i64> {
        match self {
            Self::Integer(number) => Some(number),
            Self::Float(number) => {
                let whole = number.fract() == 0.0 && (-BEYOND_INTEGERS..BEYOND_INTEGERS).contains(&number);
                whole.then_some(number as i64)
            }
        }
    }

    pub(crate) fn as_float(self) -> f64 {
        match self {
            #[expect(clippy::cast_precision_loss, reason = "arithmetic with a float is arithmetic of floats")]
            Self::Integer(number) => number as f64,
            Self::Float(number) => number,
        }
    }

    /// Of whole numbers a whole number, rounded towards zero. Nothing if it overflows or divides by zero.
    pub(crate) fn calculate(self, operator: Arithmetic, other: Self) -> Option<Self> {
        if let (Self::Integer(a), Self::Integer(b)) = (self, other) {
            return match operator {
                Arithmetic::Add => a.checked_add(b),
                Arithmetic::Subtract => a.checked_sub(b),
                Arithmetic::Multiply => a.checked_mul(b),
                Arithmetic::Divide => a.checked_div(b),
                Arithmetic::Modulo => a.checked_rem(b),
            }
            .map(Self::Integer);
        }
        let (a, b) = (self.as_float(), other.as_float());
        let result = match operator {
            Arithmetic::Add => a + b,
            Arithmetic::Subtract => a - b,
            Arithmetic::Multiply => a * b,
            Arithmetic::Divide => a / b,
            Arithmetic::Modulo => a % b,
        };
        result.is_finite().then_some(Self::Float(result))
    }

    pub(crate) fn negated(self) -> Option<Self> {
        match self {
            Self::Integer(number) => number.checked_neg().map(Self::Integer),
            Self::Float(number) => Some(Self::Float(-number)),
        }
    }

    /// The text of the number, as JSON writes it: `5`, `5.0`, `0.1`, `1e300`.
    pub(crate) fn text(self) -> NumberText {
        let mut text = NumberText { bytes: [0; NumberText::CAPACITY], length: 0 };
        // The longest number fits.
        let _ = match self {
            Self::Integer(number) => write!(text, "{number}"),
            Self::Float(number) => write!(text, "{number:?}"),
        };
        text
    }
}

fn integer_with_float(integer: i64, float: f64) -> Option<Ordering> {
    if float.is_nan() {
        return None;
    }
    if float >= BEYOND_INTEGERS {
        return Some(Ordering::Less);
    }
    if float < -BEYOND_INTEGERS {
        return Some(Ordering::Greater);
    }
    let whole = float.trunc();
    Some(integer.cmp(&(whole as i64)).then_with(|| whole.partial_cmp(&float).unwrap_or(Ordering::Equal)))
}

/// A number's text, without the heap.
pub(crate) struct NumberText {
    bytes: [u8; Self::CAPACITY],
    length: usize,
}

impl NumberText {
    /// `f64`'s longest shortest representation has 24 characters.
    const CAPACITY: usize = 32;

    pub(crate) fn as_str(&self) -> &str {
        std::str::from_utf8(&self.bytes[..self.length]).unwrap_or_default()
    }
}

impl fmt::Write for NumberText {
    fn write_str(&mut self, text: &str) -> fmt::Result {
        let end = self.length + text.len();
        self.bytes.get_mut(self.length..end).ok_or(fmt::Error)?.copy_from_slice(text.as_bytes());
        self.length = end;
        Ok(())
    }
}
