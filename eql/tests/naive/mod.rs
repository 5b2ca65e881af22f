//! A second evaluator: over the tree, slowly, with every value copied and every list walked. It shares no code with
//! the first one, and is written to be compared with the language's description line by line.

mod functions;
mod lucene;

use std::cmp::Ordering;

use eql::ast::{Arithmetic, Comparison, Literal};
use eql::{Category, Expr, ExprKind, Query};

use crate::support::{Event, Owned};

/// A value that is there, and is no array.
#[derive(Debug, Clone)]
pub enum Scalar {
    Bool(bool),
    Integer(i64),
    Float(f64),
    Text(String),
}

/// What a query says of an event: the index of the clause that decided, and whether it is an exclusion.
pub fn verdict(query: &Query, event: &Event) -> Option<(usize, bool)> {
    if let Category::Name(name) = query.category() {
        let categories = field("event.category", event);
        if !categories.iter().any(|category| matches!(category, Scalar::Text(text) if text == name)) {
            return Some((0, false));
        }
    }
    let conjuncts = match &query.condition().kind {
        ExprKind::And(parts) => parts.clone(),
        _ => vec![query.condition().clone()],
    };
    let mut clause = 1;
    let mut excluded = None;
    for conjunct in &conjuncts {
        if let ExprKind::Not(operand) = &conjunct.kind {
            let parts = match &operand.kind {
                ExprKind::Or(parts) => parts.clone(),
                _ => vec![*operand.clone()],
            };
            for part in parts {
                if holds(&part, event) && excluded.is_none() {
                    excluded = Some((clause, true));
                }
                clause += 1;
            }
        } else {
            if !holds(conjunct, event) {
                return Some((clause, false));
            }
            clause += 1;
        }
    }
    excluded
}

/// Whether a condition is true of an event.
pub fn holds(expr: &Expr, event: &Event) -> bool {
    match &expr.kind {
        ExprKind::Not(operand) => !holds(operand, event),
        ExprKind::And(parts) => parts.iter().all(|part| holds(part, event)),
        ExprKind::Or(parts) => parts.iter().any(|part| holds(part, event)),
        ExprKind::Compare { operator, left, right } => compare(*operator, left, right, event),
        ExprKind::In { subject, negated, insensitive, list } => {
            let found = values(subject, event)
                .iter()
                .any(|value| list.iter().any(|constant| equals(value, &constant.value, *insensitive)));
            found != *negated
        }
        ExprKind::Match { subject, operator, patterns } => values(subject, event).iter().any(|value| {
            let text = text_of(value);
            patterns.iter().any(|pattern| {
                if operator.is_regex() {
                    lucene::covers(&pattern.text, &text, operator.is_insensitive())
                } else {
                    wildcard(&chars(&pattern.text), &chars(&text), operator.is_insensitive())
                }
            })
        }),
        ExprKind::Constant(_) | ExprKind::Field(_) | ExprKind::Call { .. } => {
            values(expr, event).iter().any(|value| {
                matches!(value, Scalar::Bool(true)) || matches!(value, Scalar::Text(text) if text == "true")
            })
        }
        ExprKind::Arithmetic { .. } | ExprKind::Negate(_) => unreachable!("a number is no condition"),
    }
}

