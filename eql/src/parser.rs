//! Tokens to a tree, by precedence climbing.

mod hints;

use crate::ast::{Arithmetic, Comparison, Constant, Expr, ExprKind, Field, Literal, MatchOperator, Pattern};
use crate::error::{Error, quoted};
use crate::lexer::{Lexer, Token, TokenKind, quoted_name_text, string_text};
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

    fn comparison(&self) -> Option<Comparison> {
        Some(match self.token.kind {
            TokenKind::Equal => Comparison::Equal,
            TokenKind::NotEqual => Comparison::NotEqual,
            TokenKind::Less => Comparison::Less,
            TokenKind::LessOrEqual => Comparison::LessOrEqual,
            TokenKind::Greater => Comparison::Greater,
            TokenKind::GreaterOrEqual => Comparison::GreaterOrEqual,
            _ => return None,
        })
    }

    fn match_operator(&self) -> Option<MatchOperator> {
        Some(match (self.token.kind, self.text()) {
            (TokenKind::Colon, _) => MatchOperator::Colon,
            (TokenKind::Name, "like") => MatchOperator::Like,
            (TokenKind::TildeName, "like~") => MatchOperator::LikeInsensitive,
            (TokenKind::Name, "regex") => MatchOperator::Regex,
            (TokenKind::TildeName, "regex~") => MatchOperator::RegexInsensitive,
            _ => return None,
        })
    }

    fn at_predicate(&self) -> bool {
        self.comparison().is_some()
            || self.match_operator().is_some()
            || self.keyword("in")
            || self.keyword("in~")
            || self.keyword("not")
    }

    /// The rest of a predicate, from its operator on.
    fn predicate(&mut self, subject: Expr, start: usize) -> Result<Expr, Error> {
        let subject = Box::new(subject);
        let kind = if let Some(operator) = self.comparison() {
            self.advance()?;
            if self.is(TokenKind::LeftParen) {
                self.refuse_list(operator)?;
            }
            let right = self.expression(Level::Sum)?;
            ExprKind::Compare { operator, left: subject, right: Box::new(right) }
        } else if let Some(operator) = self.match_operator() {
            self.advance()?;
            let patterns = self.patterns(operator)?;
            ExprKind::Match { subject, operator, patterns }
        } else {
            let negated = self.keyword("not");
            if negated {
                let not = self.advance()?;
                if !self.keyword("in") && !self.keyword("in~") {
                    return Err(self.not_infix(not.span));
                }
            }
            let insensitive = self.keyword("in~");
            self.advance()?;
            let list = self.list()?;
            ExprKind::In { subject, negated, insensitive, list }
        };
        if self.at_predicate() {
            return Err(self.chained());
        }
        Ok(Expr { kind, span: self.since(start) })
    }

    fn list(&mut self) -> Result<Vec<Constant>, Error> {
        self.expect(TokenKind::LeftParen, "a list in parentheses after `in`")?;
        let mut list = Vec::new();
        loop {
            let element = self.expression(Level::Or)?;
            let span = element.span;
            list.push(match element.kind {
                ExprKind::Constant(Literal::Null) => return Err(hints::null_in_list(span)),
                ExprKind::Constant(value) => Constant { value, span },
                _ => return Err(hints::not_constant(span, "in")),
            });
            if !self.another("in")? {
                return Ok(list);
            }
        }
    }

    fn patterns(&mut self, operator: MatchOperator) -> Result<Vec<Pattern>, Error> {
        if !self.is(TokenKind::LeftParen) {
            let pattern = self.pattern(operator)?;
            if self.is(TokenKind::Comma) && self.peek() == TokenKind::String {
                return Err(self.list_without_parentheses(operator));
            }
            return Ok(vec![pattern]);
        }
        self.advance()?;
        let mut patterns = vec![self.pattern(operator)?];
        while self.another(operator.symbol())? {
            patterns.push(self.pattern(operator)?);
        }
        Ok(patterns)
    }

    fn pattern(&mut self, operator: MatchOperator) -> Result<Pattern, Error> {
        match self.token.kind {
            TokenKind::String | TokenKind::RawString => {
                let token = self.advance()?;
                Ok(Pattern { text: string_text(self.source, token)?, span: token.span })
            }
            _ => Err(self.expected_pattern(operator)),
        }
    }

    /// Whether a list goes on behind an element: steps over the comma or the closing parenthesis.
    fn another(&mut self, operator: &str) -> Result<bool, Error> {
        if self.is(TokenKind::Comma) {
            self.advance()?;
            if self.is(TokenKind::RightParen) {
                return Err(Error::new("a list must not end with a comma", self.token.span)
                    .with_help("remove the comma before `)`"));
            }
            return Ok(true);
        }
        if self.is(TokenKind::RightParen) {
            self.advance()?;
            return Ok(false);
        }
        Err(self.expected(&format!("`,` or `)` in the list of `{operator}`")))
    }

    /// What operators stand between: a sign or `not` with its operand, or a primary expression.
    fn operand(&mut self, level: Level) -> Result<Expr, Error> {
        match self.token.kind {
            TokenKind::LeftParen => self.parenthesised(),
            TokenKind::Plus | TokenKind::Minus => self.signed(),
            TokenKind::Name if self.text() == "not" => self.negated(level),
            TokenKind::Name | TokenKind::TildeName
                if self.peek() == TokenKind::LeftParen && !self.at_keyword() =>
            {
                self.call()
            }
            _ => self.primary(),
        }
    }

    fn parenthesised(&mut self) -> Result<Expr, Error> {
        self.advance()?;
        let inner = self.expression(Level::Or)?;
        self.expect(TokenKind::RightParen, "`)`")?;
        Ok(inner)
    }

    fn negated(&mut self, level: Level) -> Result<Expr, Error> {
        if level > Level::Not {
            return Err(self
                .expected("a value")
                .with_help("`not` negates a whole condition; put the condition in parentheses"));
        }
        let not = self.advance()?;
        let operand = Box::new(self.expression(Level::Not)?);
        Ok(Expr { kind: ExprKind::Not(operand), span: self.since(not.span.start) })
    }

    fn signed(&mut self) -> Result<Expr, Error> {
        let sign = self.advance()?;
        if sign.kind == TokenKind::Minus && self.is(TokenKind::Integer) {
            return self.integer(sign.span.start);
        }
        let operand = self.expression(Level::Sign)?;
        let kind = match (sign.kind, operand.kind) {
            (TokenKind::Plus, kind) => kind,
            (_, ExprKind::Constant(Literal::Float(number))) => ExprKind::Constant(Literal::Float(-number)),
            (_, kind) => ExprKind::Negate(Box::new(Expr { kind, span: operand.span })),
        };
        Ok(Expr { kind, span: self.since(sign.span.start) })
    }

    /// A constant or a field.
    fn primary(&mut self) -> Result<Expr, Error> {
        let start = self.token.span.start;
        let kind = match self.token.kind {
            TokenKind::String | TokenKind::RawString => {
                let token = self.advance()?;
                ExprKind::Constant(Literal::String(string_text(self.source, token)?))
            }
            TokenKind::Integer => return self.integer(start),
            TokenKind::Decimal => {
                let number: f64 = self.text().parse().map_err(|_| self.expected("a number"))?;
                if number.is_infinite() {
                    let message = format!("{} is too large for a number", quoted(self.text()));
                    return Err(Error::new(message, self.token.span));
                }
                self.constant(Literal::Float(number))?
            }
            TokenKind::Name | TokenKind::TildeName => match self.text() {
                "true" => self.constant(Literal::Bool(true))?,
                "false" => self.constant(Literal::Bool(false))?,
                "null" => self.constant(Literal::Null)?,
                _ => self.field(false)?,
            },
            TokenKind::QuotedName => self.field(false)?,
            TokenKind::Question => {
                self.advance()?;
                self.field(true)?
            }
            _ => return Err(self.expected("a field, a value or a condition")),
        };
        Ok(Expr { kind, span: self.since(start) })
    }

    fn constant(&mut self, literal: Literal) -> Result<ExprKind, Error> {
        self.advance()?;
        Ok(ExprKind::Constant(literal))
    }

    /// An integer whose sign, if it has one, stands at `start` and has been read.
    fn integer(&mut self, start: usize) -> Result<Expr, Error> {
        let token = self.advance()?;
        let digits = token.span.of(self.source);
        let span = Span::new(start, token.span.end);
        let number = if start == token.span.start { digits.parse() } else { format!("-{digits}").parse() };
        let number = number.map_err(|_| {
            Error::new(format!("{} is too large for a whole number", quoted(span.of(self.source))), span)
                .with_help(format!(
                    "whole numbers go from {} to {}; with `.0` behind it, it is a decimal",
                    i64::MIN,
                    i64::MAX
                ))
        })?;
        Ok(Expr { kind: ExprKind::Constant(Literal::Integer(number)), span })
    }

    fn at_keyword(&self) -> bool {
        self.is(TokenKind::Name) && KEYWORDS.contains(&self.text())
    }

    fn call(&mut self) -> Result<Expr, Error> {
        let name = self.advance()?;
        let text = name.span.of(self.source);
        let (function, insensitive) =
            text.strip_suffix('~').map_or((text, false), |function| (function, true));
        self.advance()?;
        let mut arguments = Vec::new();
        if self.is(TokenKind::RightParen) {
            self.advance()?;
        } else {
            loop {
                arguments.push(self.expression(Level::Or)?);
                if !self.another(text)? {
                    break;
                }
            }
        }
        let kind = ExprKind::Call { function: function.to_owned(), insensitive, arguments };
        Ok(Expr { kind, span: self.since(name.span.start) })
    }

    fn field(&mut self, optional: bool) -> Result<ExprKind, Error> {
        let mut name = String::new();
        loop {
            match self.token.kind {
                // Behind a dot, keywords are names: `event.sequence`.
                TokenKind::Name if !name.is_empty() || !self.at_keyword() => name.push_str(self.text()),
                TokenKind::QuotedName => name.push_str(&quoted_name_text(self.source, self.token.span)),
                _ => return Err(self.expected_field()),
            }
            self.advance()?;
            match self.token.kind {
                TokenKind::Dot => {
                    self.advance()?;
                    name.push('.');
                }
                TokenKind::LeftBracket => return Err(self.array_index()),
                _ => return Ok(ExprKind::Field(Field { name, optional })),
            }
        }
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
