//! A parsed query.

use crate::ast::{Expr, Field};
use crate::compile;
use crate::error::Error;
use crate::fields::Fields;
use crate::parser;
use crate::program::Program;
use crate::span::Span;

/// A parsed query: `category where condition`, or a condition alone.
#[derive(Debug, Clone, PartialEq)]
pub struct Query {
    source: String,
    category: Category,
    /// Where `category where` stands; empty for a condition alone.
    head: Span,
    condition: Expr,
}

/// Which events a query is about.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Category {
    /// All: `any where`.
    Any,
    /// Those whose `event.category` is, or has as an element, this.
    Name(String),
}

impl Category {
    /// The category of a query whose condition may be wrong. Nothing if it does not begin as a query of single events.
    ///
    /// ```
    /// use eql::Category;
    ///
    /// assert_eq!(Category::of("process where pid = 1"), Some(Category::Name("process".to_owned())));
    /// assert_eq!(Category::of("sequence [any where true]"), None);
    /// ```
    pub fn of(query: &str) -> Option<Self> {
        parser::parse_category(query)
    }
}

impl Query {
    /// Parses a query: `file where file.path == "/etc/passwd"`.
    pub fn parse(text: &str) -> Result<Self, Error> {
        let (category, head, condition) = parser::parse_query(text)?;
        Ok(Self { source: text.to_owned(), category, head, condition })
    }

    /// Parses a bare condition: `file.path == "/etc/passwd"`. It holds for events of every category.
    pub fn parse_condition(text: &str) -> Result<Self, Error> {
        let condition = parser::parse_condition(text)?;
        Ok(Self { source: text.to_owned(), category: Category::Any, head: Span::default(), condition })
    }

    /// The text that was parsed. All spans refer to it.
    pub fn source(&self) -> &str {
        &self.source
    }

    /// Which events it is about.
    pub fn category(&self) -> &Category {
        &self.category
    }

    /// Where `category where` stands; empty for a condition alone.
    pub fn category_span(&self) -> Span {
        self.head
    }

    /// What it says about them.
    pub fn condition(&self) -> &Expr {
        &self.condition
    }

    /// Every reference to a field with its place, in source order. A field can occur several times.
    pub fn fields(&self) -> Vec<(&Field, Span)> {
        let mut fields = Vec::new();
        self.condition.for_each_field(&mut |field, span| fields.push((field, span)));
        fields
    }

    /// Checks types, functions and patterns, and makes the query ready to be evaluated.
    ///
    /// The fields that it reads are added to `fields`, `event.category` among them unless the category is `any`.
    pub fn compile(&self, fields: &mut Fields) -> Result<Program, Error> {
        compile::compile(self, fields)
    }
}
