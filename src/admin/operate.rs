//! Verbs that the running daemon carries out and tells of in lines: `away`, `restore`,
//! `break-glass`. Knows none of them.

use std::io::{self, Write};
use std::path::Path;
use std::process::ExitCode;

use super::daemon::{ask, connect, unanswered};
use super::queue::print::visible;
use super::{Outcome, to_stdout};
use crate::config;
use crate::server::control::FILE;
use crate::server::control::words::{Asked, Line, Request};

/// Asks for it, on the terminal.
pub fn run(config: &Path, asked: Asked) -> ExitCode {
    to_stdout(|out| report(config, asked, out))
}

/// Writes what the daemon says to `out`.
pub fn report(config: &Path, asked: Asked, out: &mut dyn Write) -> io::Result<Outcome> {
    let config = match config::load(config) {
        Ok(config) => config,
        Err(faults) => {
            faults.iter().try_for_each(|fault| writeln!(out, "{fault}"))?;
            return Ok(Outcome::Refused);
        }
    };
    let socket = config.data_dir.join(FILE);
    let stream = match connect(&socket) {
        Ok(stream) => stream,
        Err(error) => {
            writeln!(out, "{}", unanswered(&socket, &error))?;
            return Ok(Outcome::Refused);
        }
    };
    let mut outcome = None;
    ask(stream, &Request::Asked(Box::new(asked)), &mut |line| match line {
        Line::Said(text) => writeln!(out, "{}", visible(&text)),
        Line::Error(why) => {
            outcome = Some(Outcome::Refused);
            writeln!(out, "{}", visible(&why))
        }
        Line::Over => {
            outcome = Some(Outcome::Done);
            Ok(())
        }
        Line::Message(_) | Line::Done(_) | Line::Entry(_) | Line::End(_) => Ok(()),
    })?;
    if outcome.is_none() {
        writeln!(out, "the daemon broke its answer off")?;
    }
    Ok(outcome.unwrap_or(Outcome::Refused))
}
