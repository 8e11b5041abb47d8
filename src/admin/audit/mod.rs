//! `postfach audit`: what was done, by whom and when; and whether the log is as it was written.
//! Asks the running daemon; where none is running, reads the store itself.

mod print;

use std::io::{self, Write};
use std::path::Path;
use std::process::ExitCode;
use std::sync::Arc;

use super::daemon::{self, ask, connect, unanswered};
use super::queue::Form;
use super::{Outcome, to_stdout};
use crate::config::{self, Config, StoreEngine};
use crate::mail::id::Timestamp;
use crate::server::control::FILE;
use crate::server::control::audit::Reading;
use crate::server::control::words::{Asked, End, Entry, Line, Request};
use crate::server::database;
use crate::server::serve::{Failure, on_runtime};
use crate::store::Store;
use crate::store::audit::{Chain, EntryId, Filter, HASH_BYTES, Record, Tip};
use crate::store::embedded;
use crate::sys::SystemClock;

/// `postfach audit`, on the terminal.
pub fn run(config: &Path, filter: Filter, form: Form) -> ExitCode {
    to_stdout(|out| report(config, (filter, form), out))
}

/// `postfach audit verify`, on the terminal. `noted` is a hash that was shown before.
pub fn run_verify(config: &Path, noted: Option<&str>) -> ExitCode {
    to_stdout(|out| verify(config, noted, out))
}

/// Writes the entries that fit to `out`.
pub fn report(
    config: &Path,
    (filter, form): (Filter, Form),
    out: &mut dyn Write,
) -> io::Result<Outcome> {
    let mut count = 0;
    let mut each = |entry: Entry| {
        count += 1;
        match form {
            Form::Json => writeln!(out, "{}", print::json(&entry)),
            Form::Text => print::text(&entry, out),
        }
    };
    match walk(config, filter, &mut each)? {
        Ok(_) => {
            if count == 0 && form == Form::Text {
                writeln!(out, "nothing fits")?;
            }
            Ok(Outcome::Done)
        }
        Err(why) => refused(&why, out),
    }
}

/// Says whether the log is whole, or where it first is not.
pub fn verify(config: &Path, noted: Option<&str>, out: &mut dyn Write) -> io::Result<Outcome> {
    let mut chain = Chain::default();
    let mut broken = None;
    let mut is_noted = noted.is_none();
    let mut each = |entry: Entry| {
        let Some(record) = record(&entry) else { return Err(io::Error::other("an odd hash")) };
        is_noted |= noted.is_some_and(|noted| entry.hash.eq_ignore_ascii_case(noted.trim()));
        if broken.is_none() {
            broken = chain.take(&record).err();
        }
        Ok(())
    };
    let end = match walk(config, Filter::default(), &mut each)? {
        Ok(end) => end,
        Err(why) => return refused(&why, out),
    };
    let written = Tip { id: EntryId(end.id), hash: bytes(&end.hash).unwrap_or_default() };
    if let Some(broken) = broken.or(chain.end(&written).err()) {
        return refused(&format!("the audit log is broken: {broken}"), out);
    }
    if !is_noted {
        let why = "the audit log is whole, but no entry has that hash: it is another log";
        return refused(why, out);
    }
    writeln!(out, "{} entries, all as they were written", end.id)?;
    writeln!(out, "the last has the hash {}", end.hash)?;
    writeln!(
        out,
        "note it elsewhere: `postfach audit verify --noted HASH` finds it again, or not"
    )?;
    Ok(Outcome::Done)
}

fn refused(why: &str, out: &mut dyn Write) -> io::Result<Outcome> {
    writeln!(out, "{why}")?;
    Ok(Outcome::Refused)
}

fn record(entry: &Entry) -> Option<Record> {
    let (id, at) = (EntryId(entry.id), Timestamp(entry.at));
    Some(Record { id, at, text: entry.text.clone(), hash: bytes(&entry.hash)? })
}

fn bytes(hex: &str) -> Option<[u8; HASH_BYTES]> {
    let mut bytes = [0; HASH_BYTES];
    for (at, byte) in bytes.iter_mut().enumerate() {
        *byte = u8::from_str_radix(hex.get(2 * at..2 * at + 2)?, 16).ok()?;
    }
    (hex.len() == 2 * HASH_BYTES).then_some(bytes)
}

/// Hands each entry that fits to `each`; answers where the log ends, or why it is not read.
fn walk(
    config: &Path,
    filter: Filter,
    each: &mut dyn FnMut(Entry) -> io::Result<()>,
) -> io::Result<Result<End, String>> {
    let config = match config::load(config) {
        Ok(config) => config,
        Err(faults) => {
            let faults: Vec<String> = faults.iter().map(ToString::to_string).collect();
            return Ok(Err(faults.join("\n")));
        }
    };
    let mut end = Err("the daemon broke its answer off".to_owned());
    let mut line = |line| {
        match line {
            Line::Entry(entry) => each(entry)?,
            Line::End(told) => end = Ok(told),
            Line::Error(why) => end = Err(why),
            Line::Message(_) | Line::Turn(_) | Line::Done(_) | Line::Said(_) | Line::Over => {}
        }
        Ok(())
    };
    let socket = config.data_dir.join(FILE);
    match connect(&socket) {
        Ok(stream) => {
            let request = Request::Asked(Box::new(Asked::Audit(filter)));
            ask(stream, &request, &mut line)?;
        }
        Err(error) if daemon::is_absent(&error) && is_readable(&config) => {
            if let Err(failure) = at_rest(&config, filter, &mut line)? {
                return Ok(Err(failure.to_string()));
            }
        }
        Err(error) => return Ok(Err(unanswered(&socket, &error))),
    }
    Ok(end)
}

/// Whether there is a store that can be read without a daemon.
fn is_readable(config: &Config) -> bool {
    match config.store {
        StoreEngine::Embedded { .. } => config.data_dir.join("store.db").exists(),
        StoreEngine::Postgres(_) => true,
    }
}

/// Reads the store of a daemon that is not running.
fn at_rest(
    config: &Config,
    filter: Filter,
    each: &mut dyn FnMut(Line) -> io::Result<()>,
) -> io::Result<Result<(), Failure>> {
    let mut written = Ok(());
    let walked = on_runtime(async {
        // nothing that writes runs: nothing is changed
        let clock = Arc::new(SystemClock);
        let (store, _writer): (Box<dyn Store>, Option<embedded::Writer>) = match &config.store {
            StoreEngine::Embedded { .. } => {
                embedded::check_layout(&config.data_dir)?;
                let options = embedded::Options::default();
                let (store, writer) = embedded::open(&config.data_dir, options, clock)?;
                (Box::new(store), Some(writer))
            }
            StoreEngine::Postgres(database) => {
                let opened = database::open_to_read(database, clock).await;
                (Box::new(opened.map_err(Failure::Declared)?), None)
            }
        };
        let mut reading = Reading::new(filter);
        while let Some(lines) = reading.next(&*store, config.audit_subjects).await {
            written = lines.into_iter().try_for_each(&mut *each);
            if written.is_err() {
                break;
            }
        }
        Ok(())
    });
    written.map(|()| walked)
}

#[cfg(test)]
#[path = "tests.rs"]
mod tests;
