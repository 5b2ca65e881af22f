//! A tree to a program: types, patterns and lists are checked and made ready here.

mod clauses;
mod functions;

use crate::ast::{Comparison, Constant, Expr, ExprKind, Literal, MatchOperator, Pattern};
use crate::error::Error;
use crate::fields::{FieldId, Fields};
use crate::number::Number;
use crate::program::{Constants, Node, NodeKind, Operand, Ordered, Program, Scalar, Test, constant_values};
use crate::query::{Category, Query};
use crate::span::Span;
use crate::text::{Case, PieceTooLong, Regex, TextSet};

/// Compiles `query`.
pub(crate) fn compile(query: &Query, fields: &mut Fields) -> Result<Program, Error> {
    let category = match query.category() {
        Category::Any => None,
        Category::Name(name) => {
            Some((fields.intern("event.category"), TextSet::of_strings([name.as_str()], Case::Sensitive)))
        }
    };
    let read = category.iter().map(|(field, _)| *field).collect();
    let mut compiler = Compiler { fields, read, depth: 0, parts: 0, regexes: 0 };
    let (clauses, conjuncts) = clauses::split(query, &mut compiler)?;
    let mut read = compiler.read;
    read.sort_unstable();
    read.dedup();
    let mut order: Vec<usize> = (0..conjuncts.len()).collect();
    order.sort_by_key(|index| conjuncts[*index].nodes.iter().map(clauses::cost).sum::<usize>());
    Ok(Program {
        source: query.source().into(),
        category,
        clauses: clauses.into(),
        conjuncts: conjuncts.into(),
        order: order.into(),
        names: read.iter().map(|field| fields.name(*field).into()).collect(),
        fields: read.into(),
    })
}

/// The type of a value, as far as it is known before there is an event.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Type {
    Any,
    Null,
    Bool,
    Number,
    String,
}

impl Type {
    fn name(self) -> &'static str {
        match self {
            Self::Any => "a field",
            Self::Null => "`null`",
            Self::Bool => "a condition",
            Self::Number => "a number",
            Self::String => "a string",
        }
    }
}

struct Compiler<'f> {
    fields: &'f mut Fields,
    read: Vec<FieldId>,
    /// How many operands enclose the current one.
    depth: usize,
    /// How many operands the outermost one consists of so far.
    parts: usize,
    /// How many regular expressions there are so far.
    regexes: usize,
}

/// Of how many parts a value may be made. Their evaluations stand upon each other on the stack.
const MAX_PARTS: usize = 256;
/// How many regular expressions a query may have: each takes far more memory than other predicates.
const MAX_REGEXES: usize = 1_000;

