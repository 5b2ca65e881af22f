//! Whether this host can be watched: each requirement, what was found, what that means, what to do.
//!
//! `facts` reads the host, `cause` says why a way to attach did not work, `report` puts both together, `letter` writes it
//! down for people. Only `facts` touches the host, so every judgement is tested on hosts that are made up.

mod cause;
mod facts;
mod letter;
mod report;
#[cfg(test)]
mod tests;

pub use self::cause::explain;
pub use self::facts::{Btf, Facts, Lockdown};
pub use self::report::{Finding, Report, Site, Status, Tried};
