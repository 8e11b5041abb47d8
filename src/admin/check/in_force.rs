//! Which directory is in force on all nodes, as the running daemon says, and what the file here has
//! to do with it.

use std::io::{self, Write};
use std::path::Path;

use crate::admin::daemon::{ask, connect};
use crate::admin::queue::print::visible;
use crate::config::Config;
use crate::server::control::FILE;
use crate::server::control::words::{Asked, Line, Request};

/// Says it, where several nodes work on one store and the one here runs.
pub(super) fn tell(config: &Config, out: &mut dyn Write) -> io::Result<()> {
    // a daemon that is not there, or does not know the question, is no fault of the files
    let Some(said) = asked(&config.data_dir.join(FILE)) else { return Ok(()) };
    let [hash, at, host] = said.as_slice() else { return Ok(()) };
    let own = std::fs::read(&config.directory_path)?;
    let is_own = blake3::hash(&own).to_string() == *hash;
    let (at, host) = (visible(at), visible(host));
    match is_own {
        true => {
            writeln!(out, "\nThis directory is in force on all nodes (published {at} by {host}).")
        }
        false => writeln!(
            out,
            "\nwarning: another directory is in force on all nodes, published {at} by {host}; a \
             reload (SIGHUP) here publishes this one if it was changed later than that."
        ),
    }
}

fn asked(socket: &Path) -> Option<Vec<String>> {
    let mut said = Vec::new();
    let mut is_over = false;
    let request = Request::Asked(Box::new(Asked::InForce));
    ask(connect(socket).ok()?, &request, &mut |line| {
        match line {
            Line::Said(text) => said.push(text),
            Line::Over => is_over = true,
            _ => {}
        }
        Ok(())
    })
    .ok()?;
    is_over.then_some(said)
}
