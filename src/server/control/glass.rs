//! Opens a personal mailbox to a super-admin, for a while and to read only: its owner and all
//! super-admins are told by mail in the same transaction, and the audit log has it.

use std::fmt::Write;
use std::sync::Arc;

use super::Desk;
use super::words::BreakGlass;
use crate::directory::{Directory, Role};
use crate::mail::account::{Account, Folder};
use crate::mail::date::{rfc3339, rfc5322};
use crate::mail::flag::FlagList;
use crate::mail::id::{Login, MailboxId, Timestamp};
use crate::mail::message;
use crate::store::change::{Actor, Bytes, Change, Delivered, NewMessage, Opening, Transaction};

/// Longest time that a mailbox is open.
pub(super) const OPEN_SECS_MAX: i64 = 7 * 86_400;
/// Longest reason.
pub(super) const REASON_BYTES_MAX: usize = 500;

pub(super) async fn run(desk: &Desk, asked: BreakGlass) -> Result<Vec<String>, String> {
    let directory = desk.directory.borrow().clone();
    check(&directory, &asked)?;
    let inbox = |login: &Login| {
        let account = Account::User(login.clone());
        desk.store.find(&account, &Folder::root()).map(|mailbox| mailbox.id)
    };
    let owners = inbox(&asked.of).ok_or_else(|| format!("{} has no mailbox here", asked.of))?;
    let now = desk.store.now();
    let until = Timestamp(now.0.saturating_add(asked.secs.saturating_mul(1_000_000)));
    let super_admins: Vec<Login> = super_admins(&directory);
    let mut told: Vec<MailboxId> = super_admins.iter().filter_map(inbox).collect();
    if !told.contains(&owners) {
        told.push(owners);
    }
    let message = message_of(&announcement(desk, &directory, (&asked, now, until)));
    let BreakGlass { user, of, reason, .. } = asked;
    let opening = Opening { user: user.clone(), of: of.clone(), until };
    let mut changes = vec![Change::GlassBroken { opening, reason }];
    changes.extend(told.iter().map(|mailbox| delivered(*mailbox, &message, now)));
    let committed = desk.store.commit(Transaction { actor: Actor::Operator, changes }).await;
    committed.map_err(|error| format!("nothing was opened: {error}"))?;
    Ok(vec![
        format!("{user} sees the mailbox of {of} under Other Users/{of}, to read only"),
        format!("it ends by itself at {}", rfc3339(until)),
        format!("told by mail: {of} and {} super-admins", super_admins.len()),
    ])
}

fn check(directory: &Directory, asked: &BreakGlass) -> Result<(), String> {
    let BreakGlass { user, of, reason, secs } = asked;
    let role = directory.users.get(user).map(|user| user.role);
    let printable = |c: char| !c.is_control();
    match () {
        () if role.is_none() => Err(format!("there is no user {:?}", user.as_str())),
        () if role != Some(Role::SuperAdmin) => Err(format!("{user} is no super-admin")),
        () if user == of => Err(format!("{user} sees the own mailbox anyway")),
        () if reason.trim().is_empty() => Err("say why, by --reason".into()),
        () if reason.len() > REASON_BYTES_MAX || !reason.chars().all(printable) => {
            Err(format!("the reason is one line of at most {REASON_BYTES_MAX} bytes"))
        }
        () if !(1..=OPEN_SECS_MAX).contains(secs) => {
            Err("it can be open for a second up to seven days: --for 1h".into())
        }
        () => Ok(()),
    }
}

fn super_admins(directory: &Directory) -> Vec<Login> {
    let users = directory.users.values().filter(|user| user.role == Role::SuperAdmin);
    users.map(|user| user.login.clone()).collect()
}

/// What is told to all.
fn announcement(
    desk: &Desk,
    directory: &Directory,
    (asked, now, until): (&BreakGlass, Timestamp, Timestamp),
) -> String {
    let BreakGlass { user, of, reason, .. } = asked;
    let host = &desk.hostname;
    let name = |login: &Login| match directory.users.get(login) {
        Some(user) if user.name != login.as_str() => format!("{login} ({})", user.name),
        _ => login.to_string(),
    };
    let mut text = String::new();
    let header = [
        format!("From: Postfach <postmaster@{host}>"),
        "To: undisclosed-recipients:;".into(),
        "Subject: A personal mailbox was opened".into(),
        format!("Date: {}", rfc5322(now)),
        format!("Message-ID: <glass.{:x}@{host}>", now.0),
        "Auto-Submitted: auto-generated".into(),
        "MIME-Version: 1.0".into(),
        "Content-Type: text/plain; charset=utf-8".into(),
        "Content-Transfer-Encoding: 8bit".into(),
        String::new(),
        format!("The personal mailbox of {} is open to {}:", name(of), name(user)),
        format!("to read only, from {} to {}.", rfc3339(now), rfc3339(until)),
        String::new(),
        "The reason that was given:".into(),
        format!("  {reason}"),
        String::new(),
        "It was opened by who runs the mail server, with `postfach break-glass`, and it closes"
            .into(),
        "by itself. The audit log tells of it, of each folder that is looked into, and of the"
            .into(),
        "end. This mail went to the owner and to all super-admins.".into(),
    ];
    for line in header {
        // writing into memory does not fail
        let _ = write!(text, "{line}\r\n");
    }
    text
}

fn message_of(text: &str) -> NewMessage {
    let bytes = text.as_bytes();
    NewMessage {
        hash: *blake3::hash(bytes).as_bytes(),
        parsed: Arc::new(message::parse(bytes)),
        bytes: Bytes::Memory(Arc::new(bytes.to_vec())),
    }
}

fn delivered(mailbox: MailboxId, message: &NewMessage, now: Timestamp) -> Change {
    Change::Delivered(Box::new(Delivered {
        mailbox,
        message: message.clone(),
        trace: Vec::new(),
        flags: FlagList::default(),
        seen_by: Vec::new(),
        internal_date: now,
        thread: None,
        duplicate_key: None,
    }))
}
