//! A key of a domain: read from PEM, made anew, used to sign, and shown as its DNS record.
//!
//! None of these types has Debug: a key must not get into a log.

use std::fmt;
use std::sync::Arc;

use aws_lc_rs::digest::{SHA256, digest};
use aws_lc_rs::encoding::{AsDer, Pkcs8V1Der, PublicKeyX509Der};
use aws_lc_rs::error::Unspecified;
use aws_lc_rs::rand::SystemRandom;
use aws_lc_rs::rsa::KeySize;
use aws_lc_rs::signature::{Ed25519KeyPair, KeyPair as _, RSA_PKCS1_SHA256, RsaKeyPair};
use base64::prelude::{BASE64_STANDARD, Engine};
use rustls_pki_types::PrivateKeyDer;
use rustls_pki_types::pem::PemObject;

use super::CannotSign;

/// Shortest RSA key: signers should use no shorter one. RFC 8301 §3.2
pub const RSA_BITS_MIN: usize = 2048;
/// Longest RSA key: verifiers need not know longer ones. RFC 8301 §3.2
pub const RSA_BITS_MAX: usize = 4096;
/// Columns of base64 in a PEM file. RFC 7468 §2
const PEM_COLUMNS: usize = 64;

/// How a signature is made.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Algorithm {
    /// `rsa-sha256`, which every verifier knows. RFC 6376 §3.3.1
    RsaSha256,
    /// `ed25519-sha256`: short, and not known everywhere yet. RFC 8463 §3
    Ed25519Sha256,
}

impl Algorithm {
    /// As `a=` names it.
    pub fn name(self) -> &'static str {
        match self {
            Algorithm::RsaSha256 => "rsa-sha256",
            Algorithm::Ed25519Sha256 => "ed25519-sha256",
        }
    }
}

/// A key and whose it is.
#[derive(Clone)]
pub struct SigningKey {
    /// `d=`: the domain that vouches for the message.
    pub domain: String,
    /// `s=`: where below the domain the public key is found.
    pub selector: String,
    /// The key.
    pub pair: Arc<KeyPair>,
}

/// A private key with its public one.
pub struct KeyPair(Pair);

enum Pair {
    Rsa(RsaKeyPair),
    Ed25519(Ed25519KeyPair),
}

/// Why a file holds no key to sign with.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum KeyFault {
    /// There is no private key in it, or only an encrypted one.
    NoKey,
    /// Neither RSA nor Ed25519.
    Kind,
    /// An RSA key that is too short or too long.
    Size,
}

/// As the end of a sentence that begins with the file.
impl fmt::Display for KeyFault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            KeyFault::NoKey => {
                f.write_str("holds no unencrypted private key in PEM (`BEGIN PRIVATE KEY`)")
            }
            KeyFault::Kind => f.write_str("holds a key that is neither RSA nor Ed25519"),
            KeyFault::Size => write!(
                f,
                "holds no RSA key of {RSA_BITS_MIN} to {RSA_BITS_MAX} bits, which is what \
                 receivers accept"
            ),
        }
    }
}

impl std::error::Error for KeyFault {}

impl From<Unspecified> for CannotSign {
    fn from(_: Unspecified) -> CannotSign {
        CannotSign
    }
}

impl KeyPair {
    /// Makes a new key; an RSA key has `RSA_BITS_MIN` bits, because the record of a longer one does
    /// not fit the answers of some DNS servers.
    pub fn generate(algorithm: Algorithm) -> Result<KeyPair, CannotSign> {
        Ok(KeyPair(match algorithm {
            Algorithm::RsaSha256 => Pair::Rsa(RsaKeyPair::generate(KeySize::Rsa2048)?),
            Algorithm::Ed25519Sha256 => Pair::Ed25519(Ed25519KeyPair::generate()?),
        }))
    }

