//! Layer 4: the verbs of the command line beside `serve`. Each writes its report to whatever it is
//! given, so that a test can read it; `run` is the same on the terminal.

pub mod audit;
pub mod check;
mod daemon;
pub mod demo;
pub mod dkim_key;
pub mod explain;
pub mod hash_password;
pub mod migrate_store;
pub mod operate;
#[cfg(test)]
mod place;
pub mod queue;
pub mod restored;
pub mod route_test;

use std::io::{self, Write};
use std::process::ExitCode;

/// How a verb ended.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Outcome {
    /// As asked.
    Done,
    /// There are faults, or no answer; the report says which.
    Refused,
}

/// Writes a report to standard output. A reader that went away (`check | head`) is no fault.
fn to_stdout(report: impl FnOnce(&mut dyn Write) -> io::Result<Outcome>) -> ExitCode {
    let mut out = io::stdout().lock();
    match report(&mut out).and_then(|outcome| out.flush().map(|()| outcome)) {
        Ok(Outcome::Done) => ExitCode::SUCCESS,
        Ok(Outcome::Refused) => ExitCode::FAILURE,
        Err(error) if error.kind() == io::ErrorKind::BrokenPipe => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("{error}");
            ExitCode::FAILURE
        }
    }
}
