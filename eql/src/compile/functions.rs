//! The functions: their names, parameters and results.

use super::{Compiler, Type};
use crate::ast::{Arithmetic, Expr, ExprKind, Literal};
use crate::error::{Error, quoted};
use crate::program::{Call, Function, Network, Operand};
use crate::span::Span;
use crate::suggest::suggest;
use crate::text::Case;

/// What is known of a function.
pub(super) struct Signature {
    name: &'static str,
    /// Whether there is a form with `~`.
    has_insensitive_form: bool,
    parameters: &'static [Parameter],
    /// How many of the parameters must be given.
    required: usize,
    /// Whether the last parameter can be given any number of times.
    repeats: bool,
    pub(super) returns: Type,
    kind: Kind,
}

struct Parameter {
    name: &'static str,
    takes: Type,
    is_constant: bool,
}

#[derive(Clone, Copy)]
enum Kind {
    Arithmetic(Arithmetic),
    Between,
    CidrMatch,
    Number,
    Other(fn() -> Function),
}

const fn parameter(name: &'static str, takes: Type) -> Parameter {
    Parameter { name, takes, is_constant: false }
}

const fn constant(name: &'static str, takes: Type) -> Parameter {
    Parameter { name, takes, is_constant: true }
}

const fn arithmetic(name: &'static str, operator: Arithmetic) -> Signature {
    const OPERANDS: &[Parameter] = &[parameter("left", Type::Number), parameter("right", Type::Number)];
    Signature {
        name,
        has_insensitive_form: false,
        parameters: OPERANDS,
        required: 2,
        repeats: false,
        returns: Type::Number,
        kind: Kind::Arithmetic(operator),
    }
}

const fn test(name: &'static str, function: fn() -> Function) -> Signature {
    const PARAMETERS: &[Parameter] =
        &[parameter("source", Type::String), parameter("substring", Type::String)];
    Signature {
        name,
        has_insensitive_form: true,
        parameters: PARAMETERS,
        required: 2,
        repeats: false,
        returns: Type::Bool,
        kind: Kind::Other(function),
    }
}

/// All functions, by name.
const FUNCTIONS: &[Signature] = &[
    arithmetic("add", Arithmetic::Add),
    Signature {
        name: "between",
        has_insensitive_form: true,
        parameters: &[
            parameter("source", Type::String),
            parameter("left", Type::String),
            parameter("right", Type::String),
            constant("greedy", Type::Bool),
        ],
        required: 3,
        repeats: false,
        returns: Type::String,
        kind: Kind::Between,
    },
    Signature {
        name: "cidrMatch",
        has_insensitive_form: false,
        parameters: &[parameter("address", Type::String), constant("block", Type::String)],
        required: 2,
        repeats: true,
        returns: Type::Bool,
        kind: Kind::CidrMatch,
    },
    Signature {
        name: "concat",
        has_insensitive_form: false,
        parameters: &[parameter("value", Type::Any)],
        required: 1,
        repeats: true,
        returns: Type::String,
        kind: Kind::Other(|| Function::Concat),
    },
    arithmetic("divide", Arithmetic::Divide),
    test("endsWith", || Function::EndsWith),
    Signature {
        name: "indexOf",
        has_insensitive_form: true,
        parameters: &[
            parameter("source", Type::String),
            parameter("substring", Type::String),
            parameter("start", Type::Number),
        ],
        required: 2,
        repeats: false,
        returns: Type::Number,
        kind: Kind::Other(|| Function::IndexOf),
    },
    Signature {
        name: "length",
        has_insensitive_form: false,
        parameters: &[parameter("source", Type::String)],
        required: 1,
        repeats: false,
        returns: Type::Number,
        kind: Kind::Other(|| Function::Length),
    },
    arithmetic("modulo", Arithmetic::Modulo),
    arithmetic("multiply", Arithmetic::Multiply),
    Signature {
        name: "number",
        has_insensitive_form: false,
        parameters: &[parameter("source", Type::String), constant("base", Type::Number)],
        required: 1,
        repeats: false,
        returns: Type::Number,
        kind: Kind::Number,
    },
    test("startsWith", || Function::StartsWith),
    Signature {
        name: "string",
        has_insensitive_form: false,
        parameters: &[parameter("value", Type::Any)],
        required: 1,
        repeats: false,
        returns: Type::String,
        kind: Kind::Other(|| Function::String),
    },
    test("stringContains", || Function::StringContains),
    Signature {
        name: "substring",
        has_insensitive_form: false,
        parameters: &[
            parameter("source", Type::String),
            parameter("start", Type::Number),
            parameter("end", Type::Number),
        ],
        required: 2,
        repeats: false,
        returns: Type::String,
        kind: Kind::Other(|| Function::Substring),
    },
    arithmetic("subtract", Arithmetic::Subtract),
];

/// The function of that name, in whatever case it is written.
pub(super) fn signature(name: &str) -> Option<&'static Signature> {
    FUNCTIONS.iter().find(|signature| signature.name.eq_ignore_ascii_case(name))
}

