//! `postfach hash-password`: a password in, the line for `directory.toml` out. Takes no argument: a
//! command line can be read by every user of the machine.

use std::io::{self, BufRead, IsTerminal, Write};
use std::process::{Command, ExitCode, Stdio};

use super::{Outcome, to_stdout};
use crate::directory::password::{self, PASSWORD_BYTES_MAX};

/// Reads from standard input; on a terminal it asks twice and shows nothing.
pub fn run() -> ExitCode {
    let stdin = io::stdin();
    if stdin.is_terminal() {
        return asked(&mut stdin.lock());
    }
    to_stdout(|out| report(&mut stdin.lock(), out))
}

/// Reads one line and writes the hash of it.
pub fn report(input: &mut dyn BufRead, out: &mut dyn Write) -> io::Result<Outcome> {
    let password = line(input)?;
    hashed(&password, out)
}

fn asked(input: &mut dyn BufRead) -> ExitCode {
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
        (first, second) if first == second => hashed(&first, out),
        _ => {
            eprintln!("The two differ; nothing is hashed.");
            Ok(Outcome::Refused)
        }
    })
}

fn hashed(password: &[u8], out: &mut dyn Write) -> io::Result<Outcome> {
    match password::hash(password) {
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
    use crate::directory::PasswordHash;

    fn hashed(input: &[u8]) -> (Outcome, String) {
        let mut out = Vec::new();
        let outcome = report(&mut &input[..], &mut out).expect("memory");
        (outcome, String::from_utf8(out).expect("text"))
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
