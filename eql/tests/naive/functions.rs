//! The functions, on characters in lists.

use eql::ast::Arithmetic;

use super::{Scalar, calculate, chars, fold, number_of, text_of};

/// The results for every combination of the arguments' values.
pub fn call(function: &str, insensitive: bool, arguments: &[Vec<Scalar>]) -> Vec<Scalar> {
    let operator = match function {
        "add" => Some(Arithmetic::Add),
        "subtract" => Some(Arithmetic::Subtract),
        "multiply" => Some(Arithmetic::Multiply),
        "divide" => Some(Arithmetic::Divide),
        "modulo" => Some(Arithmetic::Modulo),
        _ => None,
    };
    if let Some(operator) = operator {
        return calculate(operator, &arguments[0], &arguments[1]);
    }
    let mut combinations = vec![vec![]];
    for values in arguments {
        combinations = combinations
            .iter()
            .flat_map(|before: &Vec<Scalar>| {
                values.iter().map(move |value| before.iter().cloned().chain([value.clone()]).collect())
            })
            .collect();
    }
    combinations.iter().filter_map(|combination| apply(function, insensitive, combination)).collect()
}

fn apply(function: &str, insensitive: bool, arguments: &[Scalar]) -> Option<Scalar> {
    let text = |index: usize| fold(&text_of(&arguments[index]), insensitive);
    let whole = |index: usize| match number_of(&arguments[index])? {
        Scalar::Integer(number) => Some(number),
        Scalar::Float(number) => (number.fract() == 0.0).then_some(number as i64),
        Scalar::Bool(_) | Scalar::Text(_) => None,
    };
    let number = |index: usize| Scalar::Integer(i64::try_from(index).expect("tests are short"));
    Some(match function {
        "startsWith" => Scalar::Bool(text(0).starts_with(&text(1))),
        "endsWith" => Scalar::Bool(text(0).ends_with(&text(1))),
        "stringContains" => Scalar::Bool(!text(1).is_empty() && text(0).contains(&text(1))),
        "length" => number(text(0).chars().count()),
        "string" => Scalar::Text(text_of(&arguments[0])),
        "concat" => Scalar::Text(arguments.iter().map(text_of).collect()),
        "indexOf" => {
            let (source, part) = (chars(&text(0)), chars(&text(1)));
            let start = if arguments.len() > 2 { usize::try_from(whole(2)?).unwrap_or(0) } else { 0 };
            number((start..=source.len()).find(|at| source[*at..].starts_with(&part))?)
        }
        "substring" => {
            let source = chars(&text_of(&arguments[0]));
            let length = i64::try_from(source.len()).expect("tests are short");
            let resolve = |position: i64| {
                let position = if position < 0 { position + length } else { position };
                usize::try_from(position.clamp(0, length)).expect("not negative")
            };
            let start = resolve(whole(1)?);
            let end = if arguments.len() > 2 { resolve(whole(2)?) } else { source.len() };
            Scalar::Text(source.get(start..end).unwrap_or_default().iter().collect())
        }
        "between" => {
            let (source, left, right) = (chars(&text(0)), chars(&text(1)), chars(&text(2)));
            let original = chars(&text_of(&arguments[0]));
            if left.is_empty() || right.is_empty() {
                return Some(Scalar::Text(original.into_iter().collect()));
            }
            let greedy = matches!(arguments.get(3), Some(Scalar::Bool(true)));
            let begin =
                (0..source.len()).find(|at| source[*at..].starts_with(&left)).map(|at| at + left.len());
            let inner = begin.and_then(|begin| {
                let mut ends = (begin..source.len()).filter(|at| source[*at..].starts_with(&right));
                let end = if greedy { ends.next_back() } else { ends.next() }?;
                Some(original[begin..end].iter().collect())
            });
            Scalar::Text(inner.unwrap_or_default())
        }
        _ => unreachable!("{function} is not generated"),
    })
}
