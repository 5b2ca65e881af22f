//! A condition as a tree, each node with its place in the source.
//!
//! For callers that read a rule's meaning out of it, such as a filter that decides early which events cannot match.
//! The tree is as written, with these exceptions: parentheses are gone (a node's span does not cover the ones around
//! it), `a and b and c` is one node whatever its parentheses, `or` likewise, and a sign before a number is part of it.

use crate::span::Span;

/// A part of a condition.
#[derive(Debug, Clone, PartialEq)]
pub struct Expr {
    /// What it is.
    pub kind: ExprKind,
    /// Where it stands.
    pub span: Span,
}

/// The kinds of [`Expr`].
#[derive(Debug, Clone, PartialEq)]
pub enum ExprKind {
    /// A string, a number, `true`, `false` or `null`.
    Constant(Literal),
    /// A field's value.
    Field(Field),
    /// `not operand`.
    Not(Box<Expr>),
    /// `a and b and …`: at least two, none of them an `And`.
    And(Vec<Expr>),
    /// `a or b or …`: at least two, none of them an `Or`.
    Or(Vec<Expr>),
    /// `left == right` and its kin.
    Compare {
        /// Which comparison.
        operator: Comparison,
        /// What stands on its left.
        left: Box<Expr>,
        /// What stands on its right.
        right: Box<Expr>,
    },
    /// `subject in (…)`, `not in`, `in~`, `not in~`: equality with one of the list. `*` is a character.
    In {
        /// What is looked for.
        subject: Box<Expr>,
        /// Whether it is `not in`.
        negated: bool,
        /// Whether it is `in~`: ASCII letters are equal in both cases.
        insensitive: bool,
        /// Where it is looked for.
        list: Vec<Constant>,
    },
    /// `subject : "a*"`, `like`, `like~`, `regex`, `regex~`, with one pattern or several.
    Match {
        /// What is matched.
        subject: Box<Expr>,
        /// How.
        operator: MatchOperator,
        /// Against which patterns, of which one suffices.
        patterns: Vec<Pattern>,
    },
    /// `function(…)`, `function~(…)`.
    Call {
        /// Its name as written, without the `~`.
        function: String,
        /// Whether `~` follows the name.
        insensitive: bool,
        /// Its arguments.
        arguments: Vec<Expr>,
    },
    /// `left + right` and its kin.
    Arithmetic {
        /// Which operation.
        operator: Arithmetic,
        /// What stands on its left.
        left: Box<Expr>,
        /// What stands on its right.
        right: Box<Expr>,
    },
    /// `-operand`.
    Negate(Box<Expr>),
}

/// A reference to a field.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Field {
    /// Its name with dots, without backquotes.
    pub name: String,
    /// Whether it is written `?name`. It makes no difference to the meaning.
    pub optional: bool,
}

/// A value that stands in the query.
#[derive(Debug, Clone, PartialEq)]
pub enum Literal {
    /// `null`.
    Null,
    /// `true`, `false`.
    Bool(bool),
    /// A number without fraction and exponent.
    Integer(i64),
    /// Any other number.
    Float(f64),
    /// A string, its escapes resolved.
    String(String),
}

/// An element of the list of an `in`. Never `null`.
#[derive(Debug, Clone, PartialEq)]
pub struct Constant {
    /// Its value.
    pub value: Literal,
    /// Where it stands.
    pub span: Span,
}

/// A wildcard pattern or a regular expression.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Pattern {
    /// Its text, the string's escapes resolved.
    pub text: String,
    /// Where it stands.
    pub span: Span,
}

/// A comparison.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Comparison {
    /// `==`
    Equal,
    /// `!=`
    NotEqual,
    /// `<`
    Less,
    /// `<=`
    LessOrEqual,
    /// `>`
    Greater,
    /// `>=`
    GreaterOrEqual,
}

impl Comparison {
    /// As it is written.
    pub fn symbol(self) -> &'static str {
        match self {
            Self::Equal => "==",
            Self::NotEqual => "!=",
            Self::Less => "<",
            Self::LessOrEqual => "<=",
            Self::Greater => ">",
            Self::GreaterOrEqual => ">=",
        }
    }

    /// The comparison that says the same with its sides exchanged.
    #[must_use]
    pub fn flipped(self) -> Self {
        match self {
            Self::Equal | Self::NotEqual => self,
            Self::Less => Self::Greater,
            Self::LessOrEqual => Self::GreaterOrEqual,
            Self::Greater => Self::Less,
            Self::GreaterOrEqual => Self::LessOrEqual,
        }
    }
}

/// How a pattern is compared with a value.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum MatchOperator {
    /// `:`, wildcards, ASCII letters are equal in both cases.
    Colon,
    /// `like`, wildcards, case-sensitive.
    Like,
    /// `like~`, the same as `:`.
    LikeInsensitive,
    /// `regex`, a Lucene regular expression for the whole value, case-sensitive.
    Regex,
    /// `regex~`, the same with ASCII letters equal in both cases.
    RegexInsensitive,
}

impl MatchOperator {
    /// As it is written.
    pub fn symbol(self) -> &'static str {
        match self {
            Self::Colon => ":",
            Self::Like => "like",
            Self::LikeInsensitive => "like~",
            Self::Regex => "regex",
            Self::RegexInsensitive => "regex~",
        }
    }

    /// Whether ASCII letters are equal in both cases.
    pub fn is_insensitive(self) -> bool {
        matches!(self, Self::Colon | Self::LikeInsensitive | Self::RegexInsensitive)
    }

    /// Whether the patterns are regular expressions; otherwise they are wildcards.
    pub fn is_regex(self) -> bool {
        matches!(self, Self::Regex | Self::RegexInsensitive)
    }
}

/// An arithmetic operation.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Arithmetic {
    /// `+`
    Add,
    /// `-`
    Subtract,
    /// `*`
    Multiply,
    /// `/`
    Divide,
    /// `%`
    Modulo,
}

impl Expr {
    /// Calls `visit` with every field reference in it and the reference's place, in source order.
    pub fn for_each_field<'e>(&'e self, visit: &mut dyn FnMut(&'e Field, Span)) {
        match &self.kind {
            ExprKind::Constant(_) => {}
            ExprKind::Field(field) => visit(field, self.span),
            ExprKind::Not(operand) | ExprKind::Negate(operand) => operand.for_each_field(visit),
            ExprKind::And(parts) | ExprKind::Or(parts) | ExprKind::Call { arguments: parts, .. } => {
                for part in parts {
                    part.for_each_field(visit);
                }
            }
            ExprKind::Compare { left, right, .. } | ExprKind::Arithmetic { left, right, .. } => {
                left.for_each_field(visit);
                right.for_each_field(visit);
            }
            ExprKind::In { subject, .. } | ExprKind::Match { subject, .. } => subject.for_each_field(visit),
        }
    }
}
