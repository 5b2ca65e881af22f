//! Text to tokens, one at a time.

use crate::error::{Error, quoted};
use crate::span::Span;

/// A token and its place.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Token {
    pub(crate) kind: TokenKind,
    pub(crate) span: Span,
}

/// Keywords are [`TokenKind::Name`]s; the parser knows them by their text.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum TokenKind {
    Name,
    /// A name with a `~` right behind it: `like~`, `startsWith~`.
    TildeName,
    /// A name in backquotes.
    QuotedName,
    Integer,
    Decimal,
    /// `"…"`
    String,
    /// `"""…"""`
    RawString,
    LeftParen,
    RightParen,
    LeftBracket,
    RightBracket,
    Comma,
    Dot,
    Question,
    Colon,
    Equal,
    NotEqual,
    Less,
    LessOrEqual,
    Greater,
    GreaterOrEqual,
    Plus,
    Minus,
    Star,
    Slash,
    Percent,
    Pipe,
    End,
}

/// Reads tokens from a text.
#[derive(Debug, Clone)]
pub(crate) struct Lexer<'s> {
    source: &'s str,
    at: usize,
}

impl<'s> Lexer<'s> {
    pub(crate) fn new(source: &'s str) -> Self {
        Self { source, at: 0 }
    }

    /// The next token; [`TokenKind::End`] at the end, as often as asked.
    pub(crate) fn next_token(&mut self) -> Result<Token, Error> {
        self.skip_blanks()?;
        let start = self.at;
        let rest = &self.source[start..];
        let Some(first) = rest.chars().next() else {
            return Ok(Token { kind: TokenKind::End, span: Span::new(start, start) });
        };
        let (kind, length) = match first {
            'a'..='z' | 'A'..='Z' | '_' | '@' => name(rest),
            '0'..='9' => self.number(rest)?,
            '.' if rest[1..].starts_with(|next: char| next.is_ascii_digit()) => self.number(rest)?,
            '"' => self.string(rest)?,
            '`' => self.quoted_name(rest)?,
            _ => self.symbol(first, rest)?,
        };
        self.at += length;
        Ok(Token { kind, span: Span::new(start, self.at) })
    }

    fn skip_blanks(&mut self) -> Result<(), Error> {
        loop {
            let rest = &self.source[self.at..];
            let trimmed = rest.trim_start_matches([' ', '\t', '\r', '\n']);
            self.at += rest.len() - trimmed.len();
            if trimmed.starts_with("//") {
                self.at += trimmed.find(['\r', '\n']).unwrap_or(trimmed.len());
            } else if trimmed.starts_with("/*") {
                self.at += self.comment(trimmed)?;
            } else {
                return Ok(());
            }
        }
    }

    /// The length of the comment, nested ones included, that `rest` starts with.
    fn comment(&self, rest: &str) -> Result<usize, Error> {
        let bytes = rest.as_bytes();
        let (mut at, mut depth) = (0, 0usize);
        while at < bytes.len() {
            match bytes[at..] {
                [b'/', b'*', ..] => (at, depth) = (at + 2, depth + 1),
                [b'*', b'/', ..] => (at, depth) = (at + 2, depth - 1),
                _ => at += 1,
            }
            if depth == 0 {
                return Ok(at);
            }
        }
        Err(Error::new("this comment is not closed", Span::new(self.at, self.at + 2))
            .with_help("end it with `*/`; comments nest, so each `/*` needs its own"))
    }

    fn number(&self, rest: &str) -> Result<(TokenKind, usize), Error> {
        let bytes = rest.as_bytes();
        let digits = |mut at: usize| {
            while bytes.get(at).is_some_and(u8::is_ascii_digit) {
                at += 1;
            }
            at
        };
        let mut kind = TokenKind::Integer;
        let mut end = digits(0);
        if bytes.get(end) == Some(&b'.') {
            kind = TokenKind::Decimal;
            end = digits(end + 1);
        }
        if matches!(bytes.get(end), Some(b'e' | b'E')) {
            let sign = usize::from(matches!(bytes.get(end + 1), Some(b'+' | b'-')));
            let exponent_end = digits(end + 1 + sign);
            if exponent_end > end + 1 + sign {
                kind = TokenKind::Decimal;
                end = exponent_end;
            }
        }
        let (_, letters) = name(&rest[end..]);
        if letters > 0 {
            let span = Span::new(self.at, self.at + end + letters);
            return Err(Error::new(format!("{} is not a number", quoted(span.of(self.source))), span)
                .with_help(
                    "if it is a field's name, put it in backquotes: a name must not begin with a digit",
                ));
        }
        Ok((kind, end))
    }

