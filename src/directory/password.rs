//! Password hashes: argon2id, bcrypt, sha512-crypt and the keys of SCRAM (`scram`); argon2id is
//! made here, all are verified. Verifying takes tens of milliseconds of CPU by intent: callers run
//! it off the runtime threads.

use argon2::Argon2;
use password_hash::phc::PasswordHash as Phc;
use password_hash::{PasswordHasher, PasswordVerifier};
use sha_crypt::{PasswordHashRef, ShaCrypt};

use super::{PasswordHash, scram};

/// Longest password in bytes that is looked at.
pub const PASSWORD_BYTES_MAX: usize = 1024;
/// Most memory that a stored hash may ask for: 1 GiB.
const ARGON2_MEMORY_KIB_MAX: u32 = 1024 * 1024;
/// Most passes that a stored hash may ask for.
const ARGON2_PASSES_MAX: u32 = 64;
/// Most lanes that a stored hash may ask for.
const ARGON2_LANES_MAX: u32 = 64;
/// Highest cost of a stored bcrypt hash; each step doubles the time.
const BCRYPT_COST_MAX: u32 = 16;
/// Most rounds that a stored sha512-crypt hash may ask for.
const SHA_CRYPT_ROUNDS_MAX: u32 = 10_000_000;
/// Characters of the last field of a sha512-crypt hash.
const SHA_CRYPT_HASH_CHARS: usize = 86;
/// Most characters of a sha512-crypt salt.
const SHA_CRYPT_SALT_CHARS_MAX: usize = 16;

/// What an unknown user's password is compared with, when no user is declared at all: a hash with
/// the parameters of `hash`, of a password that was thrown away.
pub const NOBODY: &str = "$argon2id$v=19$m=19456,t=2,p=1$lVLJpOmxlk/uwg3jV2rh2Q$\
                          Ycfo1cRqjyo5KqmuDH4bUoiU4CRD+zoRtUmoNL3zECE";

/// Makes an argon2id hash with a random salt. The parameters are OWASP's (19 MiB, 2 passes, 1
/// lane): about 20 ms, so that a hundred mail programs that come back at once do not stop the
/// machine.
pub fn hash(password: &[u8]) -> Result<PasswordHash, HashError> {
    match password.len() {
        0 => return Err(HashError::Empty),
        1..=PASSWORD_BYTES_MAX => {}
        _ => return Err(HashError::TooLong),
    }
    let hashed: Result<Phc, _> = Argon2::default().hash_password(password);
    hashed.map(|hash| PasswordHash(hash.to_string())).map_err(|_| HashError::NoRandomness)
}

/// Why there is no hash.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum HashError {
    /// There is no password.
    Empty,
    /// Longer than `PASSWORD_BYTES_MAX`.
    TooLong,
    /// The system gave no random salt.
    NoRandomness,
}

impl std::fmt::Display for HashError {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(match self {
            HashError::Empty => "the password is empty",
            HashError::TooLong => "the password is longer than 1024 bytes",
            HashError::NoRandomness => "the system gives no random numbers",
        })
    }
}

impl std::error::Error for HashError {}

/// Whether `password` is the one that was hashed. The comparison takes the same time wherever the
/// two differ; a hash that cannot be read fits no password.
pub fn verify(password: &[u8], hash: &PasswordHash) -> bool {
    let hash = hash.0.as_str();
    if password.is_empty() || password.len() > PASSWORD_BYTES_MAX {
        return false;
    }
    match Kind::of(hash) {
        Some(Kind::Argon2id) => Phc::new(hash)
            .is_ok_and(|parsed| Argon2::default().verify_password(password, &parsed).is_ok()),
        Some(Kind::Bcrypt) => bcrypt::verify(password, hash).unwrap_or(false),
        Some(Kind::Sha512Crypt) => PasswordHashRef::new(hash)
            .is_ok_and(|parsed| ShaCrypt::default().verify_password(password, parsed).is_ok()),
        Some(Kind::Scram) => scram::verify(password, hash),
        None => false,
    }
}

