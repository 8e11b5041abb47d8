//! `postfach queue`: what waits to go out, and what is done about it. Asks the running daemon by
//! its control socket; nobody else may change the queue.

pub(in crate::admin) mod print;

use std::io::{self, BufRead, BufReader, Write};
use std::os::unix::net::UnixStream;
use std::path::Path;
use std::process::ExitCode;

use super::daemon::{connect, unanswered};
use super::{Outcome, to_stdout};
use crate::config;
use crate::server::control::FILE;
use crate::server::control::words::{Done, Line, Message, Request};
use crate::server::queue::Verb;

/// How a list is shown.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Form {
    /// For people.
    Text,
    /// For programs: a JSON object a message, each on its line.
    Json,
}

/// Does it on the terminal. `words` are those behind `queue`: `show 7`.
pub fn run(config: &Path, request: &Request, form: Form) -> ExitCode {
    to_stdout(|out| report(config, (request, form), out))
}

/// Writes the daemon's answer to `out`.
pub fn report(
    config: &Path,
    (request, form): (&Request, Form),
    out: &mut dyn Write,
) -> io::Result<Outcome> {
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
    converse(stream, (request, form), out)
}

fn converse(
    mut stream: UnixStream,
    (request, form): (&Request, Form),
    out: &mut dyn Write,
) -> io::Result<Outcome> {
    stream.write_all(request.line().as_bytes())?;
    let mut messages = Vec::new();
    for line in BufReader::new(stream).lines() {
        match serde_json::from_str(&line?).map_err(io::Error::other)? {
            Line::Message(message) if form == Form::Json => {
                writeln!(out, "{}", serde_json::to_string(&message).map_err(io::Error::other)?)?;
            }
            Line::Message(message) => messages.push(message),
            Line::Done(done) => {
                if form == Form::Text {
                    tell(request, (&messages, done), out)?;
                }
                return Ok(Outcome::Done);
            }
            // what was not asked for
            Line::Entry(_) | Line::End(_) | Line::Said(_) | Line::Over => {}
            Line::Error(why) => {
                writeln!(out, "{}", print::visible(&why))?;
                return Ok(Outcome::Refused);
            }
        }
    }
    writeln!(out, "the daemon broke its answer off")?;
    Ok(Outcome::Refused)
}

fn tell(
    request: &Request,
    (messages, done): (&[Message], Done),
    out: &mut dyn Write,
) -> io::Result<()> {
    match request {
        Request::List => print::list(messages, done.now_secs, out),
        Request::Show(_) => messages.iter().try_for_each(|m| print::show(m, done.now_secs, out)),
        Request::One(verb, _) | Request::All(verb) => changed(*verb, done, out),
        Request::Asked(_) => Ok(()),
    }
}

fn changed(verb: Verb, done: Done, out: &mut dyn Write) -> io::Result<()> {
    let Done { messages, recipients, busy, .. } = done;
    let what = match verb {
        Verb::Retry => "will be tried at once",
        Verb::Hold => "held until `postfach queue release`",
        Verb::Release => "released, and will be tried at once",
        Verb::Drop => "dropped; nobody is told",
    };
    let messages = print::count(messages, "message");
    writeln!(out, "{} of {messages}: {what}", print::count(recipients, "recipient"))?;
    if recipients == 0 && busy == 0 && verb == Verb::Retry {
        writeln!(out, "what is held has to be released: `postfach queue release ID`")?;
    }
    if busy > 0 {
        let busy = print::count(busy, "recipient");
        writeln!(out, "{busy} being tried at this moment; that is finished first")?;
    }
    Ok(())
}

#[cfg(test)]
#[path = "tests.rs"]
mod tests;
