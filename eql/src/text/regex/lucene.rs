//! Lucene's syntax of regular expressions, written anew in the syntax of Rust's.
//!
//! Where they differ: Lucene has no anchors (`^` and `$` are characters), `"…"` quotes, `@` is any text, `#` matches
//! nothing, `.` is any character and thus also a newline, `\d \s \w` know ASCII only, and every other escaped letter
//! is an error. Complement, intersection and intervals of numbers are not what a Rust engine can do; they are refused.

use std::fmt::Write as _;
use std::iter::Peekable;
use std::ops::RangeInclusive;
use std::str::Chars;

use super::Case;

/// Why a regular expression is refused.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub(crate) enum RegexError {
    #[error("complement (`~`) is not supported in a regular expression; as a character it is written `\\~`")]
    Complement,
    #[error(
        "intersection (`&`) is not supported in a regular expression; as a character it is written `\\&`"
    )]
    Intersection,
    #[error(
        "intervals (`<1-9>`) are not supported in a regular expression; as a character `<` is written `\\<`"
    )]
    Interval,
    #[error("`\\{0}` is not an escape of a regular expression: of the letters, only d, D, s, S, w and W are")]
    Escape(char),
    #[error("`{0}` has nothing before it to repeat; as a character it is written `\\{0}`")]
    NothingToRepeat(char),
    #[error("an alternative of a regular expression is empty; write `()` for the empty text")]
    EmptyAlternative,
    #[error("a regular expression ends with `\\`; a backslash is written `\\\\`")]
    TrailingBackslash,
    #[error("`{0}` is not closed in a regular expression; as a character it is written `\\{0}`")]
    Unclosed(char),
    #[error("`)` has no opening `(` in a regular expression; as a character it is written `\\)`")]
    Unopened,
    #[error("a character class is empty or not closed with `]`")]
    Class,
    #[error(
        "a range of a character class ends before it begins, or with `]`; as a character `-` is written `\\-`"
    )]
    Range,
    #[error("a repetition must be `{{n}}`, `{{n,}}` or `{{n,m}}`; as a character `{{` is written `\\{{`")]
    Repetition,
    #[error("a regular expression must not be longer than {MAX_LENGTH} characters")]
    TooLong,
    #[error("the regular expressions are too large or too deeply nested")]
    TooLarge,
}

/// How long an expression may be, in characters: the same as Elasticsearch's default.
const MAX_LENGTH: usize = 1_000;

/// `pattern` in Rust's syntax. It is not anchored.
pub(super) fn translate(pattern: &str, case: Case) -> Result<String, RegexError> {
    if pattern.is_empty() {
        return Ok(String::new());
    }
    if pattern.chars().nth(MAX_LENGTH).is_some() {
        return Err(RegexError::TooLong);
    }
    let mut translator =
        Translator { rest: pattern.chars().peekable(), case, out: String::new(), operand: None };
    translator.whole()?;
    Ok(translator.out)
}

struct Translator<'p> {
    rest: Peekable<Chars<'p>>,
    case: Case,
    out: String,
    /// Where in `out` that begins which a following operator repeats.
    operand: Option<usize>,
}

type Ranges = Vec<RangeInclusive<char>>;

