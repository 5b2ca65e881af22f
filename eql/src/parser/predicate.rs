//! Comparisons, lists and patterns: what stands behind an operand.

use super::{Level, Parser, hints};
use crate::ast::{Comparison, Constant, Expr, ExprKind, Literal, MatchOperator, Pattern};
use crate::error::Error;
use crate::lexer::{TokenKind, string_text};

impl Parser<'_> {
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

    pub(super) fn match_operator(&self) -> Option<MatchOperator> {
        Some(match (self.token.kind, self.text()) {
            (TokenKind::Colon, _) => MatchOperator::Colon,
            (TokenKind::Name, "like") => MatchOperator::Like,
            (TokenKind::TildeName, "like~") => MatchOperator::LikeInsensitive,
            (TokenKind::Name, "regex") => MatchOperator::Regex,
            (TokenKind::TildeName, "regex~") => MatchOperator::RegexInsensitive,
            _ => return None,
        })
    }

    pub(super) fn at_predicate(&self) -> bool {
        self.comparison().is_some()
            || self.match_operator().is_some()
            || self.keyword("in")
            || self.keyword("in~")
            || self.keyword("not")
    }

    /// The rest of a predicate, from its operator on.
    pub(super) fn predicate(&mut self, subject: Expr, start: usize) -> Result<Expr, Error> {
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
    pub(super) fn another(&mut self, operator: &str) -> Result<bool, Error> {
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
}
