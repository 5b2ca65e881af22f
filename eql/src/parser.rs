//! Tokens to a tree, by precedence climbing.

mod hints;
mod operand;
mod predicate;

use crate::ast::{Arithmetic, Expr, ExprKind};
use crate::error::Error;
use crate::lexer::{Lexer, Token, TokenKind, string_text};
use crate::query::Category;
use crate::span::Span;

/// How deep a condition may be nested. Everything behind the parser recurses over the tree, and relies on it.
pub(crate) const MAX_DEPTH: usize = 100;
/// How many arithmetic operators a query may have: each can put the tree one level deeper.
const MAX_ARITHMETIC: usize = 200;
/// How long a query may be, in bytes.
pub(crate) const MAX_LENGTH: usize = 16 << 20;

/// What must not stand for a field's or a function's name without backquotes.
const KEYWORDS: &[&str] = &[
    "and", "any", "by", "false", "fork", "in", "join", "like", "maxspan", "not", "null", "of", "or", "regex",
    "sample", "sequence", "true", "until", "where", "with",
];

/// How tightly an operator binds.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum Level {
    Or,
    And,
    Not,
    Predicate,
    Sum,
    Product,
    Sign,
}

/// What can stand behind an operand.
enum Infix {
    Or,
    And,
    /// A comparison or another predicate, whose right side belongs to it.
    Predicate,
    Arithmetic(Arithmetic, Level),
}

/// Parses `category where condition`.
pub(crate) fn parse_query(source: &str) -> Result<(Category, Span, Expr), Error> {
    let mut parser = Parser::new(source)?;
    let start = parser.token;
    let category = parser.category()?;
    if !parser.keyword("where") {
        return Err(parser.expected("`where` after the category"));
    }
    let head = Span::new(start.span.start, parser.token.span.end);
    parser.advance()?;
    let condition = parser.whole_condition()?;
    Ok((category, head, condition))
}

/// The category of a query whose condition may be wrong.
pub(crate) fn parse_category(source: &str) -> Option<Category> {
    let mut parser = Parser::new(source).ok()?;
    let category = parser.category().ok()?;
    parser.keyword("where").then_some(category)
}

/// Parses a condition that stands alone.
pub(crate) fn parse_condition(source: &str) -> Result<Expr, Error> {
    Parser::new(source)?.whole_condition()
}

struct Parser<'s> {
    source: &'s str,
    lexer: Lexer<'s>,
    token: Token,
    /// The end of the token before.
    previous_end: usize,
    depth: usize,
    /// How many arithmetic operators there were so far.
    calculations: usize,
}

impl<'s> Parser<'s> {
    fn new(source: &'s str) -> Result<Self, Error> {
        if source.len() > MAX_LENGTH {
            return Err(Error::new(format!("the query is longer than {MAX_LENGTH} bytes"), Span::new(0, 0)));
        }
        let mut lexer = Lexer::new(source);
        let token = lexer.next_token()?;
        Ok(Self { source, lexer, token, previous_end: 0, depth: 0, calculations: 0 })
    }

    fn advance(&mut self) -> Result<Token, Error> {
        let next = self.lexer.next_token()?;
        let token = std::mem::replace(&mut self.token, next);
        self.previous_end = token.span.end;
        Ok(token)
    }