    /// Reads PKCS#8, or PKCS#1 as `opendkim-genkey` wrote it.
    pub fn from_pem(pem: &[u8]) -> Result<KeyPair, KeyFault> {
        let der = PrivateKeyDer::from_pem_slice(pem).map_err(|_| KeyFault::NoKey)?;
        let rsa = match &der {
            PrivateKeyDer::Pkcs1(der) => RsaKeyPair::from_der(der.secret_pkcs1_der()),
            PrivateKeyDer::Pkcs8(der) => {
                let der = der.secret_pkcs8_der();
                if let Ok(pair) = Ed25519KeyPair::from_pkcs8(der) {
                    return Ok(KeyPair(Pair::Ed25519(pair)));
                }
                RsaKeyPair::from_pkcs8(der)
            }
            _ => return Err(KeyFault::Kind),
        };
        let sizes = RSA_BITS_MIN / 8..=RSA_BITS_MAX / 8;
        match rsa {
            Ok(pair) if sizes.contains(&pair.public_modulus_len()) => Ok(KeyPair(Pair::Rsa(pair))),
            Ok(_) => Err(KeyFault::Size),
            Err(refused) if ["TooSmall", "TooLarge"].contains(&refused.to_string().as_str()) => {
                Err(KeyFault::Size)
            }
            Err(_) => Err(KeyFault::Kind),
        }
    }

    /// As a PKCS#8 PEM file, which OpenSSL, OpenDKIM and rspamd read too.
    pub fn to_pem(&self) -> Result<String, CannotSign> {
        let der: Pkcs8V1Der<'_> = match &self.0 {
            Pair::Rsa(pair) => pair.as_der()?,
            Pair::Ed25519(pair) => pair.as_der()?,
        };
        let base64 = BASE64_STANDARD.encode(der.as_ref());
        let mut pem = String::from("-----BEGIN PRIVATE KEY-----\n");
        let mut rest = base64.as_str();
        while !rest.is_empty() {
            let (line, after) = rest.split_at(rest.len().min(PEM_COLUMNS));
            pem.push_str(line);
            pem.push('\n');
            rest = after;
        }
        pem.push_str("-----END PRIVATE KEY-----\n");
        Ok(pem)
    }

    /// How it signs.
    pub fn algorithm(&self) -> Algorithm {
        match &self.0 {
            Pair::Rsa(_) => Algorithm::RsaSha256,
            Pair::Ed25519(_) => Algorithm::Ed25519Sha256,
        }
    }

    /// The text of the DNS record that publishes it. RFC 6376 §3.6.1, RFC 8463 §4
    ///
    /// The RSA key is a SubjectPublicKeyInfo, as everybody publishes it and the errata have it.
    pub fn record(&self) -> Result<String, CannotSign> {
        let (kind, public) = match &self.0 {
            Pair::Rsa(pair) => {
                let der: PublicKeyX509Der<'_> = pair.public_key().as_der()?;
                ("rsa", BASE64_STANDARD.encode(der.as_ref()))
            }
            Pair::Ed25519(pair) => ("ed25519", BASE64_STANDARD.encode(pair.public_key())),
        };
        Ok(format!("v=DKIM1; k={kind}; p={public}"))
    }

    /// The signature of `data`. Ed25519 signs the hash of it. RFC 8463 §3
    pub(super) fn sign(&self, data: &[u8]) -> Result<Vec<u8>, CannotSign> {
        match &self.0 {
            Pair::Rsa(pair) => {
                let mut signature = vec![0; pair.public_modulus_len()];
                let random = SystemRandom::new();
                pair.sign(&RSA_PKCS1_SHA256, &random, data, &mut signature)?;
                Ok(signature)
            }
            Pair::Ed25519(pair) => {
                let hash = digest(&SHA256, data);
                Ok(pair.try_sign(hash.as_ref())?.as_ref().to_vec())
            }
        }
    }
}

#[cfg(test)]
#[path = "key_tests.rs"]
mod tests;
