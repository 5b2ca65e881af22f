//! Why a program decided as it did.

use super::{ClauseKind, Node, NodeKind, Program, Verdict};
use crate::lexer::{Lexer, TokenKind};
use crate::span::Span;
use crate::value::Document;

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
                    children: parts,
                }),
            }
        }
        Explanation {
            text: collapsed(&self.source),
            span: Span::new(0, self.source.len()),
            truth: verdict == Verdict::Match,
            decided: false,
            children,
        }
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
        Explanation {
            text: collapsed(node.span.of(&self.source)),
            span: node.span,
            truth: node.holds(document),
            decided: decided == Some(node.span),
            children: parts.iter().map(|part| self.explain_node(part, document, decided)).collect(),
        }
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
