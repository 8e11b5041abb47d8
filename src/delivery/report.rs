//! Where a report goes: into the mailbox of the account that sent the message; for relayed mail to
//! its reverse-path, into a mailbox if that is ours, otherwise into the queue. Knows no reason for
//! one: what is told is its caller's, and what it reads like is `outbound::report`'s.

use std::sync::Arc;

use super::mailbox;
use super::recipient::{self, Resolution};
use crate::directory::Directory;
use crate::mail::account::{Account, Folder};
use crate::mail::address::Address;
use crate::mail::flag::FlagList;
use crate::mail::id::{MailboxId, Timestamp};
use crate::mail::message;
use crate::mail::transport::Notify;
use crate::outbound::report::{self, About, Affected, Original, Report};
use crate::outbound::schedule::{Action, Moment};
use crate::smtp::path::Path;
use crate::store::change::{Bytes, Change, Delivered, NewMessage};
use crate::store::queue::{NewQueued, Progress, QueuedEnvelope, QueuedRecipient};
use crate::store::{Store, StoreError};

/// Who reports, and what is known of the world.
#[derive(Clone, Copy)]
pub struct Reporter<'a> {
    /// Where mail is kept.
    pub store: &'a dyn Store,
    /// Whose address the reverse-path is.
    pub directory: &'a Directory,
    /// Our name.
    pub hostname: &'a str,
    /// A report that has to leave is given up after so long.
    pub lifetime_secs: i64,
    /// Now.
    pub moment: Moment,
}

/// The message that is reported on.
#[derive(Clone, Copy)]
pub struct Subject<'a> {
    /// What was said when it was accepted.
    pub envelope: &'a QueuedEnvelope,
    /// Its bytes.
    pub size_bytes: u64,
    /// Its bytes, as far as they are at hand.
    pub original: &'a Original,
    /// The same for a repetition of the same report; `None` where there is none.
    pub duplicate_key: Option<[u8; 32]>,
}

/// Who gets a report.
enum Target {
    /// The roots of these accounts.
    Mailboxes(Vec<MailboxId>),
    /// By mail; over this server in a split domain.
    Mail(Option<String>),
}

impl Reporter<'_> {
    /// The changes that bring one report about; none when there is nobody to tell.
    pub async fn changes(
        &self,
        subject: &Subject<'_>,
        action: Action,
        affected: &[Affected<'_>],
    ) -> Result<Vec<Change>, StoreError> {
        let Some(reverse_path) = &subject.envelope.reverse_path else { return Ok(Vec::new()) };
        let Some(target) = self.target(subject.envelope, reverse_path).await? else {
            tracing::warn!(?action, "nobody to report to");
            return Ok(Vec::new());
        };
        let about = About {
            hostname: self.hostname,
            envelope: subject.envelope,
            size_bytes: subject.size_bytes,
            reverse_path,
            original: subject.original,
            moment: self.moment,
        };
        let report = report::write(&about, action, affected);
        tracing::info!(?action, recipients = affected.len(), "reported");
        let key = subject.duplicate_key;
        Ok(match target {
            Target::Mailboxes(mailboxes) => {
                let instance = |mailbox| instance(&about, mailbox, (new_message(&report), key));
                mailboxes.into_iter().map(instance).collect()
            }
            Target::Mail(upstream) => vec![self.onward(reverse_path, (report, upstream), key)],
        })
    }

    /// What the daemon has sent for an inbox or a user who is gone since, and whose address nobody
    /// else has, is the postmaster's. Of relayed mail such a reverse-path is a forgery.
    async fn target(
        &self,
        envelope: &QueuedEnvelope,
        reverse_path: &Address,
    ) -> Result<Option<Target>, StoreError> {
        let sender = envelope.sender.as_ref();
        if let Some(sender) = sender.filter(|sender| is_declared(self.directory, sender)) {
            return self.roots(std::slice::from_ref(sender)).await.map(Some);
        }
        match recipient::resolve(self.directory, &Path::Address(reverse_path.clone())) {
            Resolution::Local(_, accounts) | Resolution::Both(_, accounts, _) => {
                return self.roots(&accounts).await.map(Some);
            }
            Resolution::Upstream(_, server) => return Ok(Some(Target::Mail(Some(server)))),
            Resolution::Foreign(_) if sender.is_none() => return Ok(Some(Target::Mail(None))),
            Resolution::Unknown if sender.is_none() => return Ok(None),
            Resolution::Foreign(_) | Resolution::Unknown => {}
        }
        match recipient::resolve(self.directory, &Path::Postmaster) {
            Resolution::Local(_, accounts) => self.roots(&accounts).await.map(Some),
            _ => Ok(None),
        }
    }

    async fn roots(&self, accounts: &[Account]) -> Result<Target, StoreError> {
        let mut roots = Vec::with_capacity(accounts.len());
        for account in accounts {
            roots.push(mailbox(self.store, account, &Folder::root()).await?);
        }
        Ok(Target::Mailboxes(roots))
    }

    /// A report that goes out has no reverse-path, so that it causes none itself. RFC 3461 §6.1
    fn onward(
        &self,
        to: &Address,
        (report, upstream): (Report, Option<String>),
        duplicate_key: Option<[u8; 32]>,
    ) -> Change {
        let Moment { now, entropy } = self.moment;
        let expire_micros = self.lifetime_secs.saturating_mul(1_000_000);
        let message = new_message(&report);
        let envelope = QueuedEnvelope {
            id: format!("{:x}.r{:x}", now.0, entropy & 0xffff),
            reverse_path: None,
            sender: None,
            envid: None,
            ret: None,
            body: report.body,
            smtputf8: report.smtputf8,
            queued_at: now,
            expires_at: Timestamp(now.0.saturating_add(expire_micros)),
        };
        let recipient = QueuedRecipient {
            number: 0,
            address: to.clone(),
            upstream,
            notify: Some(Notify::default()),
            orcpt: None,
            progress: Progress::new(now),
        };
        let (trace, recipients) = (Vec::new(), vec![recipient]);
        Change::Queued(Box::new(NewQueued { message, trace, envelope, recipients, duplicate_key }))
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

fn new_message(report: &Report) -> NewMessage {
    NewMessage {
        bytes: Bytes::Memory(Arc::new(report.bytes.clone())),
        hash: *blake3::hash(&report.bytes).as_bytes(),
        parsed: Arc::new(message::parse(&report.bytes)),
    }
}

fn instance(
    about: &About<'_>,
    mailbox: MailboxId,
    (message, duplicate_key): (NewMessage, Option<[u8; 32]>),
) -> Change {
    let trace = format!("Return-Path: <>\r\nDelivered-To: {}\r\n", about.reverse_path);
    Change::Delivered(Box::new(Delivered {
        mailbox,
        message,
        trace: trace.into_bytes(),
        flags: FlagList::default(),
        seen_by: Vec::new(),
        internal_date: about.moment.now,
        thread: None,
        duplicate_key,
    }))
}
