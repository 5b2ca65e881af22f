//! What went wrong where the parser could not go on, in the words of the person who wrote the query.

use super::{KEYWORDS, Parser};
use crate::ast::{Comparison, MatchOperator};
use crate::error::{Error, quoted};
use crate::lexer::TokenKind;
use crate::span::Span;

const SINGLE_EVENT: &str = "a query decides on one event: `category where condition`";

/// `null` as an element of a list.
pub(super) fn null_in_list(span: Span) -> Error {
    Error::new("`null` cannot be an element of a list", span)
        .with_help("write `field == null or field in (…)`")
}

/// Something else than a constant on the right of `operator`.
pub(super) fn not_constant(span: Span, operator: &str) -> Error {
    Error::new(format!("the right side of `{operator}` must be constants"), span)
        .with_help("fields and calculations cannot stand there: compare with `==`, or list the values")
}

impl Parser<'_> {
    /// The error for a token that is none of `what`, unless it is a known slip.
    pub(super) fn expected(&self, what: &str) -> Error {
        self.refused_construct().or_else(|| self.slip()).unwrap_or_else(|| self.unexpected(what))
    }

    fn unexpected(&self, what: &str) -> Error {
        let message = match self.token.kind {
            TokenKind::End => format!("expected {what}, but the query ends here"),
            _ => format!("expected {what}, found {}", quoted(self.text())),
        };
        Error::new(message, self.token.span)
    }

    /// Parts of EQL that need more than one event.
    fn refused_construct(&self) -> Option<Error> {
        let construct = match (self.token.kind, self.text()) {
            (TokenKind::Pipe, _) => "pipes are",
            (TokenKind::Name, "sequence") => "sequences are",
            (TokenKind::Name, "sample") => "samples are",
            (TokenKind::Name, "join") => "joins are",
            (TokenKind::Name, "until") => "`until` is",
            (TokenKind::Name, "of") => {
                "relations between processes (`child of`, `descendant of`, `event of`) are"
            }
            (TokenKind::Name, "by" | "with" | "maxspan" | "fork") => "parts of a sequence are",
            (TokenKind::LeftBracket, _) => "event filters in brackets are",
            _ => return None,
        };
        let error = Error::new(format!("{construct} not supported"), self.token.span).with_help(SINGLE_EVENT);
        // The others may be slips in a query of one event.
        let whole = self.is(TokenKind::Pipe) || matches!(self.text(), "sequence" | "sample" | "join");
        Some(if whole { error.about_several_events() } else { error })
    }

    /// Slips that the token itself betrays.
    fn slip(&self) -> Option<Error> {
        let help = match self.token.kind {
            TokenKind::Name => {
                let lower = self.text().to_ascii_lowercase();
                match lower.as_str() {
                    "is" => "write `== null` or `!= null`".to_owned(),
                    "matches" | "match" | "rlike" => "write `regex`".to_owned(),
                    _ if lower != self.text() && KEYWORDS.contains(&lower.as_str()) => {
                        format!("keywords are lower-case: write `{lower}`")
                    }
                    _ => return None,
                }
            }
            TokenKind::TildeName => {
                "only `in~`, `like~`, `regex~` and functions have an insensitive form".to_owned()
            }
            _ => return None,
        };
        Some(Error::new(format!("unexpected {}", quoted(self.text())), self.token.span).with_help(help))
    }

    pub(super) fn expected_field(&self) -> Error {
        if self.at_keyword() && self.refused_construct().is_none() {
            return self.unexpected("a field").with_help(format!(
                "{} is a keyword; a field with this name is written in backquotes",
                quoted(self.text())
            ));
        }
        self.expected("a field")
    }

    pub(super) fn array_index(&self) -> Error {
        Error::new("array elements cannot be addressed", self.token.span)
            .with_help("a predicate on an array holds if any of its elements satisfies it")
    }

    /// A second comparison behind a first.
    pub(super) fn chained(&self) -> Error {
        Error::new("comparisons cannot be chained", self.token.span)
            .with_help("write `a == b and b == c`, or put one comparison in parentheses")
    }

    /// `f not like …`; `not` stands at `not`.
    pub(super) fn not_infix(&self, not: Span) -> Error {
        if self.match_operator().is_some() {
            let operator = quoted(self.text());
            let span = Span::new(not.start, self.token.span.end);
            return Error::new(format!("there is no `not` before {operator}"), span)
                .with_help(format!("write `not field {} …`", self.text()));
        }
        self.unexpected("`in` after `not`")
    }

    pub(super) fn expected_pattern(&self, operator: MatchOperator) -> Error {
        let operator = operator.symbol();
        match self.token.kind {
            TokenKind::Name | TokenKind::QuotedName | TokenKind::Question if !self.at_keyword() => {
                not_constant(self.token.span, operator)
            }
            TokenKind::Integer | TokenKind::Decimal | TokenKind::Minus => self
                .unexpected(&format!("a string after `{operator}`"))
                .with_help("compare numbers with `==`"),
            TokenKind::Name if matches!(self.text(), "null" | "true" | "false") => self
                .unexpected(&format!("a string after `{operator}`"))
                .with_help(format!("write `== {}`", self.text())),
            _ => self.expected(&format!("a string or a list of strings after `{operator}`")),
        }
    }

    pub(super) fn list_without_parentheses(&self, operator: MatchOperator) -> Error {
        let operator = operator.symbol();
        Error::new(format!("a list after `{operator}` needs parentheses"), self.token.span)
            .with_help(format!("write `field {operator} (\"…\", \"…\")`"))
    }

    /// `f == ("a", "b")`: refused here, since a parenthesis may also begin an ordinary value.
    pub(super) fn refuse_list(&self, operator: Comparison) -> Result<(), Error> {
        let mut ahead = self.lexer.clone();
        let constant = ahead.next_token()?;
        let comma = ahead.next_token()?;
        let is_list = matches!(constant.kind, TokenKind::String | TokenKind::RawString | TokenKind::Integer)
            && comma.kind == TokenKind::Comma;
        if !is_list {
            return Ok(());
        }
        let instead = if operator == Comparison::NotEqual { "not in" } else { "in" };
        Err(Error::new(
            format!("`{}` compares with one value, not with a list", operator.symbol()),
            self.token.span,
        )
        .with_help(format!("write `field {instead} (…)`")))
    }
}
