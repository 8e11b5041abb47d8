//! Whether the sender of a message that begins a conversation may be told at once, by a program,
//! that it has come. Pure. RFC 3834, and RFC 5230, which asks the same of vacation notices.
//!
//! Silence is the answer to every doubt: a notice too many goes to a list or round in circles.

use super::Scope;
use crate::directory::Routing;
use crate::mail::address::Address;
use crate::mail::message::{Envelope, EnvelopeAddress, own_fields};

/// Who is told, and by which of the inbox's addresses.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Told {
    /// The reverse-path: nobody else is known to want an answer.
    pub to: Address,
    /// As the message names it.
    pub from: Address,
}

/// Why nobody is told.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Silence {
    /// There is no reverse-path: it is a report, or such an answer itself.
    NullSender,
    /// Its sender is one of us, or pretends to be.
    Ours,
    /// A program sent it.
    Automatic,
    /// It went to many.
    Bulk,
    /// It came over a mailing list.
    List,
    /// Its sender's address is a program's.
    Role,
    /// Neither To nor Cc names the inbox.
    NotNamed,
}

/// Local parts of programs. RFC 5230 §4.6
const PROGRAMS: [&str; 14] = [
    "mailer-daemon",
    "listserv",
    "majordomo",
    "mailman",
    "no-reply",
    "noreply",
    "no_reply",
    "do-not-reply",
    "donotreply",
    "do_not_reply",
    "bounce",
    "bounces",
    "root",
    "nobody",
];
/// How local parts of programs begin.
const PREFIXES: [&str; 6] =
    ["owner-", "bounce-", "bounces-", "noreply-", "no-reply-", "mailer-daemon-"];
/// How local parts of programs end.
const SUFFIXES: [&str; 7] =
    ["-request", "-owner", "-bounce", "-bounces", "-noreply", "-no-reply", "-admin"];

/// Whom to tell of a message to an inbox, or why nobody. `header` is folded: a line `NAME: VALUE`
/// for each field.
pub fn told(
    scope: &Scope<'_>,
    reverse_path: Option<&Address>,
    (envelope, header): (&Envelope, &str),
) -> Result<Told, Silence> {
    let to = reverse_path.ok_or(Silence::NullSender)?.clone();
    let is_here = !matches!(scope.directory.route(&to), Routing::Foreign | Routing::Upstream(_));
    if is_here || authors(envelope).any(|author| scope.directory.is_ours(&author)) {
        return Err(Silence::Ours);
    }
    if is_program(&to) || authors(envelope).any(|author| is_program(&author)) {
        return Err(Silence::Role);
    }
    for line in own_fields(header).lines() {
        let Some((name, value)) = line.split_once(':') else { continue };
        match (name, value.trim()) {
            // RFC 3834 §5: whatever stands there but "no", parameters or not
            ("AUTO-SUBMITTED", value) if value.split(';').next().map(str::trim) != Some("NO") => {
                return Err(Silence::Automatic);
            }
            ("PRECEDENCE", "BULK" | "LIST" | "JUNK") => return Err(Silence::Bulk),
            // what Exchange and others put in instead
            ("X-AUTO-RESPONSE-SUPPRESS", _) | ("X-AUTOREPLY" | "X-AUTORESPOND", _) => {
                return Err(Silence::Automatic);
            }
            (name, _) if name.starts_with("LIST-") => return Err(Silence::List),
            _ => {}
        }
    }
    let from = named(scope, envelope).ok_or(Silence::NotNamed)?;
    Ok(Told { to, from })
}

fn authors(envelope: &Envelope) -> impl Iterator<Item = Address> {
    envelope.from.iter().filter_map(EnvelopeAddress::address)
}

/// Whether nobody reads what is sent there.
fn is_program(address: &Address) -> bool {
    let local = address.local().to_ascii_lowercase();
    PROGRAMS.contains(&local.as_str())
        || PREFIXES.iter().any(|prefix| local.starts_with(prefix))
        || SUFFIXES.iter().any(|suffix| local.ends_with(suffix))
}

/// The inbox's address that To or Cc names, as it is declared. RFC 5230 §4.5
fn named(scope: &Scope<'_>, envelope: &Envelope) -> Option<Address> {
    let mut named = envelope.to.iter().chain(&envelope.cc).filter_map(EnvelopeAddress::address);
    let named = named.find(|address| scope.directory.is_address_of(scope.account, address))?;
    let declared = scope.directory.addresses_of(scope.account);
    let is_it = |address: &&Address| address.key() == named.key();
    let is_plain = |address: &&Address| {
        let (local, domain) = (address.local(), address.domain());
        let detail = named.local().get(local.len()..);
        domain == named.domain()
            && detail.is_some_and(|detail| detail.starts_with('+'))
            && named.local()[..local.len()].eq_ignore_ascii_case(local)
    };
    let found = declared.iter().find(is_it).or_else(|| declared.iter().find(is_plain));
    found.or(declared.first()).cloned()
}

#[cfg(test)]
#[path = "acknowledging_tests.rs"]
mod tests;
