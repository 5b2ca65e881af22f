//! Elastic's Event Query Language for single events.

pub mod ast;
mod compile;
mod error;
mod fields;
mod lexer;
mod number;
mod parser;
mod program;
mod query;
mod span;
mod suggest;
mod text;
mod value;

pub use ast::{Expr, ExprKind};
pub use error::Error;
pub use fields::{FieldId, Fields};
pub use program::{Clause, ClauseId, ClauseKind, Explanation, Program, Verdict};
pub use query::{Category, Query};
pub use span::Span;
pub use suggest::suggest;
pub use value::{Array, Document, ToValue, Value};
