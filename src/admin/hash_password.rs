//! `postfach hash-password`: a password in, the line for `directory.toml` out. Takes no argument: a
//! command line can be read by every user of the machine.

use std::io::{self, BufRead, IsTerminal, Write};
use std::process::{Command, ExitCode, Stdio};

use super::{Outcome, to_stdout};
use crate::directory::PasswordHash;
use crate::directory::password::{HashError, PASSWORD_BYTES_MAX};

/// One of the ways to store a password.
pub type Hash = fn(&[u8]) -> Result<PasswordHash, HashError>;

/// Reads from standard input; on a terminal it asks twice and shows nothing.
pub fn run(hash: Hash) -> ExitCode {
    let stdin = io::stdin();
    if stdin.is_terminal() {
        return asked(&mut stdin.lock(), hash);
    }
    to_stdout(|out| report(&mut stdin.lock(), hash, out))
}

/// Reads one line and writes the hash of it.
pub fn report(input: &mut dyn BufRead, hash: Hash, out: &mut dyn Write) -> io::Result<Outcome> {
    let password = line(input)?;
    hashed(&password, hash, out)
}

fn asked(input: &mut dyn BufRead, hash: Hash) -> ExitCode {
    let echo = Echo::off();
    let mut ask = |prompt: &str| {
        eprint!("{prompt}");
        let answer = line(input);
        eprintln!();
        answer
    };
    let answers = ask("Password: ").and_then(|first| Ok((first, ask("Once more: ")?)));
    drop(echo);
    to_stdout(|out| match answers? {
        (first, second) if first == second => hashed(&first, hash, out),
        _ => {
            eprintln!("The two differ; nothing is hashed.");
            Ok(Outcome::Refused)
        }
    })
}

fn hashed(password: &[u8], hash: Hash, out: &mut dyn Write) -> io::Result<Outcome> {
    match hash(password) {
        Ok(hash) => writeln!(out, "{}", hash.0).map(|()| Outcome::Done),
        Err(error) => {
            eprintln!("No hash: {error}");
            Ok(Outcome::Refused)
        }
    }
}

/// One line without its end; one byte more than a password may have is enough to see that it is too
/// long.
fn line(input: &mut dyn BufRead) -> io::Result<Vec<u8>> {
    let mut line = Vec::new();
    let longest = PASSWORD_BYTES_MAX as u64 + 3;
    io::Read::take(input, longest).read_until(b'\n', &mut line)?;
    if line.last() == Some(&b'\n') {
        line.pop();
    }
    if line.last() == Some(&b'\r') {
        line.pop();
    }
    Ok(line)
}

/// Keeps the terminal from showing what is typed, until it is dropped. By stty, because the
/// terminal's own interface is unsafe code; where there is none, the password is shown.
struct Echo;

impl Echo {
    fn off() -> Echo {
        stty("-echo");
        Echo
    }
}

impl Drop for Echo {
    fn drop(&mut self) {
        stty("echo");
    }
}

fn stty(argument: &str) {
    let done = Command::new("stty").arg(argument).stdin(Stdio::inherit()).status();
    if !done.is_ok_and(|status| status.success()) {
        eprintln!("(stty {argument} failed)");
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::directory::{password, scram};

    fn hashed_as(hash: Hash, input: &[u8]) -> (Outcome, String) {
        let mut out = Vec::new();
        let outcome = report(&mut &input[..], hash, &mut out).expect("memory");
        (outcome, String::from_utf8(out).expect("text"))
    }

    fn hashed(input: &[u8]) -> (Outcome, String) {
        hashed_as(password::hash, input)
    }

    #[test]
    fn the_keys_of_scram_fit_the_password_too() {
        let (outcome, hash) = hashed_as(scram::hash, b"secret\n");
        assert_eq!(outcome, Outcome::Done);
        assert!(hash.starts_with("SCRAM-SHA-256$"), "{hash}");
        assert!(password::verify(b"secret", &PasswordHash(hash.trim_end().to_owned())));
    }

    #[test]
    fn the_first_line_is_the_password_and_the_hash_fits_it() {
        for input in [&b"secret"[..], b"secret\n", b"secret\r\n", b"secret\nmore\n"] {
            let (outcome, hash) = hashed(input);
            assert_eq!(outcome, Outcome::Done);
            assert!(hash.starts_with("$argon2id$") && hash.ends_with('\n'), "{hash}");
            assert!(password::verify(b"secret", &PasswordHash(hash.trim_end().to_owned())));
        }
    }

    #[test]
    fn no_password_and_one_that_is_too_long_are_refused() {
        let longest = [b"a".repeat(PASSWORD_BYTES_MAX), b"\r\n".to_vec()].concat();
        assert_eq!(hashed(&longest).0, Outcome::Done);
        let longer = b"a".repeat(PASSWORD_BYTES_MAX + 1);
        for input in [&b""[..], b"\n", &longer] {
            assert_eq!(hashed(input), (Outcome::Refused, String::new()));
        }
    }
}
