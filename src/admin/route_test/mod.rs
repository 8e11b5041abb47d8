//! `postfach route-test FILE --to ADDRESS`: which rule of an inbox a message would meet, why those
//! before it do not match, and who would get it. Reads the files as they are now; whose turn it is
//! only the running daemon knows, and it is asked.

mod words;

use std::fs::File;
use std::io::{self, Read, Write};
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use super::check::refuse;
use super::daemon::{self, connect, unanswered};
use super::{Outcome, to_stdout};
use crate::config;
use crate::conversation::routing::{self, Candidate, Facts};
use crate::delivery::recipient::{self, Resolution};
use crate::directory::rule::{Action, Pick, Rule, Target};
use crate::directory::{Directory, file};
use crate::mail::account::Account;
use crate::mail::address::Address;
use crate::mail::id::Login;
use crate::mail::message::{self, Parsed};
use crate::server::control::FILE;
use crate::server::control::words::{Asked, Line, Request};
use crate::smtp::path::Path as ForwardPath;

/// Longest message that is read.
const MESSAGE_BYTES_MAX: u64 = 64 * 1024 * 1024;

/// What is asked.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Options {
    /// The message.
    pub file: PathBuf,
    /// The address that it comes for.
    pub to: String,
    /// Its reverse-path; its author is in its header.
    pub from: Option<String>,
}

/// `route-test` on the terminal.
pub fn run(path: &Path, options: &Options) -> ExitCode {
    to_stdout(|out| report(path, options, out))
}

/// Writes what would become of the message.
pub fn report(path: &Path, options: &Options, out: &mut dyn Write) -> io::Result<Outcome> {
    let loaded = config::load(path).and_then(|config| {
        let directory = file::load(&config.directory_path)?;
        Ok((config, directory))
    });
    let (config, directory) = match loaded {
        Ok(loaded) => loaded,
        Err(faults) => return refuse(&faults, out),
    };
    let Some(to) = Address::parse(&options.to) else {
        writeln!(out, "{:?} is no address", options.to)?;
        return Ok(Outcome::Refused);
    };
    let from = options.from.as_deref().map(|from| (from, Address::parse(from)));
    if let Some((from, None)) = from {
        writeln!(out, "{from:?} is no address")?;
        return Ok(Outcome::Refused);
    }
    let parsed = match read(&options.file) {
        Ok(bytes) => message::parse(&bytes),
        Err(error) => {
            writeln!(out, "{}: {error}; name a message in a file", options.file.display())?;
            return Ok(Outcome::Refused);
        }
    };
    let author = || parsed.envelope.from.iter().find_map(|from| from.address());
    let from = from.and_then(|(_, from)| from).or_else(author);
    let accounts = match recipient::resolve(&directory, &ForwardPath::Address(to.clone())) {
        Resolution::Local(_, accounts) | Resolution::Both(_, accounts, _) => accounts,
        _ => {
            writeln!(out, "{to} is nobody's address here; `postfach check` shows whose there are")?;
            return Ok(Outcome::Refused);
        }
    };
    let socket = config.data_dir.join(FILE);
    let case = Case { directory: &directory, parsed: &parsed, from: from.as_ref(), to: &to };
    accounts.iter().try_for_each(|account| case.explain((account, &socket), out))?;
    Ok(Outcome::Done)
}

/// With line ends as they come by SMTP.
fn read(path: &Path) -> io::Result<Vec<u8>> {
    let mut bytes = Vec::new();
    File::open(path)?.take(MESSAGE_BYTES_MAX).read_to_end(&mut bytes)?;
    let mut out = Vec::with_capacity(bytes.len());
    for line in bytes.split_inclusive(|byte| *byte == b'\n') {
        let text = line.strip_suffix(b"\n").unwrap_or(line);
        out.extend_from_slice(text.strip_suffix(b"\r").unwrap_or(text));
        out.extend_from_slice(b"\r\n");
    }
    Ok(out)
}

/// A message on its way to an address.
struct Case<'a> {
    directory: &'a Directory,
    parsed: &'a Parsed,
    from: Option<&'a Address>,
    to: &'a Address,
}

