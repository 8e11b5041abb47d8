//! `postfach migrate-store`: everything from one store to another, by two config files. No daemon
//! may run on either. Who interrupts it runs it again, and it goes on.

mod progress;
#[cfg(test)]
mod tests;

use std::io::{self, IsTerminal, Write};
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use crate::config::{self, Config, Database, StoreEngine};
use crate::server::database;
use crate::server::serve::on_runtime;
use crate::store::migrate::{self, Side, Stopped};
use crate::store::postgres::{self, Target};
use crate::store::{StoreError, embedded};
use progress::{Look, Progress};

/// It was interrupted, or a store failed: running it again goes on.
const HALF_WAY: u8 = 3;
/// All is copied, but it is not the same.
const DIFFERS: u8 = 4;

/// How it ended.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Ended {
    /// Everything is in the target, and was looked at.
    Moved,
    /// Nothing was changed; the report says what is in the way.
    Refused,
    /// Some of it is in the target.
    HalfWay,
    /// The target is not the same as the source.
    Differs,
}

impl Ended {
    /// As the shell sees it.
    pub fn code(self) -> u8 {
        match self {
            Ended::Moved => 0,
            Ended::Refused => 1,
            Ended::HalfWay => HALF_WAY,
            Ended::Differs => DIFFERS,
        }
    }
}

/// On the terminal, with a bar; elsewhere in lines.
pub fn run(from: &Path, to: &Path) -> ExitCode {
    let mut out = io::stdout();
    let look = if out.is_terminal() { Look::Bar } else { Look::Lines };
    match report((from, to), look, &mut out) {
        Ok(ended) => ExitCode::from(ended.code()),
        Err(error) => {
            eprintln!("{error}");
            ExitCode::from(HALF_WAY)
        }
    }
}

/// Moves the store of `from` to that of `to`, and writes how it goes.
pub fn report((from, to): (&Path, &Path), look: Look, out: &mut dyn Write) -> io::Result<Ended> {
    let (from, to) = match (load(from), load(to)) {
        (Ok(from), Ok(to)) => (from, to),
        (from, to) => {
            for fault in [from.err(), to.err()].into_iter().flatten() {
                writeln!(out, "{fault}")?;
            }
            return Ok(Ended::Refused);
        }
    };
    let mut progress = Progress::new(look, out);
    let scratch = scratch(&to);
    let moved = on_runtime(async {
        Ok(match sides(&from, &to).await {
            Ok((mut from, mut to)) => {
                migrate::run((&mut from, &mut to), scratch, &mut |report| progress.show(report))
                    .await
            }
            Err(why) => Err(Stopped::Unfit(why)),
        })
    });
    progress.end()?;
    let moved = moved.map_err(|failure| io::Error::other(failure.to_string()))?;
    tell((moved, &progress.moved()), (&from, &to), out)
}

fn load(path: &Path) -> Result<Config, String> {
    config::load(path).map_err(|faults| {
        let faults: Vec<String> = faults.iter().map(|fault| format!("fault: {fault}")).collect();
        faults.join("\n")
    })
}

/// Beside the spool of the target's daemon, which is emptied at its start.
fn scratch(to: &Config) -> PathBuf {
    to.data_dir.join("spool").join("migrate-store")
}

async fn sides(from: &Config, to: &Config) -> Result<(Side, Side), String> {
    let named = |which: &'static str| move |why: String| format!("the {which} store: {why}");
    let from = match &from.store {
        StoreEngine::Embedded { .. } => embedded::migrate::source(&from.data_dir).map_err(plain),
        StoreEngine::Postgres(database) => match target(database).await {
            Ok(target) => postgres::migrate::source(target).await.map_err(plain),
            Err(why) => Err(why),
        },
    };
    let from = from.map_err(named("source"))?;
    let to = match &to.store {
        StoreEngine::Embedded { .. } => embedded::migrate::target(&to.data_dir).map_err(plain),
        StoreEngine::Postgres(database) => match target(database).await {
            Ok(target) => postgres::migrate::target(target).await.map_err(plain),
            Err(why) => Err(why),
        },
    };
    Ok((from, to.map_err(named("target"))?))
}

async fn target(database: &Database) -> Result<Target, String> {
    database::target(database).await.map_err(|faults| {
        let faults: Vec<String> = faults.iter().map(ToString::to_string).collect();
        faults.join("\n")
    })
}

/// Without the words for a daemon.
fn plain(error: StoreError) -> String {
    match error {
        StoreError::Unavailable(why) => why,
        error => error.to_string(),
    }
}

fn tell(
    (moved, counts): (Result<(), Stopped>, &str),
    (from, to): (&Config, &Config),
    out: &mut dyn Write,
) -> io::Result<Ended> {
    let ended = match moved {
        Ok(()) => {
            writeln!(out, "done: {counts}; every row and every message was compared")?;
            if from.data_dir != to.data_dir {
                let (from, to) = (from.data_dir.display(), to.data_dir.display());
                writeln!(
                    out,
                    "what is not mail stays where it is: copy dkim/ and tls/ from {from} to {to} \
                     if they are used"
                )?;
            }
            Ended::Moved
        }
        Err(Stopped::Unfit(why)) => {
            writeln!(out, "nothing was moved: {why}")?;
            Ended::Refused
        }
        Err(Stopped::HalfWay(error)) => {
            writeln!(out, "stopped half-way: {error}")?;
            writeln!(out, "when that is mended, run the same again: it goes on where it was")?;
            Ended::HalfWay
        }
        Err(Stopped::Differs(what)) => {
            writeln!(out, "the target is not the same as the source: {what}")?;
            writeln!(
                out,
                "the source is as it was; empty the target and run this again, with no daemon on \
                 either"
            )?;
            Ended::Differs
        }
    };
    out.flush()?;
    Ok(ended)
}