/// Whether a stored hash can be read and does not ask for too much; if not, what is wrong with it,
/// as the end of a sentence.
pub fn check_format(hash: &str) -> Result<(), &'static str> {
    match Kind::of(hash) {
        Some(Kind::Argon2id) => check_argon2id(hash),
        Some(Kind::Bcrypt) => check_bcrypt(hash),
        Some(Kind::Sha512Crypt) => check_sha512_crypt(hash),
        Some(Kind::Scram) => scram::check_format(hash),
        None => Err("is none of $argon2id$, $2b$, $6$ and SCRAM-SHA-256$"),
    }
}

enum Kind {
    Argon2id,
    Bcrypt,
    Sha512Crypt,
    Scram,
}

impl Kind {
    fn of(hash: &str) -> Option<Kind> {
        if hash.starts_with(scram::PREFIX) {
            return Some(Kind::Scram);
        }
        match hash.strip_prefix('$')?.split('$').next()? {
            "argon2id" => Some(Kind::Argon2id),
            "2a" | "2b" | "2y" => Some(Kind::Bcrypt),
            "6" => Some(Kind::Sha512Crypt),
            _ => None,
        }
    }
}

fn check_argon2id(hash: &str) -> Result<(), &'static str> {
    const UNREADABLE: &str = "is not a whole argon2id hash";
    let parsed = Phc::new(hash).map_err(|_| UNREADABLE)?;
    let params = argon2::Params::try_from(&parsed).map_err(|_| UNREADABLE)?;
    if parsed.hash.is_none() || parsed.salt.is_none() {
        return Err(UNREADABLE);
    }
    let modest = params.m_cost() <= ARGON2_MEMORY_KIB_MAX
        && params.t_cost() <= ARGON2_PASSES_MAX
        && params.p_cost() <= ARGON2_LANES_MAX;
    if modest { Ok(()) } else { Err("asks for more than 1 GiB, 64 passes or 64 lanes") }
}

fn check_bcrypt(hash: &str) -> Result<(), &'static str> {
    let parts: bcrypt::HashParts = hash.parse().map_err(|_| "is not a whole bcrypt hash")?;
    match parts.get_cost() {
        4..=BCRYPT_COST_MAX => Ok(()),
        _ => Err("has a cost outside 4 to 16"),
    }
}