impl Case<'_> {
    fn explain(&self, (account, socket): (&Account, &Path), out: &mut dyn Write) -> io::Result<()> {
        writeln!(out, "{} -> {}", self.to, words::account(account))?;
        let Some(policy) = self.directory.policy(account) else {
            return writeln!(out, "  a personal mailbox has no rules: it goes into INBOX");
        };
        let detail = self.directory.detail(account, self.to);
        let facts = Facts::new(self.parsed, self.from, detail);
        let matching = routing::matching(&policy.rules, &facts);
        for (number, rule) in policy.rules.iter().enumerate() {
            let said = match (matching, routing::unmet(rule, &facts)) {
                (Some((first, _)), _) if number > first => "not asked any more".into(),
                (_, Some(condition)) => format!("no: {}", words::unmet(condition, &facts)),
                (_, None) => format!("matches: {}", words::action(&rule.action)),
            };
            writeln!(out, "  rule {} ({}): {said}", number + 1, rule.place)?;
        }
        match matching {
            Some((_, rule)) => self.decided(rule, (account, socket), out)?,
            None => writeln!(out, "  no rule matches: it stays open, and nobody gets it")?,
        }
        writeln!(out, "  So it is for a new conversation; a follow-up goes to who has its own.")?;
        writeln!(
            out,
            "  {}",
            words::acknowledged(self.directory, account, (self.from, self.parsed))
        )
    }

    fn decided(
        &self,
        rule: &Rule,
        (account, socket): (&Account, &Path),
        out: &mut dyn Write,
    ) -> io::Result<()> {
        let (users, teams, pick) = match &rule.action {
            Action::Assign { users, teams, pick } => (users, teams, *pick),
            Action::Put(Target::Open) => return writeln!(out, "  it stays open"),
            Action::Put(Target::Done) => return writeln!(out, "  it goes to Done"),
            Action::Put(Target::Junk) => return writeln!(out, "  it goes to Junk"),
        };
        let is_named = |login: &Login| {
            let mut members = teams.iter().filter_map(|team| self.directory.teams.get(team));
            let all = users.is_empty() && teams.is_empty();
            all || users.contains(login) || members.any(|members| members.contains(login))
        };
        let mut members = self.directory.members_at_work(account);
        members.retain(is_named);
        let standing = match (ask(socket, account), &members[..]) {
            (Ok(standing), _) => standing,
            (Err(_), [only]) => return writeln!(out, "  {only} gets it"),
            (Err(why), _) => {
                writeln!(out, "  one of these gets it: {}", words::names(&members))?;
                return writeln!(out, "  whose turn it is only the daemon knows: {why}");
            }
        };
        let candidates: Vec<Candidate> =
            standing.into_iter().filter(|candidate| members.contains(&candidate.login)).collect();
        match (routing::choose(pick, &candidates), &candidates[..]) {
            (None, _) => writeln!(out, "  all of them are away: it stays open"),
            (Some(chosen), [_]) => writeln!(out, "  {} gets it", chosen.login),
            (Some(chosen), _) => {
                candidates.iter().try_for_each(|c| writeln!(out, "    {}", words::standing(c)))?;
                let why = match pick {
                    Pick::RoundRobin => "who has waited longest for a turn",
                    Pick::LeastOpen => "who has the fewest open conversations",
                };
                writeln!(out, "  {} gets it, {why}", chosen.login)
            }
        }
    }
}

/// What the running daemon knows; otherwise why it does not say.
fn ask(socket: &Path, account: &Account) -> Result<Vec<Candidate>, String> {
    let stream = connect(socket).map_err(|error| unanswered(socket, &error))?;
    let request = Request::Asked(Box::new(Asked::Turns(account.clone())));
    let (mut candidates, mut end) = (Vec::new(), Err("it broke its answer off".to_owned()));
    let asked = daemon::ask(stream, &request, &mut |line| {
        match line {
            Line::Turn(turn) => {
                let login = Login::new(&turn.login);
                candidates.push(Candidate { login, turn: turn.turn, open: turn.open });
            }
            Line::Done(_) => end = Ok(()),
            Line::Error(why) => end = Err(why),
            _ => {}
        }
        Ok(())
    });
    asked.map_err(|error| error.to_string())?;
    end.map(|()| candidates)
}

#[cfg(test)]
mod tests;
