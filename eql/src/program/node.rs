//! The nodes of a compiled condition and what they say of a document.

use std::cell::Cell;
use std::cmp::Ordering;
use std::ops::ControlFlow;

use super::call::Call;
use crate::ast::{Arithmetic, Comparison};
use crate::fields::FieldId;
use crate::number::Number;
use crate::span::Span;
use crate::text::{Regex, TextSet};
use crate::value::{Document, Value};

/// As deep as arrays may be nested in a document; what lies deeper is not seen.
const MAX_ARRAY_DEPTH: usize = 16;

/// How many values, combinations of them included, one predicate looks at. Only a document with several long arrays
/// in one expression has more.
const MAX_VALUES: usize = 100_000;

/// A condition.
#[derive(Debug)]
pub(crate) struct Node {
    pub(crate) span: Span,
    pub(crate) kind: NodeKind,
}

#[derive(Debug)]
pub(crate) enum NodeKind {
    Not(Box<Node>),
    All(Box<[Node]>),
    Any(Box<[Node]>),
    /// One of the field's values passes the test.
    Field(FieldId, Test),
    /// None of the field's values passes the test, or it has none.
    NotField(FieldId, Test),
    /// One of the operand's values passes the test.
    Operand(Box<Operand>, Test),
    /// None of the operand's values passes the test, or it has none.
    NotOperand(Box<Operand>, Test),
}

/// What a value is tested for.
#[derive(Debug)]
pub(crate) enum Test {
    /// Any value will do.
    Present,
    /// The truth of a condition that is a value.
    True,
    Texts(TextSet),
    Equals(Box<Constants>),
    Compare(Comparison, Box<Ordered>),
    Regex(Box<Regex>),
}

/// Constants of all types, of which a value equals one or not.
#[derive(Debug)]
pub(crate) struct Constants {
    pub(crate) texts: Option<TextSet>,
    /// In order, without repetition.
    pub(crate) integers: Box<[i64]>,
    /// Those that are no integers, in order.
    pub(crate) floats: Box<[f64]>,
    /// Whether `false` is among them, and `true`.
    pub(crate) truths: [bool; 2],
}

/// The right side of `<` and its kin.
#[derive(Debug)]
pub(crate) enum Ordered {
    Number(Number),
    Text(Box<str>),
}

/// What a predicate looks at, if it is more than a field.
#[derive(Debug)]
pub(crate) enum Operand {
    Null,
    Bool(bool),
    Number(Number),
    Text(Box<str>),
    Field(FieldId),
    Condition(Node),
    Negate(Box<Operand>),
    Arithmetic(Arithmetic, Box<[Operand; 2]>),
    Call(Box<Call>),
}

/// The evaluation of one predicate.
pub(crate) struct Evaluation<'d, D: ?Sized> {
    document: &'d D,
    /// How many values may still be looked at.
    remaining: Cell<usize>,
}

impl<'d, D: Document + ?Sized> Evaluation<'d, D> {
    fn of(document: &'d D) -> Self {
        Self { document, remaining: Cell::new(MAX_VALUES) }
    }

    /// Takes a value, or a text of `length` bytes that was put together, into account. False if it is too much.
    pub(super) fn spend(&self, length: usize) -> bool {
        let remaining = self.remaining.get().saturating_sub(1 + length / 64);
        self.remaining.set(remaining);
        remaining > 0
    }
}

/// A value that is there.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Scalar<'a> {
    Bool(bool),
    Number(Number),
    String(&'a str),
}

impl Node {
    pub(crate) fn holds<D: Document + ?Sized>(&self, document: &D) -> bool {
        match &self.kind {
            NodeKind::Not(operand) => !operand.holds(document),
            NodeKind::All(parts) => parts.iter().all(|part| part.holds(document)),
            NodeKind::Any(parts) => parts.iter().any(|part| part.holds(document)),
            NodeKind::Field(field, test) => test.passed_by(document.field(*field)),
            NodeKind::NotField(field, test) => !test.passed_by(document.field(*field)),
            NodeKind::Operand(operand, test) => {
                operand.any(&Evaluation::of(document), &mut |value| test.passes(value))
            }
            NodeKind::NotOperand(operand, test) => {
                !operand.any(&Evaluation::of(document), &mut |value| test.passes(value))
            }
        }
    }
}