    fn text(&self) -> &'s str {
        self.token.span.of(self.source)
    }

    fn is(&self, kind: TokenKind) -> bool {
        self.token.kind == kind
    }

    fn keyword(&self, keyword: &str) -> bool {
        matches!(self.token.kind, TokenKind::Name | TokenKind::TildeName) && self.text() == keyword
    }

    fn at_keyword(&self) -> bool {
        self.is(TokenKind::Name) && KEYWORDS.contains(&self.text())
    }

    /// What comes after the current token.
    fn peek(&self) -> TokenKind {
        self.lexer.clone().next_token().map_or(TokenKind::End, |token| token.kind)
    }

    fn expect(&mut self, kind: TokenKind, what: &str) -> Result<Token, Error> {
        if self.is(kind) { self.advance() } else { Err(self.expected(what)) }
    }

    fn since(&self, start: usize) -> Span {
        Span::new(start, self.previous_end)
    }

    fn category(&mut self) -> Result<Category, Error> {
        match self.token.kind {
            TokenKind::String | TokenKind::RawString => {
                let token = self.advance()?;
                Ok(Category::Name(string_text(self.source, token)?))
            }
            TokenKind::Name if self.text() == "any" => {
                self.advance()?;
                Ok(Category::Any)
            }
            TokenKind::Name if !KEYWORDS.contains(&self.text()) => {
                let name = self.text().to_owned();
                self.advance()?;
                Ok(Category::Name(name))
            }
            _ => Err(self.expected("a query of the form `category where condition`")),
        }
    }

    fn whole_condition(&mut self) -> Result<Expr, Error> {
        let condition = self.expression(Level::Or)?;
        if self.is(TokenKind::End) {
            Ok(condition)
        } else {
            Err(self.expected("`and`, `or` or the end of the query"))
        }
    }

    /// An expression of operators that bind at least as tightly as `level`.
    ///
    /// All recursion goes through here. What it does besides is in functions of its own, so that little of the stack
    /// is taken at each level.
    fn expression(&mut self, level: Level) -> Result<Expr, Error> {
        self.depth += 1;
        if self.depth > MAX_DEPTH {
            let message = format!("the condition is nested more than {MAX_DEPTH} levels deep");
            return Err(Error::new(message, self.token.span));
        }
        let start = self.token.span.start;
        let mut left = self.operand(level)?;
        while let Some(operator) = self.infix(level) {
            left = match operator {
                Infix::Or => self.joined(left, start, Level::And, or)?,
                Infix::And => self.joined(left, start, Level::Not, and)?,
                Infix::Predicate => self.predicate(left, start)?,
                Infix::Arithmetic(operator, binds) => self.calculation(left, start, operator, binds)?,
            };
        }
        self.depth -= 1;
        Ok(left)
    }

    /// The operator at the current token, if it binds at least as tightly as `level`.
    fn infix(&self, level: Level) -> Option<Infix> {
        if let Some((operator, binds)) = self.arithmetic() {
            return (binds >= level).then_some(Infix::Arithmetic(operator, binds));
        }
        if self.at_predicate() {
            return (Level::Predicate >= level).then_some(Infix::Predicate);
        }
        if self.keyword("and") {
            return (Level::And >= level).then_some(Infix::And);
        }
        (self.keyword("or") && Level::Or >= level).then_some(Infix::Or)
    }

    /// `left and …`, `left or …`
    fn joined(
        &mut self,
        left: Expr,
        start: usize,
        right: Level,
        join: fn(Expr, Expr) -> ExprKind,
    ) -> Result<Expr, Error> {
        self.advance()?;
        let right = self.expression(right)?;
        Ok(Expr { kind: join(left, right), span: self.since(start) })
    }

    /// `left + …`
    fn calculation(
        &mut self,
        left: Expr,
        start: usize,
        operator: Arithmetic,
        binds: Level,
    ) -> Result<Expr, Error> {
        self.calculations += 1;
        if self.calculations > MAX_ARITHMETIC {
            let message = format!("the query has more than {MAX_ARITHMETIC} arithmetic operators");
            return Err(Error::new(message, self.token.span));
        }
        self.advance()?;
        let right = self.expression(next(binds))?;
        let kind = ExprKind::Arithmetic { operator, left: Box::new(left), right: Box::new(right) };
        Ok(Expr { kind, span: self.since(start) })
    }

    fn arithmetic(&self) -> Option<(Arithmetic, Level)> {
        Some(match self.token.kind {
            TokenKind::Plus => (Arithmetic::Add, Level::Sum),
            TokenKind::Minus => (Arithmetic::Subtract, Level::Sum),
            TokenKind::Star => (Arithmetic::Multiply, Level::Product),
            TokenKind::Slash => (Arithmetic::Divide, Level::Product),
            TokenKind::Percent => (Arithmetic::Modulo, Level::Product),
            _ => return None,
        })
    }
}

/// The level that binds tighter by one, for the right side of an operator that groups to the left.
fn next(level: Level) -> Level {
    match level {
        Level::Or => Level::And,
        Level::And => Level::Not,
        Level::Not => Level::Predicate,
        Level::Predicate => Level::Sum,
        Level::Sum => Level::Product,
        Level::Product | Level::Sign => Level::Sign,
    }
}

fn and(left: Expr, right: Expr) -> ExprKind {
    ExprKind::And(flattened(left, right, |kind| match kind {
        ExprKind::And(parts) => Ok(parts),
        kind => Err(kind),
    }))
}

fn or(left: Expr, right: Expr) -> ExprKind {
    ExprKind::Or(flattened(left, right, |kind| match kind {
        ExprKind::Or(parts) => Ok(parts),
        kind => Err(kind),
    }))
}

/// The operands of `left` and `right` in one list, where `parts` takes apart what is of the same operator.
fn flattened(left: Expr, right: Expr, parts: impl Fn(ExprKind) -> Result<Vec<Expr>, ExprKind>) -> Vec<Expr> {
    let whole = |expr: Expr| {
        let span = expr.span;
        parts(expr.kind).unwrap_or_else(|kind| vec![Expr { kind, span }])
    };
    let mut list = whole(left);
    list.append(&mut whole(right));
    list
}