    fn string(&self, rest: &str) -> Result<(TokenKind, usize), Error> {
        if let Some(body) = rest.strip_prefix("\"\"\"") {
            let end = body
                .as_bytes()
                .windows(3)
                .position(|bytes| bytes == b"\"\"\"" || matches!(bytes[0], b'\r' | b'\n'));
            let Some(close) = end.filter(|end| body[*end..].starts_with('"')) else {
                return Err(Error::new("this raw string is not closed", Span::new(self.at, self.at + 3))
                    .with_help("end it with `\"\"\"` on the same line"));
            };
            // Up to two quotes more belong to the string: `"""say "yes""""`.
            let extra = body[close + 3..].bytes().take(2).take_while(|byte| *byte == b'"').count();
            return Ok((TokenKind::RawString, close + 6 + extra));
        }
        let mut escaped = false;
        for (at, byte) in rest.bytes().enumerate().skip(1) {
            match byte {
                b'\r' | b'\n' => break,
                _ if escaped => escaped = false,
                b'\\' => escaped = true,
                b'"' => return Ok((TokenKind::String, at + 1)),
                _ => {}
            }
        }
        Err(Error::new("this string is not closed", Span::new(self.at, self.at + 1)).with_help(
            "end it with `\"` on the same line; a quote or a backslash in a string is written `\\\"`, `\\\\`",
        ))
    }

    fn quoted_name(&self, rest: &str) -> Result<(TokenKind, usize), Error> {
        let bytes = rest.as_bytes();
        let mut at = 1;
        while let Some(byte) = bytes.get(at) {
            match byte {
                b'`' if bytes.get(at + 1) == Some(&b'`') => at += 2,
                b'`' => return Ok((TokenKind::QuotedName, at + 1)),
                b'\r' | b'\n' => break,
                _ => at += 1,
            }
        }
        Err(Error::new("this backquoted name is not closed", Span::new(self.at, self.at + 1))
            .with_help("end it with a backquote on the same line"))
    }

    fn symbol(&self, first: char, rest: &str) -> Result<(TokenKind, usize), Error> {
        let second = rest[first.len_utf8()..].chars().next();
        Ok(match (first, second) {
            ('=', Some('=')) => (TokenKind::Equal, 2),
            ('!', Some('=')) => (TokenKind::NotEqual, 2),
            ('<', Some('=')) => (TokenKind::LessOrEqual, 2),
            ('>', Some('=')) => (TokenKind::GreaterOrEqual, 2),
            ('<', Some('>')) => return Err(self.slip("<>", "write `!=`")),
            ('&', Some('&')) => return Err(self.slip("&&", "write `and`")),
            ('|', Some('|')) => return Err(self.slip("||", "write `or`")),
            ('=', Some('~')) => return Err(self.slip("=~", "write `:`, which ignores case, or `regex`")),
            ('?', Some(quote @ ('"' | '\''))) => return Err(self.old_string(quote, 1)),
            ('<', _) => (TokenKind::Less, 1),
            ('>', _) => (TokenKind::Greater, 1),
            ('(', _) => (TokenKind::LeftParen, 1),
            (')', _) => (TokenKind::RightParen, 1),
            ('[', _) => (TokenKind::LeftBracket, 1),
            (']', _) => (TokenKind::RightBracket, 1),
            (',', _) => (TokenKind::Comma, 1),
            ('.', _) => (TokenKind::Dot, 1),
            ('?', _) => (TokenKind::Question, 1),
            (':', _) => (TokenKind::Colon, 1),
            ('+', _) => (TokenKind::Plus, 1),
            ('-', _) => (TokenKind::Minus, 1),
            ('*', _) => (TokenKind::Star, 1),
            ('/', _) => (TokenKind::Slash, 1),
            ('%', _) => (TokenKind::Percent, 1),
            ('|', _) => (TokenKind::Pipe, 1),
            ('=', _) => return Err(self.slip("=", "write `==`; `=` is the old syntax")),
            ('!', _) => return Err(self.slip("!", "write `not`, or `!=` for a comparison")),
            ('\'', _) => return Err(self.old_string('\'', 0)),
            ('“' | '”' | '„' | '‘' | '’', _) => {
                return Err(self.slip(
                    &rest[..first.len_utf8()],
                    "strings are written with plain double quotes: `\"…\"`",
                ));
            }
            _ => {
                let character = &rest[..first.len_utf8()];
                let error = self.slip(character, "");
                return Err(if first.is_alphanumeric() {
                    error.with_help(
                        "a field's name beyond ASCII letters, digits and `_` is written in backquotes",
                    )
                } else {
                    Error::new(error.message(), error.span())
                });
            }
        })
    }

