//! What cargo cannot do: set-up of the eBPF toolchain, the kernel lab, whole-program tests.
//!
//! `cargo xtask` is the binary of this package; the lab tests in `tests/` use the library.

pub mod architecture;
pub mod bench;
pub mod command;
pub mod demo;
pub mod dist;
pub mod fuzz;
pub mod kubernetes;
pub mod lab;
pub mod manual;
pub mod servers;
pub mod setup;
pub mod test;
pub mod tidy;
