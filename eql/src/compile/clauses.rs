//! The topmost `and` of a condition, taken apart into the clauses that can decide.

use super::Compiler;
use crate::ast::{Expr, ExprKind};
use crate::error::Error;
use crate::program::{Clause, ClauseKind, Conjunct, Node, NodeKind, Operand, Test, collapsed};
use crate::query::Query;
use crate::span::Span;

/// The clauses of `query` and the compiled conjuncts that they belong to.
pub(super) fn split(
    query: &Query,
    compiler: &mut Compiler<'_>,
) -> Result<(Vec<Clause>, Vec<Conjunct>), Error> {
    let text = |span: Span| collapsed(span.of(query.source()));
    let head = query.category_span();
    let head_text = if head == Span::default() { "any where".to_owned() } else { text(head) };
    let mut clauses = vec![Clause { text: head_text, span: head, kind: ClauseKind::Condition }];
    let mut conjuncts = Vec::new();
    for conjunct in operands_of_and(query.condition()) {
        let (kind, parts) = match &conjunct.kind {
            ExprKind::Not(operand) => (ClauseKind::Exclusion, operands_of_or(operand)),
            _ => (ClauseKind::Condition, std::slice::from_ref(conjunct)),
        };
        let clause = clauses.len();
        clauses.extend(parts.iter().map(|part| Clause { text: text(part.span), span: part.span, kind }));
        let nodes = parts.iter().map(|part| compiler.condition(part)).collect::<Result<_, _>>()?;
        conjuncts.push(Conjunct { span: conjunct.span, kind, clause, nodes });
    }
    Ok((clauses, conjuncts))
}

fn operands_of_and(expr: &Expr) -> &[Expr] {
    match &expr.kind {
        ExprKind::And(parts) => parts,
        _ => std::slice::from_ref(expr),
    }
}

fn operands_of_or(expr: &Expr) -> &[Expr] {
    match &expr.kind {
        ExprKind::Or(parts) => parts,
        _ => std::slice::from_ref(expr),
    }
}

/// What a node costs to evaluate, roughly, in tests of one short string.
pub(super) fn cost(node: &Node) -> usize {
    match &node.kind {
        NodeKind::Not(operand) => cost(operand),
        NodeKind::All(parts) | NodeKind::Any(parts) => parts.iter().map(cost).sum(),
        NodeKind::Field(_, test) | NodeKind::NotField(_, test) => cost_of_test(test),
        NodeKind::Operand(operand, test) | NodeKind::NotOperand(operand, test) => {
            cost_of_operand(operand) + cost_of_test(test)
        }
    }
}

fn cost_of_test(test: &Test) -> usize {
    match test {
        Test::Present | Test::True | Test::Compare(..) | Test::Equals(_) => 1,
        Test::Texts(texts) => texts.cost(),
        Test::Regex(_) => 20,
    }
}

fn cost_of_operand(operand: &Operand) -> usize {
    match operand {
        Operand::Condition(node) => cost(node),
        _ => 5,
    }
}
