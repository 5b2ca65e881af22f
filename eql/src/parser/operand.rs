//! What operators stand between: constants, fields, calls, parentheses, signs.

use super::{Level, Parser};
use crate::ast::{Expr, ExprKind, Field, Literal};
use crate::error::{Error, quoted};
use crate::lexer::{TokenKind, quoted_name_text, string_text};
use crate::span::Span;

impl Parser<'_> {
    /// What operators stand between: a sign or `not` with its operand, or a primary expression.
    pub(super) fn operand(&mut self, level: Level) -> Result<Expr, Error> {
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