fn compare(operator: Comparison, left: &Expr, right: &Expr, event: &Event) -> bool {
    let is_null = |expr: &Expr| matches!(expr.kind, ExprKind::Constant(Literal::Null));
    let negate = operator == Comparison::NotEqual;
    if is_null(left) || is_null(right) {
        let subject = if is_null(right) { left } else { right };
        return values(subject, event).is_empty() != negate;
    }
    let right_is_constant = {
        let mut constant = true;
        right.for_each_field(&mut |_, _| constant = false);
        constant
    };
    let (subject, constant, operator) =
        if right_is_constant { (left, right, operator) } else { (right, left, mirrored(operator)) };
    let constant = match values(constant, &Event::default()).pop() {
        Some(Scalar::Bool(truth)) => Literal::Bool(truth),
        Some(Scalar::Integer(number)) => Literal::Integer(number),
        Some(Scalar::Float(number)) => Literal::Float(number),
        Some(Scalar::Text(text)) => Literal::String(text),
        None => unreachable!("a constant has a value"),
    };
    let mut values = values(subject, event).into_iter();
    match operator {
        Comparison::Equal => values.any(|value| equals(&value, &constant, false)),
        Comparison::NotEqual => !values.any(|value| equals(&value, &constant, false)),
        Comparison::Less => values.any(|value| order(&value, &constant) == Some(Ordering::Less)),
        Comparison::Greater => values.any(|value| order(&value, &constant) == Some(Ordering::Greater)),
        Comparison::LessOrEqual => {
            values.any(|value| matches!(order(&value, &constant), Some(Ordering::Less | Ordering::Equal)))
        }
        Comparison::GreaterOrEqual => {
            values.any(|value| matches!(order(&value, &constant), Some(Ordering::Greater | Ordering::Equal)))
        }
    }
}

fn mirrored(operator: Comparison) -> Comparison {
    match operator {
        Comparison::Less => Comparison::Greater,
        Comparison::LessOrEqual => Comparison::GreaterOrEqual,
        Comparison::Greater => Comparison::Less,
        Comparison::GreaterOrEqual => Comparison::LessOrEqual,
        Comparison::Equal | Comparison::NotEqual => operator,
    }
}

fn equals(value: &Scalar, constant: &Literal, insensitive: bool) -> bool {
    match constant {
        Literal::Null => false,
        Literal::Bool(truth) => text_of(value) == truth.to_string(),
        Literal::Integer(_) | Literal::Float(_) => order(value, constant) == Some(Ordering::Equal),
        Literal::String(text) => fold(text, insensitive) == fold(&text_of(value), insensitive),
    }
}

fn order(value: &Scalar, constant: &Literal) -> Option<Ordering> {
    match constant {
        Literal::Null | Literal::Bool(_) => None,
        Literal::Integer(constant) => compare_numbers(&number_of(value)?, &Scalar::Integer(*constant)),
        Literal::Float(constant) => compare_numbers(&number_of(value)?, &Scalar::Float(*constant)),
        Literal::String(text) => Some(text_of(value).into_bytes().cmp(&text.clone().into_bytes())),
    }
}

/// The tests' numbers are small, so that floating point is exact.
#[expect(clippy::cast_precision_loss, reason = "the numbers of these tests are small")]
fn float(number: &Scalar) -> f64 {
    match number {
        Scalar::Integer(number) => *number as f64,
        Scalar::Float(number) => *number,
        Scalar::Bool(_) | Scalar::Text(_) => unreachable!("not a number"),
    }
}

fn compare_numbers(left: &Scalar, right: &Scalar) -> Option<Ordering> {
    float(left).partial_cmp(&float(right))
}

fn number_of(value: &Scalar) -> Option<Scalar> {
    match value {
        Scalar::Bool(_) => None,
        Scalar::Integer(_) | Scalar::Float(_) => Some(value.clone()),
        Scalar::Text(text) => {
            if !text.chars().any(|character| character.is_ascii_digit()) {
                return None;
            }
            let integer = text.parse().ok().map(Scalar::Integer);
            integer.or_else(|| text.parse().ok().map(Scalar::Float))
        }
    }
}

fn text_of(value: &Scalar) -> String {
    match value {
        Scalar::Bool(truth) => truth.to_string(),
        Scalar::Integer(number) => number.to_string(),
        Scalar::Float(number) => format!("{number:?}"),
        Scalar::Text(text) => text.clone(),
    }
}

fn chars(text: &str) -> Vec<char> {
    text.chars().collect()
}

fn fold(text: &str, insensitive: bool) -> String {
    if insensitive { text.to_ascii_lowercase() } else { text.to_owned() }
}

