//! What is given to others: the package, the unit, the manifests.

mod kubernetes;
mod package;
