//! Lucene's regular expressions, by the grammar in its documentation and sets of positions. For expressions that are
//! known to be valid.

/// Whether `pattern` covers the whole of `text`.
pub fn covers(pattern: &str, text: &str, insensitive: bool) -> bool {
    let mut parser = Parser { rest: pattern.chars().collect(), at: 0 };
    let expression = if pattern.is_empty() { Regex::Text(vec![]) } else { parser.union() };
    assert_eq!(parser.at, parser.rest.len(), "{pattern} is valid");
    let text: Vec<char> = text.chars().collect();
    expression.ends(&text, 0, insensitive).contains(&text.len())
}

enum Regex {
    /// This text.
    Text(Vec<char>),
    /// A character in, or not in, one of the ranges.
    Class(bool, Vec<(char, char)>),
    Sequence(Vec<Regex>),
    Union(Vec<Regex>),
    Repeat(Box<Regex>, usize, usize),
}

struct Parser {
    rest: Vec<char>,
    at: usize,
}

impl Parser {
    fn peek(&self) -> Option<char> {
        self.rest.get(self.at).copied()
    }

    fn next(&mut self) -> char {
        self.at += 1;
        self.rest[self.at - 1]
    }

    fn eat(&mut self, character: char) -> bool {
        let found = self.peek() == Some(character);
        self.at += usize::from(found);
        found
    }

    fn union(&mut self) -> Regex {
        let mut alternatives = vec![self.sequence()];
        while self.eat('|') {
            alternatives.push(self.sequence());
        }
        Regex::Union(alternatives)
    }

    fn sequence(&mut self) -> Regex {
        let mut parts = Vec::new();
        while self.peek().is_some_and(|next| !matches!(next, ')' | '|')) {
            parts.push(self.repeat());
        }
        Regex::Sequence(parts)
    }

    fn repeat(&mut self) -> Regex {
        let mut repeated = self.simple();
        loop {
            let (least, most) = match self.peek() {
                Some('?') => (0, 1),
                Some('*') => (0, usize::MAX),
                Some('+') => (1, usize::MAX),
                Some('{') => {
                    let body: String =
                        self.rest[self.at + 1..].iter().take_while(|next| **next != '}').collect();
                    self.at += body.chars().count() + 1;
                    let number = |text: &str| text.parse().unwrap_or(usize::MAX);
                    body.split_once(',')
                        .map_or_else(|| (number(&body), number(&body)), |(a, b)| (number(a), number(b)))
                }
                _ => return repeated,
            };
            self.at += 1;
            repeated = Regex::Repeat(Box::new(repeated), least, most);
        }
    }

    fn simple(&mut self) -> Regex {
        match self.next() {
            '.' => Regex::Class(true, vec![]),
            '#' => Regex::Class(false, vec![]),
            '@' => Regex::Repeat(Box::new(Regex::Class(true, vec![])), 0, usize::MAX),
            '"' => {
                let text: Vec<char> =
                    self.rest[self.at..].iter().copied().take_while(|next| *next != '"').collect();
                self.at += text.len() + 1;
                Regex::Text(text)
            }
            '(' if self.eat(')') => Regex::Text(vec![]),
            '(' => {
                let inner = self.union();
                assert!(self.eat(')'));
                inner
            }
            '[' => {
                let negated = self.eat('^');
                let mut ranges = Vec::new();
                loop {
                    let start = self.class_character();
                    let end = if self.eat('-') { self.class_character() } else { start };
                    ranges.push((start, end));
                    if self.eat(']') {
                        return Regex::Class(negated, ranges);
                    }
                }
            }
            '\\' => match self.next() {
                'd' => Regex::Class(false, vec![('0', '9')]),
                'D' => Regex::Class(true, vec![('0', '9')]),
                'w' => Regex::Class(false, vec![('0', '9'), ('a', 'z'), ('A', 'Z'), ('_', '_')]),
                'W' => Regex::Class(true, vec![('0', '9'), ('a', 'z'), ('A', 'Z'), ('_', '_')]),
                's' => Regex::Class(false, vec![(' ', ' '), ('\t', '\t'), ('\n', '\n'), ('\r', '\r')]),
                'S' => Regex::Class(true, vec![(' ', ' '), ('\t', '\t'), ('\n', '\n'), ('\r', '\r')]),
                character => Regex::Text(vec![character]),
            },
            character => Regex::Text(vec![character]),
        }
    }

    fn class_character(&mut self) -> char {
        self.eat('\\');
        self.next()
    }
}

impl Regex {
    /// All places where it can end if it begins at `start`.
    fn ends(&self, text: &[char], start: usize, insensitive: bool) -> Vec<usize> {
        let same = |a: char, b: char| if insensitive { a.eq_ignore_ascii_case(&b) } else { a == b };
        match self {
            Self::Text(expected) => {
                let found = text.get(start..start + expected.len());
                let equal = found.is_some_and(|found| found.iter().zip(expected).all(|(a, b)| same(*a, *b)));
                if equal { vec![start + expected.len()] } else { vec![] }
            }
            Self::Class(negated, ranges) => {
                let Some(found) = text.get(start) else { return vec![] };
                let inside = ranges.iter().any(|(low, high)| {
                    let within = |character: char| (*low..=*high).contains(&character);
                    within(*found)
                        || insensitive
                            && (within(found.to_ascii_lowercase()) || within(found.to_ascii_uppercase()))
                });
                if inside == *negated { vec![] } else { vec![start + 1] }
            }
            Self::Sequence(parts) => parts.iter().fold(vec![start], |starts, part| {
                starts.iter().flat_map(|start| part.ends(text, *start, insensitive)).collect()
            }),
            Self::Union(parts) => parts.iter().flat_map(|part| part.ends(text, start, insensitive)).collect(),
            Self::Repeat(part, least, most) => {
                let mut ends = Vec::new();
                let mut current = vec![start];
                // More turns than there are characters add nothing but repetitions of the empty text.
                for turn in 0..=(*most).min(*least + text.len() + 1) {
                    if turn >= *least {
                        ends.extend(current.iter().copied());
                    }
                    current = current.iter().flat_map(|start| part.ends(text, *start, insensitive)).collect();
                    current.sort_unstable();
                    current.dedup();
                }
                ends.sort_unstable();
                ends.dedup();
                ends
            }
        }
    }
}
