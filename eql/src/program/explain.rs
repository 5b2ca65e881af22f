//! Why a program decided as it did.

use super::{ClauseKind, Node, NodeKind, Program, Verdict};
use crate::fields::FieldId;
use crate::lexer::{Lexer, TokenKind};
use crate::span::Span;
use crate::value::{Document, Value};

/// A condition, its truth for an event, and the same for its parts.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Explanation {
    /// The source text, runs of blanks and comments collapsed to one space.
    pub text: String,
    /// Where it stands.
    pub span: Span,
    /// Whether it holds.
    pub truth: bool,
    /// Whether it is the clause that decided the verdict.
    pub decided: bool,
    /// For a condition without parts: the fields that it reads and what they hold, `missing` if nothing.
    pub values: Vec<(String, String)>,
    /// The operands of `and`, `or` and `not`, in source order.
    pub children: Vec<Explanation>,
}

impl Program {
    /// The query as a tree with the truth of each part for the event.
    ///
    /// The root is the query; its first child is the category, the others are the operands of the topmost `and`.
    pub fn explain<D: Document + ?Sized>(&self, document: &D) -> Explanation {
        let verdict = self.verdict(document);
        let decided = match verdict {
            Verdict::Match => None,
            Verdict::NoMatch(clause) | Verdict::Excluded(clause) => Some(self.clauses[clause.0].span),
        };
        let explain = |node: &Node| self.explain_node(node, document, decided);
        let category = &self.clauses[0];
        let mut children = vec![Explanation {
            text: category.text.clone(),
            span: category.span,
            truth: self.is_of_category(document),
            decided: decided == Some(category.span),
            values: self.values(self.category.iter().map(|(field, _)| *field).collect(), document),
            children: Vec::new(),
        }];
        for conjunct in &self.conjuncts {
            let parts: Vec<_> = conjunct.nodes.iter().map(explain).collect();
            match conjunct.kind {
                ClauseKind::Condition => children.extend(parts),
                ClauseKind::Exclusion => children.push(Explanation {
                    text: collapsed(conjunct.span.of(&self.source)),
                    span: conjunct.span,
                    truth: !parts.iter().any(|part| part.truth),
                    decided: false,
                    values: Vec::new(),
                    children: parts,
                }),
            }
        }
        Explanation {
            text: collapsed(&self.source),
            span: Span::new(0, self.source.len()),
            truth: verdict == Verdict::Match,
            decided: false,
            values: Vec::new(),
            children,
        }
    }

    /// The names and values of `fields`, each once.
    fn values<D: Document + ?Sized>(&self, fields: Vec<FieldId>, document: &D) -> Vec<(String, String)> {
        let mut values = Vec::<(String, String)>::new();
        for field in fields {
            let name = self.fields.binary_search(&field).ok().and_then(|index| self.names.get(index));
            if let Some(name) = name.filter(|name| values.iter().all(|(other, _)| *other != ***name)) {
                values.push((name.to_string(), shown(document.field(field))));
            }
        }
        values
    }

    fn explain_node<D: Document + ?Sized>(
        &self,
        node: &Node,
        document: &D,
        decided: Option<Span>,
    ) -> Explanation {
        let parts: &[Node] = match &node.kind {
            NodeKind::Not(operand) => std::slice::from_ref(operand),
            NodeKind::All(parts) | NodeKind::Any(parts) => parts,
            _ => &[],
        };
        let mut fields = Vec::new();
        if parts.is_empty() {
            node.for_each_field(&mut |field| fields.push(field));
        }
        Explanation {
            text: collapsed(node.span.of(&self.source)),
            span: node.span,
            truth: node.holds(document),
            decided: decided == Some(node.span),
            values: self.values(fields, document),
            children: parts.iter().map(|part| self.explain_node(part, document, decided)).collect(),
        }
    }
}

/// A value as it is shown to a reader: in one line, and not too long.
fn shown(value: Value<'_>) -> String {
    const LONGEST: usize = 200;
    let text = format!("{value:?}");
    match text.char_indices().nth(LONGEST) {
        Some((end, _)) => format!("{}…", &text[..end]),
        None => text,
    }
}

/// `source` with every run of blanks and comments between tokens as one space.
pub(crate) fn collapsed(source: &str) -> String {
    let mut lexer = Lexer::new(source);
    let mut text = String::new();
    let mut end = 0;
    while let Ok(token) = lexer.next_token() {
        if token.kind == TokenKind::End {
            break;
        }
        if token.span.start > end && !text.is_empty() {
            text.push(' ');
        }
        text.push_str(token.span.of(source));
        end = token.span.end;
    }
    text
}