    /// Something that other languages have, or that EQL once had.
    fn slip(&self, found: &str, help: &str) -> Error {
        Error::new(format!("unexpected {}", quoted(found)), Span::new(self.at, self.at + found.len()))
            .with_help(help)
    }

    /// A string in the old syntax: `'…'`, `?"…"`, `?'…'`; its quote stands `prefix` bytes behind the current place.
    fn old_string(&self, quote: char, prefix: usize) -> Error {
        let body_start = self.at + prefix + 1;
        let body = &self.source[body_start..];
        let line = &body[..body.find(['\r', '\n']).unwrap_or(body.len())];
        let body = &line[..line.find(quote).unwrap_or(line.len())];
        let span = Span::new(self.at, (body_start + body.len() + 1).min(self.source.len()));
        let span = Span::new(span.start, self.source.floor_char_boundary(span.end));
        let shown = quoted(body);
        let shown = shown.trim_matches('`');
        if prefix == 0 {
            Error::new("strings in single quotes are the old syntax", span)
                .with_help(format!("write `\"{shown}\"`"))
        } else {
            Error::new("raw strings with `?` are the old syntax", span)
                .with_help(format!("write `\"\"\"{shown}\"\"\"`"))
        }
    }
}

/// The name that `rest` starts with, and its length; the length is 0 if there is none.
fn name(rest: &str) -> (TokenKind, usize) {
    let length = rest
        .bytes()
        .position(|byte| !(byte.is_ascii_alphanumeric() || matches!(byte, b'_' | b'@')))
        .unwrap_or(rest.len());
    if rest.as_bytes().get(length) == Some(&b'~') {
        (TokenKind::TildeName, length + 1)
    } else {
        (TokenKind::Name, length)
    }
}

/// The text of a [`TokenKind::String`] or [`TokenKind::RawString`], its escapes resolved.
pub(crate) fn string_text(source: &str, token: Token) -> Result<String, Error> {
    let text = token.span.of(source);
    if token.kind == TokenKind::RawString {
        return Ok(text[3..text.len() - 3].to_owned());
    }
    let body = &text[1..text.len() - 1];
    if !body.contains('\\') {
        return Ok(body.to_owned());
    }
    let mut resolved = String::with_capacity(body.len());
    let mut rest = body;
    while let Some(backslash) = rest.find('\\') {
        resolved.push_str(&rest[..backslash]);
        let at = token.span.start + 1 + (body.len() - rest.len()) + backslash;
        rest = &rest[backslash + 1..];
        let escape = rest.chars().next().unwrap_or('\\');
        rest = &rest[escape.len_utf8().min(rest.len())..];
        resolved.push(match escape {
            'b' => '\u{8}',
            't' => '\t',
            'n' => '\n',
            'f' => '\u{c}',
            'r' => '\r',
            '"' | '\'' | '\\' => escape,
            'u' => {
                let (character, length) = unicode_escape(rest, at)?;
                rest = &rest[length..];
                character
            }
            _ => {
                let span = Span::new(at, at + 1 + escape.len_utf8());
                return Err(Error::new(format!("{} is not an escape", quoted(span.of(source))), span).with_help(
                    "a backslash is written `\\\\`; in a raw string, `\"\"\"…\"\"\"`, it stands for itself",
                ));
            }
        });
    }
    resolved.push_str(rest);
    Ok(resolved)
}

/// The character of the escape whose `{…}` `rest` starts with, and the length of that.
fn unicode_escape(rest: &str, at: usize) -> Result<(char, usize), Error> {
    let digits = rest.strip_prefix('{').and_then(|rest| rest.split_once('}')).map(|(digits, _)| digits);
    let Some(digits) =
        digits.filter(|d| (2..=8).contains(&d.len()) && d.bytes().all(|digit| digit.is_ascii_hexdigit()))
    else {
        return Err(Error::new("`\\u` is not followed by a character's number", Span::new(at, at + 2))
            .with_help("write two to eight hexadecimal digits in braces: `\\u{e4}`"));
    };
    let character = u32::from_str_radix(digits, 16).ok().and_then(char::from_u32);
    let length = digits.len() + 2;
    let span = Span::new(at, at + 2 + length);
    character
        .map(|character| (character, length))
        .ok_or_else(|| Error::new(format!("there is no character with the number {}", quoted(digits)), span))
}

/// The name of a [`TokenKind::QuotedName`].
pub(crate) fn quoted_name_text(source: &str, span: Span) -> String {
    let text = span.of(source);
    text[1..text.len() - 1].replace("``", "`")
}
