//! `postfach check`: the faults and warnings of both files, who sees each inbox and channel, and
//! which domain signs its mail.
//! Opens no store, so it can run beside the daemon. Where the daemon runs on a store that other
//! nodes work on, too, it is asked which directory is in force.

mod in_force;

use std::io::{self, Write};
use std::path::Path;
use std::process::ExitCode;
use std::sync::Arc;

use super::{Outcome, to_stdout};
use crate::config::{self, Config, Fault, Tls};
use crate::directory::grounds::grounds;
use crate::directory::{Directory, Rights, file, rights};
use crate::mail::account::Account;
use crate::mail::address::Address;
use crate::mail::id::Login;
use crate::outbound::dkim::SigningKey;
use crate::server::dkim::Signers;
use crate::server::login::oauth::Tokens;
use crate::server::tls::{Certificates, Source};
use crate::sys::SystemClock;

/// `check` on the terminal.
pub fn run(path: &Path) -> ExitCode {
    to_stdout(|out| report(path, out))
}

/// Reads both files and writes what is to be said about them.
pub fn report(path: &Path, out: &mut dyn Write) -> io::Result<Outcome> {
    let config = match config::load(path) {
        Ok(config) => config,
        Err(faults) => {
            let directory = config::directory_path(path).map(|path| file::load(&path));
            let others = directory.and_then(Result::err).unwrap_or_default();
            return refuse(&[faults, others].concat(), out);
        }
    };
    warn(&config.warnings, out)?;
    let certificate = certificate(&config, out)?;
    let directory = match file::load(&config.directory_path) {
        Ok(directory) => directory,
        Err(faults) => return refuse(&faults, out),
    };
    warn(&directory.warnings, out)?;
    let oauth = config.oauth.as_ref().map(|oauth| Tokens::load(oauth, Arc::new(SystemClock)));
    if let Some(Err(faults)) = oauth {
        return refuse(&faults, out);
    }
    match Signers::load(&config.dkim, &directory) {
        Ok(signers) => {
            accounts(&directory, out)?;
            signing(&signers, &directory, out)?;
            in_force::tell(&config, out)?;
        }
        Err(faults) => return refuse(&faults, out),
    }
    Ok(certificate)
}

/// Writes all faults.
pub(super) fn refuse(faults: &[Fault], out: &mut dyn Write) -> io::Result<Outcome> {
    for fault in faults {
        writeln!(out, "fault: {fault}")?;
    }
    writeln!(out, "{} to be mended.", counted(faults.len(), "fault"))?;
    Ok(Outcome::Refused)
}

fn warn(warnings: &[Fault], out: &mut dyn Write) -> io::Result<()> {
    warnings.iter().try_for_each(|warning| writeln!(out, "warning: {warning}"))
}

/// The certificate's files are read, for they are what breaks most often; a self-signed one is made
/// by the daemon, not here.
fn certificate(config: &Config, out: &mut dyn Write) -> io::Result<Outcome> {
    let Tls::Files { certificate, key } = &config.tls else { return Ok(Outcome::Done) };
    let source = Source::Files { certificate: certificate.clone(), key: key.clone() };
    match Certificates::load(&source) {
        Ok(_) => Ok(Outcome::Done),
        Err(fault) => {
            writeln!(out, "fault: {fault}")?;
            Ok(Outcome::Refused)
        }
    }
}

fn accounts(directory: &Directory, out: &mut dyn Write) -> io::Result<()> {
    let counts = [
        counted(directory.users.len(), "user"),
        counted(directory.teams.len(), "team"),
        counted(directory.inboxes.len(), "inbox").replace("inboxs", "inboxes"),
        counted(directory.channels.len(), "channel"),
    ];
    writeln!(out, "{}.", counts.join(", "))?;
    for inbox in directory.inboxes.values() {
        writeln!(out, "\nInbox {:?}{}", inbox.name, addressed(&inbox.addresses))?;
        who(directory, &Account::Inbox(inbox.name.clone()), out)?;
    }
    for channel in directory.channels.values() {
        let (name, owner) = (&channel.name, &channel.owner);
        writeln!(out, "\nChannel {name:?} of {owner}{}", addressed(&channel.addresses))?;
        who(directory, &Account::Channel(channel.name.clone()), out)?;
    }
    Ok(())
}

/// Which domain signs with which keys; says nothing where there is no key at all.
fn signing(signers: &Signers, directory: &Directory, out: &mut dyn Write) -> io::Result<()> {
    let signing = signers.all();
    if signing.is_empty() {
        return Ok(());
    }
    writeln!(out, "\nDKIM")?;
    for (domain, keys) in &signing {
        let key = |key: &SigningKey| format!("{} ({})", key.selector, key.pair.algorithm().name());
        let keys: Vec<String> = keys.iter().map(key).collect();
        writeln!(out, "  {domain} signs with {}", keys.join(", "))?;
    }
    for domain in directory.domains.keys().filter(|domain| signers.keys(domain).is_none()) {
        let remedy = format!("`postfach dkim-key --domain {domain}` makes keys");
        writeln!(out, "warning: {domain} does not sign its mail; {remedy}")?;
    }
    Ok(())
}

fn counted(count: usize, what: &str) -> String {
    let plural = if count == 1 { "" } else { "s" };
    format!("{count} {what}{plural}")
}

fn addressed(addresses: &[Address]) -> String {
    let list: Vec<String> = addresses.iter().map(Address::to_string).collect();
    if list.is_empty() {
        ", without an address".to_owned()
    } else {
        format!(": {}", list.join(", "))
    }
}

/// A line for each user who sees the account.
fn who(directory: &Directory, account: &Account, out: &mut dyn Write) -> io::Result<()> {
    let held = directory.users.keys().map(|user| (user, rights(directory, user, account)));
    let seeing: Vec<(&Login, Rights)> = held.filter(|(_, rights)| rights.has('l')).collect();
    if seeing.is_empty() {
        writeln!(out, "  nobody sees it")?;
    }
    let width = seeing.iter().map(|(user, _)| user.as_str().chars().count()).max().unwrap_or(0);
    for (user, rights) in seeing {
        let (level, why) = (level(rights), why(directory, user, account));
        let (user, letters) = (user.as_str(), rights.to_string());
        writeln!(out, "  {user:width$}  {level:6}  {letters:11}  {why}")?;
    }
    Ok(())
}

/// The reasons for a user's rights, in words.
pub(super) fn why(directory: &Directory, user: &Login, account: &Account) -> String {
    let grounds = grounds(directory, user, account);
    grounds.iter().map(|(ground, _)| ground.to_string()).collect::<Vec<_>>().join(", ")
}

/// The level that these rights are, if they are one.
pub(super) fn level(rights: Rights) -> &'static str {
    let levels = [(Rights::manage(), "manage"), (Rights::work(), "work"), (Rights::read(), "read")];
    levels.iter().find(|(level, _)| *level == rights).map_or("other", |(_, word)| word)
}

#[cfg(test)]
#[path = "check_tests.rs"]
pub(super) mod tests;
