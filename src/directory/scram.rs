//! Passwords stored as the keys of SCRAM-SHA-256: who reads them can neither log in by SCRAM nor
//! learn the password, and PLAIN works as well. The text is that of RFC 5803, which PostgreSQL
//! writes too: `SCRAM-SHA-256$iterations:salt$StoredKey:ServerKey`. RFC 5802 §3, RFC 7677

use std::borrow::Cow;
use std::num::NonZeroU32;

use aws_lc_rs::constant_time::verify_slices_are_equal;
use aws_lc_rs::{digest, hmac, pbkdf2, rand};
use base64::Engine;
use base64::engine::general_purpose::STANDARD;

use super::PasswordHash;
use super::password::{HashError, PASSWORD_BYTES_MAX};

/// What a stored text begins with.
pub(super) const PREFIX: &str = "SCRAM-SHA-256$";
/// Iterations of what is hashed here: some 20 ms, on a phone some 200.
const ITERATIONS: u32 = 100_000;
/// Fewest iterations of a stored text. RFC 7677 §4
const ITERATIONS_LEAST: u32 = 4096;
/// Most iterations that a stored text may ask for.
const ITERATIONS_MOST: u32 = 1_000_000;
/// Bytes of the salt of what is hashed here.
const SALT_BYTES: usize = 16;
/// Most bytes of a stored salt.
const SALT_BYTES_MAX: usize = 64;

/// A key of SHA-256's size.
pub type Key = [u8; 32];

/// What is stored of a password; without Debug, so that it cannot get into a log.
pub struct ScramKeys {
    /// How often the password is hashed.
    pub iterations: u32,
    /// What makes equal passwords different.
    pub salt: Vec<u8>,
    /// What the client's proof is compared with.
    pub stored_key: Key,
    /// What we prove by that we have the password's keys.
    pub server_key: Key,
}

impl ScramKeys {
    /// Reads a stored text; `None` if it is another kind of hash, or not whole.
    pub fn parse(text: &str) -> Option<ScramKeys> {
        let (parameters, keys) = text.strip_prefix(PREFIX)?.split_once('$')?;
        let (iterations, salt) = parameters.split_once(':')?;
        let (stored_key, server_key) = keys.split_once(':')?;
        let is_number = iterations.bytes().all(|b| b.is_ascii_digit());
        let iterations = iterations.parse().ok().filter(|_| is_number)?;
        let salt = STANDARD.decode(salt).ok()?;
        let key = |text| STANDARD.decode(text).ok()?.try_into().ok();
        let (stored_key, server_key) = (key(stored_key)?, key(server_key)?);
        Some(ScramKeys { iterations, salt, stored_key, server_key })
    }

    /// The keys of a password. RFC 5802 §3
    fn derive(password: &[u8], salt: &[u8], iterations: u32) -> ScramKeys {
        let mut salted = [0; 32];
        let rounds = NonZeroU32::new(iterations).unwrap_or(NonZeroU32::MIN);
        let password = prepared(password);
        pbkdf2::derive(pbkdf2::PBKDF2_HMAC_SHA256, rounds, salt, &password, &mut salted);
        let client_key = sign(&salted, b"Client Key");
        ScramKeys {
            iterations,
            salt: salt.to_vec(),
            stored_key: array(digest::digest(&digest::SHA256, &client_key).as_ref()),
            server_key: sign(&salted, b"Server Key"),
        }
    }

    fn write(&self) -> String {
        let [salt, stored_key, server_key] =
            [&self.salt[..], &self.stored_key, &self.server_key].map(|b| STANDARD.encode(b));
        format!("{PREFIX}{}:{salt}${stored_key}:{server_key}", self.iterations)
    }
}

/// Makes a stored text with a random salt.
pub fn hash(password: &[u8]) -> Result<PasswordHash, HashError> {
    match password.len() {
        0 => return Err(HashError::Empty),
        1..=PASSWORD_BYTES_MAX => {}
        _ => return Err(HashError::TooLong),
    }
    let mut salt = [0; SALT_BYTES];
    rand::fill(&mut salt).map_err(|_| HashError::NoRandomness)?;
    Ok(PasswordHash(ScramKeys::derive(password, &salt, ITERATIONS).write()))
}

/// Whether `password` is the one whose keys are stored.
pub(super) fn verify(password: &[u8], text: &str) -> bool {
    ScramKeys::parse(text).is_some_and(|stored| {
        let derived = ScramKeys::derive(password, &stored.salt, stored.iterations);
        verify_slices_are_equal(&derived.stored_key, &stored.stored_key).is_ok()
    })
}