impl Compiler<'_> {
    /// An expression that must be true or false.
    fn condition(&mut self, expr: &Expr) -> Result<Node, Error> {
        let kind = match &expr.kind {
            ExprKind::Not(operand) => NodeKind::Not(Box::new(self.condition(operand)?)),
            ExprKind::And(parts) => NodeKind::All(self.conditions(parts)?),
            ExprKind::Or(parts) => NodeKind::Any(self.conditions(parts)?),
            ExprKind::Compare { operator, left, right } => {
                self.comparison(*operator, left, right, expr.span)?
            }
            ExprKind::In { subject, negated, insensitive, list } => {
                let test = equals_one_of(list, Case::of(*insensitive));
                self.test(subject, test, *negated)?
            }
            ExprKind::Match { subject, operator, patterns } => {
                let subject_type = type_of(subject);
                if !matches!(subject_type, Type::Any | Type::String) {
                    let message = format!(
                        "`{}` compares strings, but its left side is {}",
                        operator.symbol(),
                        subject_type.name()
                    );
                    return Err(Error::new(message, subject.span));
                }
                let test = self.matches_one_of(*operator, patterns)?;
                self.test(subject, test, false)?
            }
            ExprKind::Constant(_) | ExprKind::Field(_) | ExprKind::Call { .. } => self.truth(expr)?,
            ExprKind::Arithmetic { .. } | ExprKind::Negate(_) => {
                return Err(not_a_condition(expr.span, Type::Number));
            }
        };
        Ok(Node { span: expr.span, kind })
    }

    fn conditions(&mut self, exprs: &[Expr]) -> Result<Box<[Node]>, Error> {
        exprs.iter().map(|expr| self.condition(expr)).collect()
    }

    /// A value that stands for a condition.
    fn truth(&mut self, expr: &Expr) -> Result<NodeKind, Error> {
        match type_of(expr) {
            Type::Any | Type::Bool => match function_test(expr) {
                Some((subject, test)) => self.test(subject, test, false),
                None => self.test(expr, Test::True, false),
            },
            other => Err(not_a_condition(expr.span, other)),
        }
    }

    fn comparison(
        &mut self,
        operator: Comparison,
        left: &Expr,
        right: &Expr,
        span: Span,
    ) -> Result<NodeKind, Error> {
        let (subject, operator, constant) = match (is_constant(left), is_constant(right)) {
            (_, true) => (left, operator, right),
            (true, false) => (right, operator.flipped(), left),
            (false, false) => {
                return Err(Error::new("one side of a comparison must be a constant", span)
                    .with_help("fields cannot be compared with each other"));
            }
        };
        let negated = operator == Comparison::NotEqual;
        let equality = negated || operator == Comparison::Equal;
        let subject_type = type_of(subject);
        let constant_type = type_of(constant);
        let value = self.value_of(constant)?;
        if let (true, Literal::Bool(truth), true) = (equality, &value, is_condition(subject)) {
            let condition = Box::new(self.condition(subject)?);
            return Ok(if *truth == negated {
                NodeKind::Not(condition)
            } else {
                NodeKind::All(Box::new([*condition]))
            });
        }
        let test = match value {
            Literal::Null if equality => return self.test(subject, Test::Present, !negated),
            Literal::Null | Literal::Bool(_) if !equality => {
                return Err(Error::new(
                    format!(
                        "`{}` compares numbers or strings, not {}",
                        operator.symbol(),
                        constant_type.name()
                    ),
                    constant.span,
                ));
            }
            value if equality => equals_one_of(&[Constant { value, span: constant.span }], Case::Sensitive),
            Literal::Integer(number) => {
                Test::Compare(operator, Box::new(Ordered::Number(Number::Integer(number))))
            }
            Literal::Float(number) => {
                Test::Compare(operator, Box::new(Ordered::Number(Number::Float(number))))
            }
            Literal::String(text) => Test::Compare(operator, Box::new(Ordered::Text(text.into()))),
            Literal::Null | Literal::Bool(_) => return Err(not_a_condition(constant.span, constant_type)),
        };
        let comparable = matches!(subject_type, Type::Any | Type::Null) || subject_type == constant_type;
        if !comparable {
            return Err(Error::new(
                format!(
                    "{} and {} cannot be compared with `{}`",
                    subject_type.name(),
                    constant_type.name(),
                    operator.symbol()
                ),
                span,
            ));
        }
        self.test(subject, test, negated)
    }

    /// The value of an expression that reads no field.
    fn value_of(&mut self, expr: &Expr) -> Result<Literal, Error> {
        if let ExprKind::Constant(literal) = &expr.kind {
            return Ok(literal.clone());
        }
        let operand = self.operand(expr)?;
        let mut value = Literal::Null;
        constant_values(&operand, &mut |scalar| {
            value = match scalar {
                Scalar::Bool(truth) => Literal::Bool(truth),
                Scalar::Number(Number::Integer(number)) => Literal::Integer(number),
                Scalar::Number(Number::Float(number)) => Literal::Float(number),
                Scalar::String(text) => Literal::String(text.to_owned()),
            }
        });
        if value == Literal::Null {
            return Err(Error::new("this constant has no value", expr.span)
                .with_help("it overflows, divides by zero, or takes what is not there; for a missing field compare with `null`"));
        }
        Ok(value)
    }

    fn test(&mut self, subject: &Expr, test: Test, negated: bool) -> Result<NodeKind, Error> {
        Ok(match (self.operand(subject)?, negated) {
            (Operand::Field(field), false) => NodeKind::Field(field, test),
            (Operand::Field(field), true) => NodeKind::NotField(field, test),
            (operand, false) => NodeKind::Operand(Box::new(operand), test),
            (operand, true) => NodeKind::NotOperand(Box::new(operand), test),
        })
    }

    fn operand(&mut self, expr: &Expr) -> Result<Operand, Error> {
        if self.depth == 0 {
            self.parts = 0;
        }
        self.parts += 1;
        if self.parts > MAX_PARTS {
            return Err(Error::new(format!("a value is made of more than {MAX_PARTS} parts"), expr.span));
        }
        self.depth += 1;
        let operand = self.operand_kind(expr);
        self.depth -= 1;
        operand
    }

    fn operand_kind(&mut self, expr: &Expr) -> Result<Operand, Error> {
        Ok(match &expr.kind {
            ExprKind::Constant(Literal::Null) => Operand::Null,
            ExprKind::Constant(Literal::Bool(truth)) => Operand::Bool(*truth),
            ExprKind::Constant(Literal::Integer(number)) => Operand::Number(Number::Integer(*number)),
            ExprKind::Constant(Literal::Float(number)) => Operand::Number(Number::Float(*number)),
            ExprKind::Constant(Literal::String(text)) => Operand::Text(text.as_str().into()),
            ExprKind::Field(field) => {
                let id = self.fields.intern(&field.name);
                self.read.push(id);
                Operand::Field(id)
            }
            ExprKind::Negate(operand) => Operand::Negate(Box::new(self.number(operand)?)),
            ExprKind::Arithmetic { operator, left, right } => {
                Operand::Arithmetic(*operator, Box::new([self.number(left)?, self.number(right)?]))
            }
            ExprKind::Call { function, insensitive, arguments } => {
                self.call(function, *insensitive, arguments, expr.span)?
            }
            ExprKind::Not(_)
            | ExprKind::And(_)
            | ExprKind::Or(_)
            | ExprKind::Compare { .. }
            | ExprKind::In { .. }
            | ExprKind::Match { .. } => Operand::Condition(self.condition(expr)?),
        })
    }

    fn number(&mut self, expr: &Expr) -> Result<Operand, Error> {
        match type_of(expr) {
            Type::Any | Type::Number | Type::Null => self.operand(expr),
            other => Err(Error::new(format!("expected a number, found {}", other.name()), expr.span)),
        }
    }

    fn matches_one_of(&mut self, operator: MatchOperator, patterns: &[Pattern]) -> Result<Test, Error> {
        let case = Case::of(operator.is_insensitive());
        let texts = patterns.iter().map(|pattern| pattern.text.as_str());
        if operator.is_regex() {
            self.regexes += 1;
            if self.regexes > MAX_REGEXES {
                let message = format!("the query has more than {MAX_REGEXES} regular expressions");
                return Err(Error::new(message, patterns[0].span).with_help(
                    "several patterns for one field go into one list: `field regex (\"…\", \"…\")`",
                ));
            }
            return Regex::new(texts, case)
                .map(|regex| Test::Regex(Box::new(regex)))
                .map_err(|(index, error)| Error::new(error.to_string(), patterns[index].span));
        }
        TextSet::of_patterns(texts, case).map(Test::Texts).map_err(|(index, PieceTooLong)| {
            let message = format!(
                "more than {} characters with a `?` among them stand between two `*`",
                PieceTooLong::MAX
            );
            Error::new(message, patterns[index].span)
        })
    }
}

