//! From `directory.toml` as it is written to what is meant. Each kind of entry has its part:
//! people (users, teams), mailboxes (inboxes, channels) with their rules, addresses (domains, who
//! has which).

mod acknowledgement;
mod addresses;
mod mailboxes;
mod people;
mod quotas;
mod rules;

use std::collections::HashMap;
use std::ops::Range;

use super::Directory;
use super::findings::Findings;
use super::name;
use super::source::{Fault, Source};
use super::written::{Text, Written};

/// Turns the file into a directory, or into all its faults.
pub(super) fn check(
    source: &Source,
    written: Written,
    (faults, damaged): (Vec<Fault>, Vec<Range<usize>>),
) -> Result<Directory, Vec<Fault>> {
    let mut found = Findings::new(source, faults, damaged);
    let mut directory = Directory::default();
    let catch_alls = addresses::domains(&mut found, &mut directory, written.domain);
    let mut taken = addresses::Taken::default();
    let everybodys = people::virtual_mailboxes(&mut found, &written.virtual_mailboxes);
    people::users(&mut found, &mut directory, (written.user, &mut taken, &everybodys));
    people::teams(&mut found, &mut directory, written.team);
    mailboxes::inboxes(&mut found, &mut directory, (&written.inbox, &mut taken));
    mailboxes::channels(&mut found, &mut directory, (&written.channel, &mut taken));
    taken.judge(&mut found);
    addresses::catch_alls(&mut found, &mut directory, catch_alls);
    addresses::postmasters(&mut found, &directory);
    let warnings = found.finish()?;
    Ok(Directory { warnings, ..directory })
}

/// The names of one kind of entry that are given away, without regard to case.
#[derive(Default)]
struct Names(HashMap<String, ()>);

impl Names {
    /// Takes the name of an entry (`kind` with `key`, whose table is at `table`); `None` when it
    /// has none, or none that it can have.
    fn take(
        &mut self,
        found: &mut Findings,
        (kind, key): (&str, &str),
        entry: (&Option<Text>, Range<usize>),
    ) -> Option<String> {
        let (written, table) = entry;
        let Some(written) = written else {
            found.missing(table, key, &format!("give the {kind} a {key}"));
            return None;
        };
        let name = written.get_ref();
        if let Err(why) = name::check(name) {
            found.fault(written.span(), format!("the {kind}'s {key} {why}"), "choose another name");
            return None;
        }
        if self.0.insert(name.to_lowercase(), ()).is_some() {
            let message = format!("another {kind} has the {key} {name:?} already");
            found.fault(written.span(), message, "names differ in more than upper and lower case");
            return None;
        }
        Some(name.clone())
    }
}

/// A word out of a few, with its meaning; the first is the default.
fn choice<T: Copy>(found: &mut Findings, written: &Option<Text>, words: &[(&str, T)]) -> T {
    let Some(written) = written else { return words[0].1 };
    let chosen = words.iter().find(|(word, _)| word == written.get_ref());
    if chosen.is_none() {
        let known: Vec<String> = words.iter().map(|(word, _)| format!("{word:?}")).collect();
        let remedy = format!("write {}", known.join(" or "));
        found.fault(written.span(), format!("{:?} is not known here", written.get_ref()), &remedy);
    }
    chosen.unwrap_or(&words[0]).1
}