impl Translator<'_> {
    fn whole(&mut self) -> Result<(), RegexError> {
        let mut open = Vec::new();
        while let Some(character) = self.rest.next() {
            let start = self.out.len();
            match character {
                '?' | '*' | '+' | '{' => {
                    self.repeat(character)?;
                    continue;
                }
                '(' if self.rest.next_if_eq(&')').is_some() => self.out.push_str("(?:)"),
                '(' => {
                    open.push(start);
                    self.out.push_str("(?:");
                    self.operand = None;
                    continue;
                }
                '|' if self.operand.is_some() => {
                    self.out.push('|');
                    self.operand = None;
                    continue;
                }
                ')' if open.is_empty() => return Err(RegexError::Unopened),
                ')' if self.operand.is_some() => {
                    self.out.push(')');
                    self.operand = open.pop();
                    continue;
                }
                ')' | '|' => return Err(RegexError::EmptyAlternative),
                '~' => return Err(RegexError::Complement),
                '&' => return Err(RegexError::Intersection),
                '<' => return Err(RegexError::Interval),
                '.' => self.out.push_str("(?s:.)"),
                '@' => self.out.push_str("(?s:.*)"),
                '#' => self.out.push_str(r"[^\x{0}-\x{10ffff}]"),
                '"' => self.quoted()?,
                '[' => self.class()?,
                '\\' => {
                    let (negated, ranges) = self.escaped()?;
                    self.ranges(negated, ranges);
                }
                _ => self.ranges(false, vec![character..=character]),
            }
            self.operand = Some(start);
        }
        if !open.is_empty() {
            return Err(RegexError::Unclosed('('));
        }
        self.operand.map(|_| ()).ok_or(RegexError::EmptyAlternative)
    }

    /// Repeats the last operand. In a group of its own, for Rust takes the second operator of `a+?` as a modifier.
    fn repeat(&mut self, operator: char) -> Result<(), RegexError> {
        let start = self.operand.ok_or(RegexError::NothingToRepeat(operator))?;
        self.out.insert_str(start, "(?:");
        if operator == '{' {
            let repetition = self.repetition()?;
            self.out.push_str(&repetition);
        } else {
            self.out.push(operator);
        }
        self.out.push(')');
        Ok(())
    }

    fn repetition(&mut self) -> Result<String, RegexError> {
        let mut text = String::from("{");
        while let Some(character) = self.rest.next_if(|next| next.is_ascii_digit() || *next == ',') {
            text.push(character);
        }
        let (least, most) = text[1..].split_once(',').unwrap_or((&text[1..], &text[1..]));
        let number = |digits: &str| digits.parse::<u32>().map_err(|_| RegexError::Repetition);
        let least = number(least)?;
        if !most.is_empty() && number(most)? < least {
            return Err(RegexError::Repetition);
        }
        self.rest.next_if_eq(&'}').ok_or(RegexError::Repetition)?;
        text.push('}');
        Ok(text)
    }

    fn quoted(&mut self) -> Result<(), RegexError> {
        self.out.push_str("(?:");
        loop {
            match self.rest.next() {
                Some('"') => break,
                Some(character) => self.ranges(false, vec![character..=character]),
                None => return Err(RegexError::Unclosed('"')),
            }
        }
        self.out.push(')');
        Ok(())
    }

    /// A character class behind its `[`.
    fn class(&mut self) -> Result<(), RegexError> {
        let negated = self.rest.next_if_eq(&'^').is_some();
        let mut all = Ranges::new();
        // As in Lucene, what comes first is an element, also a `]`.
        loop {
            let (excluded, ranges) = match self.rest.next().ok_or(RegexError::Class)? {
                '\\' => self.escaped()?,
                character => (false, vec![character..=character]),
            };
            match ranges.as_slice() {
                [single] if single.start() == single.end() && self.rest.next_if_eq(&'-').is_some() => {
                    let end = match self.rest.next().ok_or(RegexError::Class)? {
                        '\\' => self.rest.next().ok_or(RegexError::TrailingBackslash)?,
                        end => end,
                    };
                    if end < *single.start() {
                        return Err(RegexError::Range);
                    }
                    all.push(*single.start()..=end);
                }
                _ if excluded => all.extend(complement(ranges)),
                _ => all.extend(ranges),
            }
            if self.rest.next_if_eq(&']').is_some() {
                self.ranges(negated, all);
                return Ok(());
            }
        }
    }

    /// What an escape stands for: ranges, or all but these.
    fn escaped(&mut self) -> Result<(bool, Ranges), RegexError> {
        let character = self.rest.next().ok_or(RegexError::TrailingBackslash)?;
        let ranges = match character.to_ascii_lowercase() {
            'd' => vec!['0'..='9'],
            's' => vec![' '..=' ', '\t'..='\n', '\r'..='\r'],
            'w' => vec!['0'..='9', 'A'..='Z', '_'..='_', 'a'..='z'],
            letter if letter.is_ascii_alphabetic() => return Err(RegexError::Escape(character)),
            _ => vec![character..=character],
        };
        Ok((character.is_ascii_uppercase(), ranges))
    }

    /// Appends a class of characters.
    fn ranges(&mut self, negated: bool, mut ranges: Ranges) {
        if self.case == Case::Insensitive {
            let folded: Vec<_> = ranges.iter().flat_map(other_case).collect();
            ranges.extend(folded);
        }
        self.out.push_str(if negated { "[^" } else { "[" });
        for range in ranges {
            // Numbers, so that no character has a meaning. Writing to a string cannot fail.
            let _ = write!(self.out, r"\x{{{:x}}}-\x{{{:x}}}", *range.start() as u32, *range.end() as u32);
        }
        self.out.push(']');
    }
}

/// The ASCII letters of `range` in their other case.
fn other_case(range: &RangeInclusive<char>) -> impl Iterator<Item = RangeInclusive<char>> + use<> {
    let part = |low: char, high: char, turn: fn(&char) -> char| {
        let (start, end) = (*range.start().max(&low), *range.end().min(&high));
        (start <= end).then(|| turn(&start)..=turn(&end))
    };
    [part('a', 'z', char::to_ascii_uppercase), part('A', 'Z', char::to_ascii_lowercase)].into_iter().flatten()
}

/// All characters that are in none of `ranges`.
fn complement(mut ranges: Ranges) -> Ranges {
    ranges.sort_by_key(|range| *range.start());
    let mut rest = Ranges::new();
    let mut next = '\0';
    for range in ranges {
        if next < *range.start() {
            rest.extend((next..*range.start()).next_back().map(|last| next..=last));
        }
        next = (*range.end()..=char::MAX).nth(1).unwrap_or(char::MAX);
    }
    rest.push(next..=char::MAX);
    rest
}
