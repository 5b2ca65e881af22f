//! Elastic's Event Query Language (EQL) for single events: parse, check, compile, evaluate, explain.
//!
//! Detection rules for Elastic Security are written in EQL. This crate evaluates them in process, event by event, with
//! the semantics that Elasticsearch gives them, and says which clause of a query decided. It knows nothing of where
//! events come from: an event is whatever implements [`Document`].
//!
//! ```
//! use eql::{Document, FieldId, Fields, Query, Value, Verdict};
//!
//! // Names become numbers once, when queries are compiled.
//! let mut fields = Fields::default();
//! let program = Query::parse(
//!     r#"file where event.action in ("creation", "rename") and file.path : "/etc/ld.so.conf.d/*" and
//!        not (process.name == "ldconfig" or process.executable == null)"#,
//! )?
//! .compile(&mut fields)?;
//!
//! // An event hands out the values of its fields by number.
//! struct Event(Vec<Option<String>>);
//! impl Document for Event {
//!     fn field(&self, id: FieldId) -> Value<'_> {
//!         self.0.get(id.index()).and_then(Option::as_deref).map_or(Value::Missing, Value::String)
//!     }
//! }
//! let event = |values: &[(&str, &str)]| {
//!     let value = |name| values.iter().find(|(field, _)| *field == name).map(|(_, value)| (*value).to_owned());
//!     Event(fields.iter().map(|(_, name)| value(name)).collect())
//! };
//!
//! let attack = event(&[
//!     ("event.category", "file"),
//!     ("event.action", "creation"),
//!     ("file.path", "/etc/ld.so.conf.d/evil.conf"),
//!     ("process.executable", "/usr/bin/bash"),
//! ]);
//! assert!(program.matches(&attack));
//!
//! // What is unknown is missing, and the last clause of this query excludes it.
//! let unknown = event(&[
//!     ("event.category", "file"),
//!     ("event.action", "rename"),
//!     ("file.path", "/etc/ld.so.conf.d/x"),
//! ]);
//! let Verdict::Excluded(clause) = program.verdict(&unknown) else { panic!("is excluded") };
//! assert_eq!(program.clause(clause).text, "process.executable == null");
//! # Ok::<(), eql::Error>(())
//! ```
//!
//! # From text to verdict
//!
//! 1. [`Query::parse`] takes `category where condition`, [`Query::parse_condition`] a condition alone. The tree
//!    ([`ast`]) is public, with the place of each node, for callers that check field names or derive filters from it.
//! 2. [`Query::compile`] checks types, functions and patterns, and numbers the fields in a [`Fields`], which all
//!    queries of a program share: an event then looks up its values by index.
//! 3. [`Program::matches`] is the fastest answer; [`Program::verdict`] also names the [`Clause`] that decided;
//!    [`Program::explain`] is the whole tree with the truth of every part and the values that it saw.
//! 4. Of many programs, an [`Index`] finds those that an event can concern at all.
//!
//! What is refused is refused with an [`Error`] that says where, and what to write instead:
//!
//! ```
//! let source = "file where file.name = 'passwd'";
//! let error = eql::Query::parse(source).unwrap_err();
//! assert_eq!(
//!     error.render("rule.eql", source),
//!     "error: unexpected `=`
//!  --> rule.eql:1:22
//!   |
//! 1 | file where file.name = 'passwd'
//!   |                      ^
//!   = help: write `==`; `=` is the old syntax
//! "
//! );
//! ```
//!
//! # The language
//!
//! The category is compared with `event.category`; `any` takes every event. Operators, from the tightest:
//!
//! | construct | meaning | case | wildcards |
//! |---|---|---|---|
//! | `* / %`, `+ -` | arithmetic; on whole numbers whole, rounded towards zero | | |
//! | `f == x`, `f != x` | equal; `!=` is `not (f == x)` | sensitive | no |
//! | `f < x`, `<=`, `>`, `>=` | order of numbers, or of strings by their bytes | sensitive | |
//! | `f in (…)`, `f not in (…)` | equal to one of the list | sensitive | no |
//! | `f in~ (…)`, `f not in~ (…)` | equal to one of the list | insensitive | no |
//! | `f : "…"`, `f : (…)`, `f like~ …` | a pattern covers the value | insensitive | yes |
//! | `f like "…"`, `f like (…)` | a pattern covers the value | sensitive | yes |
//! | `f regex "…"`, `f regex (…)` | a Lucene regular expression covers the value | sensitive | |
//! | `f regex~ …` | the same | insensitive | |
//! | `f == null`, `f != null` | the field is missing, is there | | |
//! | `not`, then `and`, then `or` | | | |
//!
//! Functions: `add`, `subtract`, `multiply`, `divide`, `modulo`, `between`, `cidrMatch`, `concat`, `endsWith`, `indexOf`,
//! `length`, `number`, `startsWith`, `string`, `stringContains`, `substring`; with a `~` behind the name, `between`,
//! `endsWith`, `indexOf`, `startsWith` and `stringContains` ignore case. The names may be written in any case.
//!
//! - **Two truth values.** A missing field makes every predicate on it false, and `not` simply inverts: of a missing
//!   field, `!=`, `not in` and `not (…)` hold. A function of a missing field has no value.
//! - **Arrays.** A predicate holds if any element satisfies it; `!=` means that none is equal. An empty array is missing.
//! - **Insensitive** means ASCII letters only: `Ä` and `ä` differ.
//! - **Wildcards.** `*` is any run of characters, also `/`; `?` is one character. There is no escape for them. In `==` and
//!   `in`, they are ordinary characters.
//! - **Types.** A string constant compares with a number or boolean by its text, a number constant with a string that
//!   denotes a number.
//! - **Names** may be in backquotes and may begin with `?`, which makes no difference.
//!
//! `tests/conformance/` in the source tree has queries, events and expected truths, one file for each of these topics.
//!
//! # What is not supported
//!
//! Sequences, samples, joins, `until`, pipes and `child of` need more than one event; they are refused by name. So are
//! the old syntax (`=`, single quotes, `?"raw"`), comparisons of two fields, array indices, and of Lucene's regular expressions
//! complement `~`, intersection `&` and intervals `<1-9>`, which an engine with a guaranteed running time cannot do.
//!
//! # Where it differs from Elasticsearch
//!
//! - Values are compared whole. Elasticsearch does not index strings over 1,024 characters, so that there a longer
//!   path is `null`, and a rule that excludes unknown executables excludes it.
//! - Functions of missing fields: Elasticsearch's `null` under `not` depends on where the condition is evaluated; here
//!   the predicate is false, and its negation true.
//! - Characters are Unicode characters; Java counts UTF-16 units in `length`, `indexOf` and `substring`.
//! - Functions with `~` ignore the case of ASCII letters; Elasticsearch lower-cases by Unicode.
//! - What overflows, divides by zero or is no number has no value; Elasticsearch fails the query.
//! - Keywords may be used as names behind a dot: `event.sequence`.
//!
//! # Limits
//!
//! Queries and events are taken to be hostile. Conditions nest at most 100 levels deep, a value is made of at most 256
//! parts, a regular expression has at most 1,000 characters, a query at most 1,000 of them, 200 arithmetic operators and
//! 16 MiB. Arrays are seen 16 levels deep, and one predicate looks at 100,000 values (or combinations of them). Beyond a
//! limit, a query is refused with an error that names it, and what an event has more is not seen. Wildcards and regular expressions take time in proportion
//! to the value. Evaluation does not allocate, but for `concat` and the first use of a regular expression on a thread.

pub mod ast;
mod compile;
mod error;
mod fields;
mod index;
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
pub use index::{Candidates, Index};
pub use program::{Clause, ClauseId, ClauseKind, Explanation, Program, Verdict};
pub use query::{Category, Query};
pub use span::Span;
pub use suggest::suggest;
pub use value::{Array, Document, ToValue, Value};