impl Node {
    /// Calls `visit` with every field that is read, in source order, as often as it is written.
    pub(super) fn for_each_field(&self, visit: &mut dyn FnMut(FieldId)) {
        match &self.kind {
            NodeKind::Not(operand) => operand.for_each_field(visit),
            NodeKind::All(parts) | NodeKind::Any(parts) => {
                for part in parts {
                    part.for_each_field(visit);
                }
            }
            NodeKind::Field(field, _) | NodeKind::NotField(field, _) => visit(*field),
            NodeKind::Operand(operand, _) | NodeKind::NotOperand(operand, _) => operand.for_each_field(visit),
        }
    }
}

impl Test {
    /// Whether `value`, or an element of it, passes.
    fn passed_by(&self, value: Value<'_>) -> bool {
        match (self, value) {
            (Self::Texts(texts), Value::String(text)) => texts.contains(text),
            (Self::Present, Value::String(_)) => true,
            (_, Value::Missing) => false,
            (_, value) => any_scalar(value, &mut |scalar| self.passes(scalar)),
        }
    }

    fn passes(&self, value: Scalar<'_>) -> bool {
        match self {
            Self::Present => true,
            Self::True => matches!(value, Scalar::Bool(true) | Scalar::String("true")),
            Self::Texts(texts) => with_text(value, |text| texts.contains(text)),
            Self::Regex(regex) => with_text(value, |text| regex.covers(text)),
            Self::Equals(constants) => constants.contain(value),
            Self::Compare(comparison, constant) => {
                constant.order_of(value).is_some_and(|order| match comparison {
                    Comparison::Equal => order.is_eq(),
                    Comparison::NotEqual => order.is_ne(),
                    Comparison::Less => order.is_lt(),
                    Comparison::LessOrEqual => order.is_le(),
                    Comparison::Greater => order.is_gt(),
                    Comparison::GreaterOrEqual => order.is_ge(),
                })
            }
        }
    }
}

impl Constants {
    fn contain(&self, value: Scalar<'_>) -> bool {
        let as_text = self.texts.as_ref().is_some_and(|texts| with_text(value, |text| texts.contains(text)));
        as_text
            || match value {
                Scalar::Bool(truth) => self.truths[usize::from(truth)],
                Scalar::Number(number) => self.contain_number(number),
                Scalar::String("false") => self.truths[0],
                Scalar::String("true") => self.truths[1],
                Scalar::String(text) => {
                    self.has_numbers() && Number::parse(text).is_some_and(|n| self.contain_number(n))
                }
            }
    }

    fn has_numbers(&self) -> bool {
        !self.integers.is_empty() || !self.floats.is_empty()
    }

    fn contain_number(&self, number: Number) -> bool {
        match number.as_integer() {
            Some(integer) => self.integers.binary_search(&integer).is_ok(),
            None => self.floats.binary_search_by(|float| float.total_cmp(&number.as_float())).is_ok(),
        }
    }
}

impl Ordered {
    /// How `value` compares with the constant.
    fn order_of(&self, value: Scalar<'_>) -> Option<Ordering> {
        match (self, value) {
            (Self::Number(constant), Scalar::Number(number)) => number.compare(*constant),
            (Self::Number(constant), Scalar::String(text)) => Number::parse(text)?.compare(*constant),
            (Self::Number(_), Scalar::Bool(_)) => None,
            (Self::Text(constant), value) => {
                Some(with_text(value, |text| text.as_bytes().cmp(constant.as_bytes())))
            }
        }
    }
}

