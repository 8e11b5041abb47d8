//! What ties an exchange to the TLS connection that carries it: who sits between, with a connection
//! to each side, has two of it, and a proof that is made for one does not count on the other.
//! RFC 5056. Knows no TLS: the driver brings the data.
//!
//! Deliberately not: `tls-unique`. TLS 1.3 has none, and on TLS 1.2 it is what most clients take:
//! so nothing is bound there, and a client that could is right to say that we offer nothing.
//! RFC 8446 Appendix C.5, RFC 9266 §3

use std::fmt;
use std::sync::Arc;

use aws_lc_rs::digest;

/// The data of each kind of binding that there is on a connection.
#[derive(Clone, PartialEq, Eq)]
pub struct Binding {
    /// `tls-exporter`: 32 bytes that only the two ends of the connection know. RFC 9266 §2
    pub exporter: [u8; 32],
    /// `tls-server-end-point`: the hash of the certificate, where its signature has one.
    /// RFC 5929 §4
    pub end_point: Option<Arc<[u8]>>,
}

/// The exporter's bytes are a secret of the connection.
impl fmt::Debug for Binding {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Binding(…)")
    }
}

impl Binding {
    /// The data of the kind with this name.
    pub(super) fn data(&self, kind: &str) -> Option<&[u8]> {
        match kind {
            "tls-exporter" => Some(&self.exporter),
            "tls-server-end-point" => self.end_point.as_deref(),
            _ => None,
        }
    }
}

/// The algorithms by which certificates are signed, as OBJECT IDENTIFIERs, and the hash that is
/// taken: that of the signature, and SHA-256 in place of what is weaker. One that has no hash of
/// its own (Ed25519), or has it in its parameters (RSASSA-PSS), is not here. RFC 5929 §4.1
const HASHES: [(&[u8], &digest::Algorithm); 10] = [
    // 1.2.840.113549.1.1: with RSA
    (&[0x2a, 0x86, 0x48, 0x86, 0xf7, 0x0d, 1, 1, 4], &digest::SHA256),
    (&[0x2a, 0x86, 0x48, 0x86, 0xf7, 0x0d, 1, 1, 5], &digest::SHA256),
    (&[0x2a, 0x86, 0x48, 0x86, 0xf7, 0x0d, 1, 1, 14], &digest::SHA224),
    (&[0x2a, 0x86, 0x48, 0x86, 0xf7, 0x0d, 1, 1, 11], &digest::SHA256),
    (&[0x2a, 0x86, 0x48, 0x86, 0xf7, 0x0d, 1, 1, 12], &digest::SHA384),
    (&[0x2a, 0x86, 0x48, 0x86, 0xf7, 0x0d, 1, 1, 13], &digest::SHA512),
    // 1.2.840.10045.4: with ECDSA
    (&[0x2a, 0x86, 0x48, 0xce, 0x3d, 4, 1], &digest::SHA256),
    (&[0x2a, 0x86, 0x48, 0xce, 0x3d, 4, 3, 2], &digest::SHA256),
    (&[0x2a, 0x86, 0x48, 0xce, 0x3d, 4, 3, 3], &digest::SHA384),
    (&[0x2a, 0x86, 0x48, 0xce, 0x3d, 4, 3, 4], &digest::SHA512),
];

/// The `tls-server-end-point` of a certificate in DER. RFC 5929 §4.1
pub fn end_point(certificate: &[u8]) -> Option<Arc<[u8]>> {
    // Certificate ::= SEQUENCE { tbsCertificate, signatureAlgorithm SEQUENCE { algorithm, … }, … }
    let (inside, _) = element(certificate, SEQUENCE)?;
    let (_, behind) = element(inside, SEQUENCE)?;
    let (algorithm, _) = element(behind, SEQUENCE)?;
    let (identifier, _) = element(algorithm, OBJECT_IDENTIFIER)?;
    let (_, hash) = HASHES.iter().find(|(known, _)| *known == identifier)?;
    Some(digest::digest(hash, certificate).as_ref().into())
}

const SEQUENCE: u8 = 0x30;
const OBJECT_IDENTIFIER: u8 = 0x06;

/// The content of the element at the start, which has this tag, and what is behind it.
fn element(der: &[u8], tag: u8) -> Option<(&[u8], &[u8])> {
    let (&[found, length], rest) = der.split_first_chunk::<2>()?;
    if found != tag {
        return None;
    }
    let (length, rest) = match length {
        0..=0x7f => (usize::from(length), rest),
        0x81..=0x84 => {
            let (length, rest) = rest.split_at_checked(usize::from(length & 0x7f))?;
            (length.iter().fold(0, |sum, byte| sum << 8 | usize::from(*byte)), rest)
        }
        _ => return None,
    };
    rest.split_at_checked(length)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// What stands in for a certificate that is signed so.
    fn certificate(identifier: &[u8]) -> Vec<u8> {
        let wrapped = |tag: u8, content: &[u8]| {
            let length = content.len() as u16;
            [&[tag, 0x82][..], &length.to_be_bytes(), content].concat()
        };
        let signed = wrapped(SEQUENCE, &[7; 300]);
        let identifier = [&[OBJECT_IDENTIFIER, identifier.len() as u8], identifier].concat();
        let algorithm = wrapped(SEQUENCE, &identifier);
        wrapped(SEQUENCE, &[signed, algorithm, vec![3, 1, 0]].concat())
    }

    #[test]
    fn a_certificate_is_hashed_as_it_is_signed() {
        for (identifier, hash) in HASHES {
            let certificate = certificate(identifier);
            let expected = digest::digest(hash, &certificate);
            assert_eq!(end_point(&certificate).as_deref(), Some(expected.as_ref()));
        }
        let sizes = HASHES.map(|(_, hash)| hash.output_len());
        assert_eq!(sizes, [32, 32, 28, 32, 48, 64, 32, 32, 48, 64], "MD5 and SHA-1 give way");
    }

    #[test]
    fn a_signature_without_a_hash_of_its_own_gives_no_end_point() {
        // Ed25519: 1.3.101.112; RSASSA-PSS
        for identifier in [&[0x2b, 0x65, 0x70][..], &[0x2a, 0x86, 0x48, 0x86, 0xf7, 0x0d, 1, 1, 10]]
        {
            assert_eq!(end_point(&certificate(identifier)), None);
        }
    }

    #[test]
    fn what_is_no_certificate_has_no_end_point() {
        let whole = certificate(HASHES[3].0);
        for length in 0..whole.len() - 3 {
            assert_eq!(end_point(&whole[..length]), None, "{length}");
        }
        assert_eq!(end_point(&[0x30, 0x80, 0, 0]), None);
        assert_eq!(end_point(&[0x30, 0x84, 0xff, 0xff, 0xff, 0xff]), None);
    }
}
