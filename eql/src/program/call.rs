//! What the functions compute.

use std::net::IpAddr;

use super::node::{Evaluation, Operand, Scalar, numeric, with_text};
use crate::number::Number;
use crate::text::{Case, ends_with, find, find_last, starts_with};
use crate::value::Document;

/// A function with its arguments.
#[derive(Debug)]
pub(crate) struct Call {
    pub(crate) function: Function,
    pub(crate) case: Case,
    pub(crate) arguments: Box<[Operand]>,
}

/// The functions, as far as they are no arithmetic. Arguments that must be constants are part of them.
#[derive(Debug)]
pub(crate) enum Function {
    StartsWith,
    EndsWith,
    StringContains,
    IndexOf,
    Length,
    Substring,
    Concat,
    String,
    Between { greedy: bool },
    Number { base: Option<u32> },
    CidrMatch(Box<[Network]>),
}

/// A block of IP addresses: `10.0.0.0/8`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Network {
    address: IpAddr,
    prefix: u32,
}

type Accept<'c> = &'c mut dyn FnMut(Scalar<'_>) -> bool;

impl Call {
    /// Whether `accept` takes a result; there is one for each combination of the arguments' values.
    pub(super) fn any<D: Document + ?Sized>(
        &self,
        evaluation: &Evaluation<'_, D>,
        accept: Accept<'_>,
    ) -> bool {
        let case = self.case;
        match (&self.function, self.arguments.as_ref()) {
            (Function::Concat, parts) => concat(parts, &mut String::new(), evaluation, accept),
            (Function::Length, [text]) => text.any(evaluation, &mut |value| {
                let length = with_text(value, |text| text.chars().count());
                accept(integer(length))
            }),
            (Function::String, [value]) => {
                value.any(evaluation, &mut |value| with_text(value, |text| accept(Scalar::String(text))))
            }
            (Function::Number { base }, [text]) => text.any(evaluation, &mut |value| {
                let number = match value {
                    Scalar::String(text) => parse_number(text, *base),
                    other => numeric(other),
                };
                number.is_some_and(|number| accept(Scalar::Number(number)))
            }),
            (Function::CidrMatch(networks), [address]) => address.any(evaluation, &mut |value| {
                let Scalar::String(text) = value else { return false };
                let contains = |address| networks.iter().any(|network| network.contains(address));
                text.parse().is_ok_and(|address| accept(Scalar::Bool(contains(address))))
            }),
            (Function::StartsWith, [text, part]) => text_pairs(text, part, evaluation, &mut |text, part| {
                accept(Scalar::Bool(starts_with(text.as_bytes(), part.as_bytes(), case)))
            }),
            (Function::EndsWith, [text, part]) => text_pairs(text, part, evaluation, &mut |text, part| {
                accept(Scalar::Bool(ends_with(text.as_bytes(), part.as_bytes(), case)))
            }),
            (Function::StringContains, [text, part]) => {
                text_pairs(text, part, evaluation, &mut |text, part| {
                    accept(Scalar::Bool(!part.is_empty() && find(text, part, case).is_some()))
                })
            }
            (Function::IndexOf, [text, part]) => text_pairs(text, part, evaluation, &mut |text, part| {
                index_of(text, part, 0, case).is_some_and(|index| accept(integer(index)))
            }),
            (Function::IndexOf, [text, part, start]) => {
                text_pairs(text, part, evaluation, &mut |text, part| {
                    start.any(evaluation, &mut |start| {
                        let start = whole(start).map(|start| usize::try_from(start).unwrap_or(0));
                        let index = start.and_then(|start| index_of(text, part, start, case));
                        index.is_some_and(|index| accept(integer(index)))
                    })
                })
            }
            (Function::Substring, [text, start]) => text.any(evaluation, &mut |text| {
                start.any(evaluation, &mut |start| {
                    let Some(start) = whole(start) else { return false };
                    with_text(text, |text| accept(Scalar::String(substring(text, start, None))))
                })
            }),
            (Function::Substring, [text, start, end]) => text.any(evaluation, &mut |text| {
                start.any(evaluation, &mut |start| {
                    end.any(evaluation, &mut |end| {
                        let (Some(start), Some(end)) = (whole(start), whole(end)) else { return false };
                        with_text(text, |text| accept(Scalar::String(substring(text, start, Some(end)))))
                    })
                })
            }),
            (Function::Between { greedy }, [text, left, right]) => {
                text_pairs(text, left, evaluation, &mut |text, left| {
                    right.any(evaluation, &mut |right| {
                        with_text(right, |right| {
                            accept(Scalar::String(between(text, left, right, *greedy, case)))
                        })
                    })
                })
            }
            // The compiler has counted the arguments.
            _ => false,
        }
    }
}

fn text_pairs<D: Document + ?Sized>(
    first: &Operand,
    second: &Operand,
    evaluation: &Evaluation<'_, D>,
    accept: &mut dyn FnMut(&str, &str) -> bool,
) -> bool {
    first.any(evaluation, &mut |first| {
        second.any(evaluation, &mut |second| {
            with_text(first, |first| with_text(second, |second| accept(first, second)))
        })
    })
}

/// The values of `parts` behind what is in `text` already.
fn concat<D: Document + ?Sized>(
    parts: &[Operand],
    text: &mut String,
    evaluation: &Evaluation<'_, D>,
    accept: Accept<'_>,
) -> bool {
    let Some((first, rest)) = parts.split_first() else {
        return evaluation.spend(text.len()) && accept(Scalar::String(text));
    };
    first.any(evaluation, &mut |value| {
        let length = text.len();
        with_text(value, |part| text.push_str(part));
        let accepted = concat(rest, text, evaluation, accept);
        text.truncate(length);
        accepted
    })
}

fn integer(number: usize) -> Scalar<'static> {
    Scalar::Number(Number::Integer(i64::try_from(number).unwrap_or(i64::MAX)))
}