/// See `password::check_format`.
pub(super) fn check_format(text: &str) -> Result<(), &'static str> {
    let keys = ScramKeys::parse(text).ok_or("is not a whole SCRAM-SHA-256 text")?;
    if !(ITERATIONS_LEAST..=ITERATIONS_MOST).contains(&keys.iterations) {
        return Err("has iterations outside 4,096 to 1,000,000");
    }
    match keys.salt.len() {
        1..=SALT_BYTES_MAX => Ok(()),
        _ => Err("has a salt of no byte, or of more than 64"),
    }
}

/// SASLprep; a password that it does not allow is taken as it is, as PostgreSQL does. RFC 5802 §2.2
fn prepared(password: &[u8]) -> Cow<'_, [u8]> {
    let text = std::str::from_utf8(password).ok();
    match text.and_then(|text| stringprep::saslprep(text).ok()) {
        Some(Cow::Owned(prepared)) => Cow::Owned(prepared.into_bytes()),
        Some(Cow::Borrowed(_)) | None => Cow::Borrowed(password),
    }
}

fn sign(key: &Key, text: &[u8]) -> Key {
    array(hmac::sign(&hmac::Key::new(hmac::HMAC_SHA256, key), text).as_ref())
}

/// All of what SHA-256 gives.
fn array(bytes: &[u8]) -> Key {
    let mut key = [0; 32];
    key.copy_from_slice(bytes);
    key
}

#[cfg(test)]
mod tests {
    use super::*;

    /// "pencil" with the salt of RFC 7677 §3.
    const PENCIL: &str = "SCRAM-SHA-256$4096:W22ZaJ0SNY7soEsUEjb6gQ==$\
                          WG5d8oPm3OtcPnkdi4Uo7BkeZkBFzpcXkuLmtbsT4qY=:\
                          wfPLwcE6nTWhTAmQ7tl2KeoiWGPlZqQxSrmfPwDl2dU=";

    #[test]
    fn the_example_of_the_standard_is_verified_and_made_again() {
        assert_eq!(check_format(PENCIL), Ok(()));
        assert!(verify(b"pencil", PENCIL) && !verify(b"Pencil", PENCIL));
        let stored = ScramKeys::parse(PENCIL).expect("whole");
        assert_eq!(ScramKeys::derive(b"pencil", &stored.salt, 4096).write(), PENCIL);
    }

    #[test]
    fn what_is_hashed_here_is_verified_and_its_salt_is_random() {
        let one = hash(b"secret").expect("it can be hashed");
        assert!(one.0.starts_with("SCRAM-SHA-256$100000:"), "{}", one.0);
        assert_eq!(check_format(&one.0), Ok(()));
        assert!(verify(b"secret", &one.0) && !verify(b"Secret", &one.0));
        assert!(hash(b"secret").expect("it can be hashed").0 != one.0);
        assert_eq!(hash(b"").map(|_| ()), Err(HashError::Empty));
        let longest = vec![b'a'; PASSWORD_BYTES_MAX];
        assert!(hash(&longest).is_ok());
        let longer = vec![b'a'; PASSWORD_BYTES_MAX + 1];
        assert_eq!(hash(&longer).map(|_| ()), Err(HashError::TooLong));
    }

    #[test]
    fn a_password_beyond_ascii_has_one_form() {
        let salt = b"salt";
        let key = |password: &str| ScramKeys::derive(password.as_bytes(), salt, 4096).stored_key;
        assert_eq!(key("Gro\u{308}\u{df}e"), key("Gr\u{f6}\u{df}e"), "NFKC");
        assert_eq!(key("I\u{ad}X"), key("IX"), "the soft hyphen of RFC 4013 §3");
        assert_ne!(key("a\u{7}"), key("a"), "not allowed, so taken as it is");
    }

    #[test]
    fn texts_that_are_not_whole_or_ask_too_much_are_refused() {
        let with = |old: &str, new: &str| PENCIL.replacen(old, new, 1);
        assert_eq!(check_format(&with("4096", "1000000")), Ok(()));
        for bad in [
            with("4096", "4095"),
            with("4096", "1000001"),
            with("4096", "+4096"),
            with("4096", ""),
            with("W22ZaJ0SNY7soEsUEjb6gQ==", ""),
            with("W22ZaJ0SNY7soEsUEjb6gQ==", "%"),
            with("WG5d8oPm3OtcPnkdi4Uo7BkeZkBFzpcXkuLmtbsT4qY=", "AAAA"),
            with(":wfPL", "wfPL"),
            with("SCRAM-SHA-256", "SCRAM-SHA-1"),
            PENCIL[..60].to_owned(),
        ] {
            assert!(check_format(&bad).is_err(), "{bad}");
        }
        let salt = |bytes| with("W22ZaJ0SNY7soEsUEjb6gQ==", &STANDARD.encode(vec![1; bytes]));
        assert_eq!(check_format(&salt(SALT_BYTES_MAX)), Ok(()));
        assert!(check_format(&salt(SALT_BYTES_MAX + 1)).is_err());
    }
}