fn check_sha512_crypt(hash: &str) -> Result<(), &'static str> {
    let mut fields = hash.split('$').skip(2).peekable();
    let rounds = fields.next_if(|field| field.starts_with("rounds="));
    let salt = fields.next().unwrap_or_default();
    let hashed = fields.next().unwrap_or_default();
    let letter = |b: u8| b.is_ascii_alphanumeric() || matches!(b, b'.' | b'/');
    let whole = (1..=SHA_CRYPT_SALT_CHARS_MAX).contains(&salt.len())
        && hashed.len() == SHA_CRYPT_HASH_CHARS
        && salt.bytes().chain(hashed.bytes()).all(letter)
        && fields.next().is_none();
    if !whole {
        return Err("is not a whole sha512-crypt hash");
    }
    let rounds = rounds.map(|field| field["rounds=".len()..].parse::<u32>());
    match rounds {
        None | Some(Ok(1_000..=SHA_CRYPT_ROUNDS_MAX)) => Ok(()),
        Some(_) => Err("has rounds outside 1,000 to 10,000,000"),
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    /// Made by libxcrypt's crypt(3) of "Größe 17".
    const BCRYPT: &str = "$2b$04$k4atxDNiHPh88kuyacFd.uSmquIeBZu.gWuQEuZvKqEi7HszXRVzC";
    const SHA512: &str = "$6$abcdefgh12345678$CKHFbIY6ZqJf/uph2TKiBYviymrVXbW9pgsRdrJ5\
        Skmzn5JGfHWGfQfFw7GIBKxn1SWHM3iaQGS/DC9yK7qQ61";
    const SHA512_ROUNDS: &str = "$6$rounds=1000$abcdefgh$DRjt5pqiOVDcWo.bzQYnmPndju6ESlWF2Xzd\
        gSqvbZoIx66PDC6midUhn9JEeuO24fOfRCQBba4Dar0B0dlbZ1";

    fn fits(password: &str, hash: &str) -> bool {
        verify(password.as_bytes(), &PasswordHash(hash.into()))
    }

    #[test]
    fn hashes_of_other_programs_are_verified() {
        let as_2a = BCRYPT.replacen("$2b$", "$2a$", 1);
        let as_2y = BCRYPT.replacen("$2b$", "$2y$", 1);
        for hash in [BCRYPT, SHA512, SHA512_ROUNDS, &as_2a, &as_2y] {
            assert_eq!(check_format(hash), Ok(()), "{hash}");
            assert!(fits("Größe 17", hash), "{hash}");
            assert!(!fits("Größe 18", hash), "{hash}");
            assert!(!fits("", hash), "{hash}");
        }
    }

    #[test]
    fn what_is_hashed_here_is_argon2id_and_verified() {
        let hashed = hash(b"secret").expect("it can be hashed");
        assert!(hashed.0.starts_with("$argon2id$v=19$m=19456,t=2,p=1$"), "{}", hashed.0);
        assert_eq!(check_format(&hashed.0), Ok(()));
        assert!(verify(b"secret", &hashed));
        assert!(!verify(b"Secret", &hashed));
        assert_ne!(hash(b"secret").expect("it can be hashed").0, hashed.0, "the salt is random");
    }

    #[test]
    fn nobody_has_a_hash_that_costs_as_much_as_any_and_fits_nothing() {
        assert_eq!(check_format(NOBODY), Ok(()));
        assert!(NOBODY.starts_with("$argon2id$v=19$m=19456,t=2,p=1$"));
        assert!(!fits("nobody", NOBODY));
    }

    #[test]
    fn a_password_has_1024_bytes_at_most() {
        let longest = "a".repeat(PASSWORD_BYTES_MAX);
        let hashed = hash(longest.as_bytes()).expect("at the limit");
        assert!(verify(longest.as_bytes(), &hashed));
        let longer = "a".repeat(PASSWORD_BYTES_MAX + 1);
        assert_eq!(hash(longer.as_bytes()), Err(HashError::TooLong));
        assert!(!verify(longer.as_bytes(), &hashed));
        assert_eq!(hash(b""), Err(HashError::Empty));
    }

    #[test]
    fn hashes_that_are_not_whole_or_ask_too_much_are_refused() {
        let salted = "$argon2id$v=19$m=19456,t=2,p=1$cG9zdGZhY2gtbm9ib2R5";
        let greedy = NOBODY.replace("m=19456", "m=1048577");
        let modest = NOBODY.replace("m=19456", "m=1048576");
        let rounds = SHA512_ROUNDS.replace("rounds=1000$", "rounds=10000001$");
        let cost = BCRYPT.replace("$2b$04$", "$2b$17$");
        for bad in [
            "",
            "secret",
            "$1$abc$def",
            salted,
            &greedy,
            &BCRYPT[..50],
            &SHA512[..80],
            &rounds,
            &cost,
        ] {
            assert!(check_format(bad).is_err(), "{bad}");
        }
        assert_eq!(check_format(&modest), Ok(()));
    }

    proptest! {
        #[test]
        fn no_text_in_place_of_a_hash_makes_the_check_panic(
            start in prop_oneof![Just("$argon2id$"), Just("$2b$"), Just("$6$"), Just("")],
            rest in "[$,=a-zA-Z0-9./+ ü]{0,100}",
        ) {
            let _ = check_format(&format!("{start}{rest}"));
        }
    }
}