impl Operand {
    /// Whether `accept` takes one of the values.
    pub(crate) fn any<D: Document + ?Sized>(
        &self,
        evaluation: &Evaluation<'_, D>,
        accept: &mut dyn FnMut(Scalar<'_>) -> bool,
    ) -> bool {
        match self {
            Self::Null => false,
            Self::Bool(truth) => accept(Scalar::Bool(*truth)),
            Self::Number(number) => accept(Scalar::Number(*number)),
            Self::Text(text) => accept(Scalar::String(text)),
            Self::Field(field) => any_scalar(evaluation.document.field(*field), &mut |scalar| {
                evaluation.spend(0) && accept(scalar)
            }),
            Self::Condition(node) => accept(Scalar::Bool(node.holds(evaluation.document))),
            Self::Negate(operand) => operand.any(evaluation, &mut |value| {
                numeric(value).and_then(Number::negated).is_some_and(|number| accept(Scalar::Number(number)))
            }),
            Self::Arithmetic(operator, operands) => {
                let [left, right] = operands.as_ref();
                left.any(evaluation, &mut |a| {
                    let Some(a) = numeric(a) else { return false };
                    right.any(evaluation, &mut |b| {
                        let result = numeric(b).and_then(|b| a.calculate(*operator, b));
                        result.is_some_and(|number| accept(Scalar::Number(number)))
                    })
                })
            }
            Self::Call(call) => call.any(evaluation, accept),
        }
    }
}

impl Operand {
    fn for_each_field(&self, visit: &mut dyn FnMut(FieldId)) {
        let parts: &[Self] = match self {
            Self::Null | Self::Bool(_) | Self::Number(_) | Self::Text(_) => &[],
            Self::Field(field) => return visit(*field),
            Self::Condition(node) => return node.for_each_field(visit),
            Self::Negate(operand) => std::slice::from_ref(operand),
            Self::Arithmetic(_, operands) => operands.as_slice(),
            Self::Call(call) => &call.arguments,
        };
        for part in parts {
            part.for_each_field(visit);
        }
    }
}

/// The values of an operand that reads no field: at most one.
pub(crate) fn constant_values(operand: &Operand, take: &mut dyn FnMut(Scalar<'_>)) {
    struct Nothing;
    impl Document for Nothing {
        fn field(&self, _: FieldId) -> Value<'_> {
            Value::Missing
        }
    }
    operand.any(&Evaluation::of(&Nothing), &mut |value| {
        take(value);
        true
    });
}

/// Whether `accept` takes `value` or an element of it.
pub(crate) fn any_scalar(value: Value<'_>, accept: &mut impl FnMut(Scalar<'_>) -> bool) -> bool {
    each_scalar(value, MAX_ARRAY_DEPTH, accept).is_break()
}

fn each_scalar(
    value: Value<'_>,
    depth: usize,
    accept: &mut impl FnMut(Scalar<'_>) -> bool,
) -> ControlFlow<()> {
    let scalar = match value {
        Value::Missing => return ControlFlow::Continue(()),
        Value::Bool(truth) => Scalar::Bool(truth),
        Value::Integer(number) => Scalar::Number(Number::Integer(number)),
        Value::Float(number) => Scalar::Number(Number::Float(number)),
        Value::String(text) => Scalar::String(text),
        Value::Array(_) if depth == 0 => return ControlFlow::Continue(()),
        Value::Array(array) => {
            return (0..array.len()).try_for_each(|index| each_scalar(array.get(index), depth - 1, accept));
        }
    };
    if accept(scalar) { ControlFlow::Break(()) } else { ControlFlow::Continue(()) }
}

/// A value as a number; a text is taken as the number that it denotes.
pub(super) fn numeric(value: Scalar<'_>) -> Option<Number> {
    match value {
        Scalar::Bool(_) => None,
        Scalar::Number(number) => Some(number),
        Scalar::String(text) => Number::parse(text),
    }
}

/// A value by its text: `5`, `true`.
pub(crate) fn with_text<T>(value: Scalar<'_>, look: impl FnOnce(&str) -> T) -> T {
    match value {
        Scalar::Bool(false) => look("false"),
        Scalar::Bool(true) => look("true"),
        Scalar::Number(number) => look(number.text().as_str()),
        Scalar::String(text) => look(text),
    }
}
