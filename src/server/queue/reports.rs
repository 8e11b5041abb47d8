//! Where a report goes: into the mailbox of the account that sent the message; for relayed mail to
//! its reverse-path, into a mailbox if that is ours, otherwise into the queue.

use std::sync::Arc;

use super::Office;
use crate::delivery::recipient::{self, Resolution};
use crate::directory::{Directory, Routing};
use crate::mail::account::{Account, Folder};
use crate::mail::address::Address;
use crate::mail::flag::FlagList;
use crate::mail::id::MailboxId;
use crate::mail::message;
use crate::outbound::report::{self, About, Affected, HEADER_BYTES_MAX, Original, Report};
use crate::outbound::report::{Extent, returns_whole};
use crate::outbound::schedule::Action;
use crate::smtp::path::Path;
use crate::store::change::{Bytes, Change, Delivered, NewMessage};
use crate::store::queue::{NewQueued, Progress, Queued, QueuedEnvelope, QueuedRecipient};
use crate::store::{Store, StoreError};

/// Who gets a report.
enum Target {
    /// The roots of these accounts.
    Mailboxes(Vec<MailboxId>),
    /// By mail; over this server in a split domain.
    Mail(Option<String>),
}

/// The changes that bring one report about; none when there is nobody to tell.
pub(super) async fn changes(
    office: &Office,
    queued: &Queued,
    (action, affected): (Action, &[Affected<'_>]),
) -> Result<Vec<Change>, StoreError> {
    let Some(reverse_path) = &queued.envelope.reverse_path else { return Ok(Vec::new()) };
    let directory = office.directory.borrow().clone();
    let Some(target) = target(office, (&directory, queued), reverse_path) else {
        tracing::warn!(?action, "nobody to report to");
        return Ok(Vec::new());
    };
    let original = original(&*office.store, queued, action).await?;
    let about = About {
        hostname: &office.settings.hostname,
        queued,
        reverse_path,
        original: &original,
        moment: office.moment(),
    };
    let report = report::write(&about, action, affected);
    tracing::info!(?action, recipients = affected.len(), "reported");
    Ok(match target {
        Target::Mailboxes(mailboxes) => {
            let instance = |mailbox| instance(&about, mailbox, message(&report));
            mailboxes.into_iter().map(instance).collect()
        }
        Target::Mail(upstream) => vec![onward(office, &about, (report, upstream))],
    })
}

fn target(
    office: &Office,
    (directory, queued): (&Directory, &Queued),
    reverse_path: &Address,
) -> Option<Target> {
    let root = |account: &Account| office.store.find(account, &Folder::root()).map(|m| m.id);
    let sender = queued.envelope.sender.as_ref().filter(|sender| is_declared(directory, sender));
    if let Some(mailbox) = sender.and_then(root) {
        return Some(Target::Mailboxes(vec![mailbox]));
    }
    match directory.route(reverse_path) {
        Routing::Upstream(server) => return Some(Target::Mail(Some(server))),
        Routing::Foreign => return Some(Target::Mail(None)),
        Routing::Local(_) | Routing::Both(..) | Routing::Unknown => {}
    }
    match recipient::resolve(directory, &Path::Address(reverse_path.clone())) {
        Resolution::Local(_, accounts) | Resolution::Both(_, accounts, _) => {
            let mailboxes: Vec<MailboxId> = accounts.iter().filter_map(root).collect();
            (!mailboxes.is_empty()).then_some(Target::Mailboxes(mailboxes))
        }
        _ => None,
    }
}

/// Whether anybody can see the account's mailbox: it outlives its declaration.
fn is_declared(directory: &Directory, account: &Account) -> bool {
    match account {
        Account::User(login) => directory.users.contains_key(login),
        Account::Inbox(name) => directory.inboxes.contains_key(name),
        Account::Channel(name) => directory.channels.contains_key(name),
    }
}

/// The message's first bytes, behind its trace. A message that cannot be read is reported on
/// without them.
async fn original(
    store: &dyn Store,
    queued: &Queued,
    action: Action,
) -> Result<Original, StoreError> {
    let extent = returns_whole(queued, action);
    let bytes_max = match extent {
        Extent::Whole => queued.size_bytes,
        Extent::Head => HEADER_BYTES_MAX,
    };
    let read = async {
        let mut bytes = store.trace(queued.trace).await?;
        bytes.extend(store.body(queued.blob, 0..bytes_max).await?);
        Ok(Original::new(bytes, extent))
    };
    match read.await {
        Err(error @ (StoreError::Gone | StoreError::Corrupt(_))) => {
            tracing::error!(%error, "the message reported on cannot be read");
            Ok(Original::default())
        }
        other => other,
    }
}

fn message(report: &Report) -> NewMessage {
    NewMessage {
        bytes: Bytes::Memory(Arc::new(report.bytes.clone())),
        hash: *blake3::hash(&report.bytes).as_bytes(),
        parsed: Arc::new(message::parse(&report.bytes)),
    }
}

fn instance(about: &About<'_>, mailbox: MailboxId, message: NewMessage) -> Change {
    let trace = format!("Return-Path: <>\r\nDelivered-To: {}\r\n", about.reverse_path);
    Change::Delivered(Box::new(Delivered {
        mailbox,
        message,
        trace: trace.into_bytes(),
        flags: FlagList::default(),
        seen_by: Vec::new(),
        internal_date: about.moment.now,
        thread: None,
        duplicate_key: None,
    }))
}

/// A report that goes out has no reverse-path, so that it causes none itself. RFC 3464 §2
fn onward(
    office: &Office,
    about: &About<'_>,
    (report, upstream): (Report, Option<String>),
) -> Change {
    let now = about.moment.now;
    let expire_micros = office.settings.retry.expire_secs.saturating_mul(1_000_000);
    let envelope = QueuedEnvelope {
        id: format!("{:x}.r{:x}", now.0, about.moment.entropy & 0xffff),
        reverse_path: None,
        sender: None,
        envid: None,
        ret: None,
        body: report.body,
        smtputf8: report.smtputf8,
        queued_at: now,
        expires_at: crate::mail::id::Timestamp(now.0.saturating_add(expire_micros)),
    };
    let recipient = QueuedRecipient {
        number: 0,
        address: about.reverse_path.clone(),
        upstream,
        notify: None,
        orcpt: None,
        progress: Progress::new(now),
    };
    Change::Queued(Box::new(NewQueued {
        message: message(&report),
        trace: Vec::new(),
        envelope,
        recipients: vec![recipient],
        duplicate_key: None,
    }))
}