fn type_of(expr: &Expr) -> Type {
    match &expr.kind {
        ExprKind::Constant(Literal::Null) => Type::Null,
        ExprKind::Constant(Literal::Integer(_) | Literal::Float(_))
        | ExprKind::Arithmetic { .. }
        | ExprKind::Negate(_) => Type::Number,
        ExprKind::Constant(Literal::String(_)) => Type::String,
        ExprKind::Field(_) => Type::Any,
        ExprKind::Call { function, .. } => {
            functions::signature(function).map_or(Type::Any, |signature| signature.returns)
        }
        ExprKind::Constant(Literal::Bool(_))
        | ExprKind::Not(_)
        | ExprKind::And(_)
        | ExprKind::Or(_)
        | ExprKind::Compare { .. }
        | ExprKind::In { .. }
        | ExprKind::Match { .. } => Type::Bool,
    }
}

fn not_a_condition(span: Span, found: Type) -> Error {
    Error::new(format!("expected a condition, found {}", found.name()), span)
        .with_help("compare it with something: `==`, `:`, `in (…)`")
}

/// Whether `expr` is true or false of every event.
fn is_condition(expr: &Expr) -> bool {
    !matches!(
        expr.kind,
        ExprKind::Constant(_)
            | ExprKind::Field(_)
            | ExprKind::Call { .. }
            | ExprKind::Arithmetic { .. }
            | ExprKind::Negate(_)
    )
}

/// Whether `expr` reads no field.
fn is_constant(expr: &Expr) -> bool {
    let mut constant = true;
    expr.for_each_field(&mut |_, _| constant = false);
    constant
}

fn equals_one_of(list: &[Constant], case: Case) -> Test {
    let (mut texts, mut integers, mut floats, mut truths) = (vec![], vec![], vec![], [false; 2]);
    for constant in list {
        match &constant.value {
            Literal::Null => {}
            Literal::Bool(truth) => truths[usize::from(*truth)] = true,
            Literal::Integer(number) => integers.push(*number),
            Literal::Float(number) => match Number::Float(*number).as_integer() {
                Some(integer) => integers.push(integer),
                None => floats.push(*number),
            },
            Literal::String(text) => texts.push(text.as_str()),
        }
    }
    if integers.is_empty() && floats.is_empty() && truths == [false; 2] {
        return Test::Texts(TextSet::of_strings(texts, case));
    }
    integers.sort_unstable();
    integers.dedup();
    floats.sort_unstable_by(f64::total_cmp);
    Test::Equals(Box::new(Constants {
        texts: (!texts.is_empty()).then(|| TextSet::of_strings(texts, case)),
        integers: integers.into(),
        floats: floats.into(),
        truths,
    }))
}

/// A call that is a test of its first argument against a constant, and thus as fast as the operators.
fn function_test(expr: &Expr) -> Option<(&Expr, Test)> {
    let ExprKind::Call { function, insensitive, arguments } = &expr.kind else { return None };
    let [subject, Expr { kind: ExprKind::Constant(Literal::String(part)), .. }] = arguments.as_slice() else {
        return None;
    };
    if !matches!(type_of(subject), Type::Any | Type::String) {
        return None;
    }
    let case = Case::of(*insensitive);
    let texts = match function.to_ascii_lowercase().as_str() {
        "startswith" => TextSet::of_prefix(part, case),
        "endswith" => TextSet::of_suffix(part, case),
        _ => return None,
    };
    Some((subject, Test::Texts(texts)))
}