/// Straight from the definition; exponential.
fn wildcard(pattern: &[char], text: &[char], insensitive: bool) -> bool {
    match (pattern.split_first(), text.split_first()) {
        (None, None) => true,
        (Some(('*', rest)), None) => wildcard(rest, text, insensitive),
        (Some(('*', rest)), Some((_, behind))) => {
            wildcard(rest, text, insensitive) || wildcard(pattern, behind, insensitive)
        }
        (None, Some(_)) | (Some(_), None) => false,
        (Some(('?', rest)), Some((_, behind))) => wildcard(rest, behind, insensitive),
        (Some((expected, rest)), Some((found, behind))) => {
            let equal = if insensitive { expected.eq_ignore_ascii_case(found) } else { expected == found };
            equal && wildcard(rest, behind, insensitive)
        }
    }
}

/// All values of an expression.
pub fn values(expr: &Expr, event: &Event) -> Vec<Scalar> {
    match &expr.kind {
        ExprKind::Constant(literal) => match literal {
            Literal::Null => vec![],
            Literal::Bool(truth) => vec![Scalar::Bool(*truth)],
            Literal::Integer(number) => vec![Scalar::Integer(*number)],
            Literal::Float(number) => vec![Scalar::Float(*number)],
            Literal::String(text) => vec![Scalar::Text(text.clone())],
        },
        ExprKind::Field(name) => field(&name.name, event),
        ExprKind::Negate(operand) => {
            let zero = vec![Scalar::Integer(0)];
            calculate(Arithmetic::Subtract, &zero, &values(operand, event))
        }
        ExprKind::Arithmetic { operator, left, right } => {
            calculate(*operator, &values(left, event), &values(right, event))
        }
        ExprKind::Call { function, insensitive, arguments } => {
            let arguments: Vec<_> = arguments.iter().map(|argument| values(argument, event)).collect();
            functions::call(function, *insensitive, &arguments)
        }
        _ => vec![Scalar::Bool(holds(expr, event))],
    }
}

fn field(name: &str, event: &Event) -> Vec<Scalar> {
    fn flat(value: &Owned) -> Vec<Scalar> {
        match value {
            Owned::Missing => vec![],
            Owned::Bool(truth) => vec![Scalar::Bool(*truth)],
            Owned::Integer(number) => vec![Scalar::Integer(*number)],
            Owned::Float(number) => vec![Scalar::Float(*number)],
            Owned::String(text) => vec![Scalar::Text(text.clone())],
            Owned::Array(elements) => elements.0.iter().flat_map(flat).collect(),
        }
    }
    event.0.get(name).map(flat).unwrap_or_default()
}

fn calculate(operator: Arithmetic, left: &[Scalar], right: &[Scalar]) -> Vec<Scalar> {
    let mut results = Vec::new();
    for a in left.iter().filter_map(number_of) {
        for b in right.iter().filter_map(number_of) {
            if let (Scalar::Integer(a), Scalar::Integer(b)) = (&a, &b) {
                let (a, b) = (i128::from(*a), i128::from(*b));
                let result = match operator {
                    Arithmetic::Add => Some(a + b),
                    Arithmetic::Subtract => Some(a - b),
                    Arithmetic::Multiply => Some(a * b),
                    Arithmetic::Divide => (b != 0).then(|| a / b),
                    Arithmetic::Modulo => (b != 0).then(|| a % b),
                };
                results.extend(result.and_then(|number| i64::try_from(number).ok()).map(Scalar::Integer));
                continue;
            }
            let (a, b) = (float(&a), float(&b));
            let result = match operator {
                Arithmetic::Add => a + b,
                Arithmetic::Subtract => a - b,
                Arithmetic::Multiply => a * b,
                Arithmetic::Divide => a / b,
                Arithmetic::Modulo => a % b,
            };
            if result.is_finite() {
                results.push(Scalar::Float(result));
            }
        }
    }
    results
}
