//! DKIM: signs what goes out, so that its receivers can tell that the domain of From vouches for
//! it. Canonicalisation is relaxed/relaxed, the body hash streams, and time is a parameter. Knows
//! neither config nor disk but for `Content::read`, and verifies nothing.
//!
//! A domain may have several keys; each makes a signature of its own, so that a receiver who knows
//! no Ed25519 finds the RSA one. RFC 6376, RFC 8463

mod body;
mod content;
mod field;
mod header;
mod key;

use std::fmt;

pub use body::{BodyHash, BodyHasher};
pub use content::{Content, HEADER_BYTES_MAX};
pub use header::INSTANCES_MAX;
pub use key::{Algorithm, KeyFault, KeyPair, RSA_BITS_MAX, RSA_BITS_MIN, SigningKey};

use crate::mail::id::Timestamp;
use field::Unsigned;

/// The library refused to sign: it found no memory or no randomness. The message can be tried
/// again.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct CannotSign;

impl fmt::Display for CannotSign {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("DKIM: the signature cannot be made")
    }
}

impl std::error::Error for CannotSign {}

/// A whole DKIM-Signature line for each key, with CRLF, to be put before the header.
///
/// `header` is what goes out, with or without the empty line at its end: lines that are added above
/// it later (Received) are not signed. RFC 6376 §3.7
pub fn sign(
    keys: &[SigningKey],
    header: &[u8],
    body: &BodyHash,
    now: Timestamp,
) -> Result<Vec<u8>, CannotSign> {
    let signed = header::choose(header);
    let mut lines = Vec::new();
    for key in keys {
        let unsigned = Unsigned::new(key, &signed.names, (body, now));
        let mut data = signed.canonical.clone();
        header::relax(field::NAME.as_bytes(), unsigned.value(), &mut data);
        // This field is the last one, and has no line end. RFC 6376 §3.7
        data.truncate(data.len() - b"\r\n".len());
        lines.extend(unsigned.signed(&key.pair.sign(&data)?).into_bytes());
    }
    Ok(lines)
}

#[cfg(test)]
mod tests;
