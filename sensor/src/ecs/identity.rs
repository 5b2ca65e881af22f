//! Names for what is told apart by several texts.

use sha2::{Digest as _, Sha256};

use super::hex;

/// A UUID-shaped name for what `parts` identify together, the same on every call.
pub(crate) fn identity(parts: &[&str]) -> String {
    identity_from(&Sha256::new(), parts)
}

/// The same where the first parts are in `hash`.
pub(super) fn identity_from(hash: &Sha256, parts: &[&str]) -> String {
    let hash = add_parts(hash.clone(), parts);
    let digits = hex(&hash.finalize()[..16]);
    [&digits[..8], &digits[8..12], &digits[12..16], &digits[16..20], &digits[20..]].join("-")
}

/// Adds parts that what was added before cannot run into.
pub(crate) fn add_parts(hash: Sha256, parts: &[&str]) -> Sha256 {
    parts.iter().fold(hash, |hash, part| hash.chain_update(part).chain_update([0]))
}
