#![no_std]
//! The ABI between the kernel programs and the daemon.