fn whole(value: Scalar<'_>) -> Option<i64> {
    numeric(value)?.as_integer()
}

/// The byte at which character number `index` begins; the end, if there are just as many characters.
fn byte_of(text: &str, index: usize) -> Option<usize> {
    text.char_indices().map(|(byte, _)| byte).chain([text.len()]).nth(index)
}

fn index_of(text: &str, part: &str, start: usize, case: Case) -> Option<usize> {
    let start_byte = byte_of(text, start)?;
    let found = find(&text[start_byte..], part, case)?;
    Some(start + text.get(start_byte..start_byte + found)?.chars().count())
}

/// From `start` up to, not including, `end`, in characters; negative numbers count from the end of the text.
fn substring(text: &str, start: i64, end: Option<i64>) -> &str {
    let length = text.chars().count();
    let resolve = |position: i64| match usize::try_from(position) {
        Ok(position) => position.min(length),
        Err(_) => length.saturating_sub(usize::try_from(position.unsigned_abs()).unwrap_or(usize::MAX)),
    };
    let (start, end) = (resolve(start), end.map_or(length, resolve));
    if start >= end {
        return "";
    }
    byte_of(text, start)
        .zip(byte_of(text, end))
        .and_then(|(start, end)| text.get(start..end))
        .unwrap_or_default()
}

/// What stands between the first `left` and the next `right`, the last `right` if greedy.
fn between<'t>(text: &'t str, left: &str, right: &str, greedy: bool, case: Case) -> &'t str {
    if left.is_empty() || right.is_empty() {
        return text;
    }
    let Some(behind) = find(text, left, case).and_then(|start| text.get(start + left.len()..)) else {
        return "";
    };
    let end = if greedy { find_last(behind, right, case) } else { find(behind, right, case) };
    end.and_then(|end| behind.get(..end)).unwrap_or_default()
}

fn parse_number(text: &str, base: Option<u32>) -> Option<Number> {
    let text = text.trim();
    let (digits, base) = match (text.strip_prefix("0x"), base) {
        (Some(digits), None | Some(16)) => (digits, 16),
        _ => (text, base.unwrap_or(10)),
    };
    if base == 10 {
        Number::parse(digits)
    } else {
        i64::from_str_radix(digits, base).ok().map(Number::Integer)
    }
}

impl Network {
    /// The block that `text` denotes, `address/bits`, or a single address.
    pub(crate) fn parse(text: &str) -> Option<Self> {
        let (address, prefix) =
            text.split_once('/').map_or((text, None), |(address, prefix)| (address, Some(prefix)));
        let address: IpAddr = address.parse().ok()?;
        let bits = if address.is_ipv4() { 32 } else { 128 };
        let prefix = prefix.map_or(Some(bits), |prefix| prefix.parse().ok())?;
        (prefix <= bits).then_some(Self { address, prefix })
    }

    fn contains(&self, address: IpAddr) -> bool {
        match (self.address, address) {
            (IpAddr::V4(network), IpAddr::V4(address)) => {
                let mask = u32::MAX.checked_shl(32 - self.prefix).unwrap_or(0);
                (network.to_bits() ^ address.to_bits()) & mask == 0
            }
            (IpAddr::V6(network), IpAddr::V6(address)) => {
                let mask = u128::MAX.checked_shl(128 - self.prefix).unwrap_or(0);
                (network.to_bits() ^ address.to_bits()) & mask == 0
            }
            _ => false,
        }
    }
}