impl Compiler<'_> {
    /// A call. The arguments' number and types are checked.
    pub(super) fn call(
        &mut self,
        name: &str,
        insensitive: bool,
        arguments: &[Expr],
        span: Span,
    ) -> Result<Operand, Error> {
        let name_span = Span::new(span.start, span.start + name.len() + usize::from(insensitive));
        let signature = signature(name).ok_or_else(|| unknown(name, name_span))?;
        if insensitive && !signature.has_insensitive_form {
            return Err(Error::new(format!("`{name}` has no insensitive form"), name_span)
                .with_help(format!("write `{name}` without `~`")));
        }
        signature.check_count(arguments, span)?;
        for (index, argument) in arguments.iter().enumerate() {
            let parameter = &signature.parameters[index.min(signature.parameters.len() - 1)];
            check_argument(name, parameter, argument)?;
        }
        // Arguments that must be constants come last, and are not evaluated again for each event.
        let evaluated = signature.parameters.iter().take_while(|parameter| !parameter.is_constant).count();
        let (evaluated, constants) = if signature.repeats && !matches!(signature.kind, Kind::CidrMatch) {
            (arguments, [].as_slice())
        } else {
            arguments.split_at(evaluated.min(arguments.len()))
        };
        let function = match signature.kind {
            Kind::Arithmetic(operator) => {
                let [left, right] = arguments else { return Err(signature.wrong_count(span)) };
                return Ok(Operand::Arithmetic(
                    operator,
                    Box::new([self.operand(left)?, self.operand(right)?]),
                ));
            }
            Kind::Between => {
                let greedy = constants.first().map(|greedy| self.constant(greedy)).transpose()?;
                Function::Between { greedy: greedy == Some(Literal::Bool(true)) }
            }
            Kind::CidrMatch => match self.networks(constants)? {
                Some(networks) => Function::CidrMatch(networks),
                None => return Ok(Operand::Null),
            },
            Kind::Number => {
                Function::Number { base: constants.first().map_or(Ok(None), |base| self.base(base))? }
            }
            Kind::Other(function) => function(),
        };
        let arguments = evaluated.iter().map(|argument| self.operand(argument)).collect::<Result<_, _>>()?;
        Ok(Operand::Call(Box::new(Call { function, case: Case::of(insensitive), arguments })))
    }

    /// The value of a constant argument, `null` included.
    fn constant(&mut self, argument: &Expr) -> Result<Literal, Error> {
        if let ExprKind::Constant(literal) = &argument.kind {
            Ok(literal.clone())
        } else {
            self.value_of(argument)
        }
    }

    /// The blocks; nothing if one of them is `null`.
    fn networks(&mut self, blocks: &[Expr]) -> Result<Option<Box<[Network]>>, Error> {
        let mut networks = Vec::new();
        for block in blocks {
            let Literal::String(text) = self.constant(block)? else { return Ok(None) };
            networks.push(Network::parse(&text).ok_or_else(|| {
                Error::new(format!("{} is not a block of IP addresses", quoted(&text)), block.span)
                    .with_help("write an address and a number of bits: `10.0.0.0/8`, `fe80::/10`")
            })?);
        }
        Ok(Some(networks.into()))
    }

    fn base(&mut self, base: &Expr) -> Result<Option<u32>, Error> {
        match self.constant(base)? {
            Literal::Null => Ok(None),
            Literal::Integer(number @ 2..=36) => Ok(Some(number as u32)),
            _ => Err(Error::new("the base of a number must be a whole number from 2 to 36", base.span)),
        }
    }
}

impl Signature {
    fn check_count(&self, arguments: &[Expr], span: Span) -> Result<(), Error> {
        let most = if self.repeats { usize::MAX } else { self.parameters.len() };
        if (self.required..=most).contains(&arguments.len()) { Ok(()) } else { Err(self.wrong_count(span)) }
    }

    fn wrong_count(&self, span: Span) -> Error {
        let shown: Vec<String> = self
            .parameters
            .iter()
            .enumerate()
            .map(|(index, parameter)| match (index < self.required, self.repeats) {
                (true, true) if index + 1 == self.parameters.len() => format!("{}, …", parameter.name),
                (true, _) => parameter.name.to_owned(),
                (false, _) => format!("[{}]", parameter.name),
            })
            .collect();
        Error::new(format!("`{}` is called with the wrong number of arguments", self.name), span)
            .with_help(format!("write `{}({})`", self.name, shown.join(", ")))
    }
}

fn unknown(name: &str, span: Span) -> Error {
    let error = Error::new(format!("there is no function {}", quoted(name)), span);
    match name {
        "wildcard" => error.with_help("write `field : (\"…\", \"…\")`, or `like` to distinguish case"),
        "match" | "matches" => error.with_help("write `field regex (\"…\", \"…\")`"),
        "arrayContains" | "arraySearch" | "arrayCount" => {
            error.with_help("a predicate on an array holds if any of its elements satisfies it")
        }
        _ => {
            let names = FUNCTIONS.iter().map(|signature| signature.name);
            let help = suggest(name, names.clone()).map_or_else(
                || format!("the functions are {}", names.collect::<Vec<_>>().join(", ")),
                |nearest| format!("did you mean `{nearest}`?"),
            );
            error.with_help(help)
        }
    }
}

/// An argument of the wrong type, or one that must be constant and is not.
fn check_argument(function: &str, parameter: &Parameter, argument: &Expr) -> Result<(), Error> {
    let found = super::type_of(argument);
    if !(parameter.takes == Type::Any || matches!(found, Type::Any | Type::Null) || found == parameter.takes)
    {
        let message = format!(
            "`{}` of `{function}` must be {}, found {}",
            parameter.name,
            parameter.takes.name(),
            found.name()
        );
        return Err(Error::new(message, argument.span));
    }
    if parameter.is_constant && !super::is_constant(argument) {
        let message = format!("`{}` of `{function}` must be a constant", parameter.name);
        return Err(Error::new(message, argument.span));
    }
    Ok(())
}
