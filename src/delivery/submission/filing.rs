//! The one transaction of a submitted message: local instances, the shared copy in Sent, the marks
//! on what it answers, and the queue entry. RFC 5321 §4.4, RFC 6409

use super::claim::{self, Guarded};
use super::{Plan, Submitter};
use crate::conversation::gathering::Moved;
use crate::conversation::{Scope, collision, thread};
use crate::delivery::queueing::{self, Onward};
use crate::delivery::{
    Accepted, Content, Envelope, Local, Placed, Refused, Tries, accepted, instances, is_ordered,
    mailbox, receipt, recipient,
};
use crate::directory::rights;
use crate::imap::seen_mode;
use crate::mail::account::{Account, Folder, FolderRole};
use crate::mail::address::Address;
use crate::mail::flag::{FlagList, SeenMode, SystemFlags};
use crate::mail::id::{Login, MailboxId};
use crate::mail::message::{Envelope as Header, EnvelopeAddress};
use crate::mail::transport::Body;
use crate::mail::uid_set::UidSet;
use crate::store::change::{Actor, Change, Delivered, FlagOperation, NewMessage, Transaction};
use crate::store::{StoreError, twin};

/// Hidden recipients that the copy in Sent names.
const HIDDEN_TOLD_MAX: usize = 100;
/// How often an answer is looked at anew, because its Sent has changed meanwhile.
const OUTDATED_MAX: usize = 50;

/// How a message goes out to other servers.
#[derive(Clone, Debug)]
pub struct Outgoing {
    /// Header fields that go in front of it: signatures, whole lines with CRLF.
    pub signatures: Vec<u8>,
    /// What the content holds.
    pub body: Body,
}

/// Puts the message where it belongs, in one transaction. `content` has the header that the plan
/// wants. When it answers `Accepted`, everything is durable.
pub async fn submit(
    by: &Submitter<'_>,
    envelope: &Envelope,
    plan: &Plan,
    (content, outgoing): (Content<'_>, Outgoing),
) -> Result<Accepted, Refused> {
    let envelope = &from(plan, envelope);
    let mut recipients = recipient::recipients(by.directory, envelope)?;
    if !plan.notes.is_empty() {
        // the upstream server's copy: a note stays here
        recipients.queued.clear();
    }
    // of two who answer the same mail at once, the second sees the first
    let _turn = by.desk.turn(&plan.account).await;
    let looked = (&*content.message.parsed, envelope.received_at);
    let mut guarded = Guarded::of(by, plan, looked).await?;
    let (mut tries, mut outdated) = (Tries::default(), 0);
    loop {
        let (notes, placed) = (&plan.notes, tries.placed);
        let local = Local { store: by.store, directory: by.directory, placed, notes };
        let here = instances(&local, &recipients.local, envelope, content.message).await?;
        let mut changes = here.changes;
        own_instances(by, plan, &mut changes);
        changes.extend(sent_copy(by, envelope, plan, content.message).await?);
        let onward = Onward {
            sender: Some(plan.account.clone()),
            header: outgoing.signatures.clone(),
            body: outgoing.body,
            duplicate_key: plan.duplicate_key,
        };
        let queued = &recipients.queued;
        changes.extend(queueing::entry(envelope, queued, content.message, onward));
        if plan.notes.is_empty() {
            changes.extend(plan.referred.marks(by));
        }
        if let (Some(claim), Placed::ByConversation) = (&guarded.claim, placed) {
            changes.extend(claim.assign(by, plan).await?);
        }
        let (count, is_ordered) = (changes.len(), is_ordered(&changes));
        let receipt = receipt::Wanted {
            recipients: &recipients.told,
            sender: Some(&plan.account),
            duplicate_key: plan.duplicate_key,
        };
        changes.extend(receipt::changes(&local, envelope, content, &receipt).await?);
        changes.extend(guarded.expected());
        let moved = Moved::among(by.store, &changes);
        let transaction = Transaction { actor: Actor::Session(by.presence.clone()), changes };
        match by.store.commit(transaction).await {
            Err(StoreError::Outrun)
                if outdated < OUTDATED_MAX && guarded.is_outdated(by, plan).await =>
            {
                outdated += 1;
                guarded = Guarded::of(by, plan, looked).await?;
            }
            Err(error) if tries.again(&error, (is_ordered, false)) => {}
            answer => {
                let receipt = answer?;
                claim::gather(by, &moved.arrived(&receipt)).await;
                return Ok(accepted(&receipt, count));
            }
        }
    }
}

/// The envelope with the reverse-path that is planned.
fn from(plan: &Plan, envelope: &Envelope) -> Envelope {
    let reverse_path = plan.reverse_path.clone();
    let transaction = crate::smtp::Transaction { reverse_path, ..envelope.transaction.clone() };
    Envelope { transaction, ..envelope.clone() }
}

/// The same for the same message to the same recipients. A message that names itself by no
/// Message-ID may be sent again on purpose.
pub(super) fn duplicate_key(
    user: &Login,
    envelope: &Envelope,
    message: &NewMessage,
) -> Option<[u8; 32]> {
    message.parsed.envelope.bare_message_id()?;
    let mut hasher = blake3::Hasher::new();
    let recipients = envelope.transaction.recipients.iter().map(|r| format!("{:?}", r.path));
    for piece in std::iter::once(user.as_str().to_owned()).chain(recipients) {
        hasher.update(&(piece.len() as u64).to_le_bytes());
        hasher.update(piece.as_bytes());
    }
    hasher.update(&message.hash);
    Some(*hasher.finalize().as_bytes())
}

/// The copy in the Sent of who it is sent as, read by everybody who may see it. If the user's
/// program has put it there already, that one is the copy.
async fn sent_copy(
    by: &Submitter<'_>,
    envelope: &Envelope,
    plan: &Plan,
    message: &NewMessage,
) -> Result<Vec<Change>, StoreError> {
    if plan.notes.contains(&plan.account) {
        // the note itself is the copy: it was not sent to anybody
        return Ok(Vec::new());
    }
    let sent = mailbox(by.store, &plan.account, &Folder::role(FolderRole::Sent)).await?;
    let twins = twin::twins(by.store, &message.parsed).await?;
    let filed: UidSet = twins.iter().filter(|i| i.mailbox == sent).map(|i| i.uid).collect();
    if !filed.is_empty() {
        return Ok(read(by, &plan.account, (sent, filed)));
    }
    let scope = Scope { store: by.store, directory: by.directory, account: &plan.account };
    let thread = thread::id(&scope, &message.parsed.envelope).await?;
    let mut flags = FlagList::default();
    let mut seen_by = Vec::new();
    match seen_mode(by.directory, &plan.account) {
        SeenMode::Shared => flags.system = SystemFlags::SEEN,
        SeenMode::PerUser => seen_by = readers(by, &plan.account),
    }
    Ok(vec![Change::Delivered(Box::new(Delivered {
        mailbox: sent,
        message: message.clone(),
        trace: [hidden(envelope, &message.parsed.envelope), sender_field(by, plan)].concat(),
        flags,
        seen_by,
        internal_date: envelope.received_at,
        thread,
        duplicate_key: plan.duplicate_key,
    }))])
}

/// What a submission brings into our own mailboxes: all of it is a retry, or nothing.
fn own_instances(by: &Submitter<'_>, plan: &Plan, changes: &mut [Change]) {
    for change in changes {
        if let Change::Delivered(delivered) = change {
            delivered.duplicate_key = plan.duplicate_key;
            own_note(by, plan, delivered);
        }
    }
}

/// A note is no news to who wrote it, and colleagues see who did though the inbox has written it.
fn own_note(by: &Submitter<'_>, plan: &Plan, delivered: &mut Delivered) {
    let account = by.store.mailbox(delivered.mailbox).map(|mailbox| mailbox.account.clone());
    let Some(account) = account.filter(|account| plan.notes.contains(account)) else { return };
    delivered.trace.extend(sender_field(by, plan));
    if seen_mode(by.directory, &account) == SeenMode::PerUser {
        delivered.seen_by.push(by.user.clone());
    }
}

/// Says to the inbox, and to it only, which colleague has sent the message.
fn sender_field(by: &Submitter<'_>, plan: &Plan) -> Vec<u8> {
    match plan.account {
        Account::User(_) => Vec::new(),
        Account::Inbox(_) | Account::Channel(_) => collision::sender_field(by.user).into_bytes(),
    }
}

/// Marks a copy as read by everybody who may see it.
fn read(by: &Submitter<'_>, of: &Account, (mailbox, uids): (MailboxId, UidSet)) -> Vec<Change> {
    let unchanged_since = None;
    match seen_mode(by.directory, of) {
        SeenMode::Shared => vec![Change::FlagsSet {
            mailbox,
            uids,
            operation: FlagOperation::Add,
            flags: FlagList { system: SystemFlags::SEEN, ..FlagList::default() },
            unchanged_since,
            viewer: None,
        }],
        SeenMode::PerUser => {
            let seen = |user| {
                let uids = uids.clone();
                Change::SeenSet { mailbox, user, uids, seen: true, unchanged_since }
            };
            readers(by, of).into_iter().map(seen).collect()
        }
    }
}

/// Whoever may see the account's mail: what a colleague has sent is news to nobody.
fn readers(by: &Submitter<'_>, account: &Account) -> Vec<Login> {
    let users = by.directory.users.keys();
    users.filter(|user| rights(by.directory, user, account).has('s')).cloned().collect()
}

/// Recipients that To and Cc do not name, for the sender's own eyes. RFC 5322 §3.6.3
fn hidden(envelope: &Envelope, header: &Header) -> Vec<u8> {
    let named: Vec<String> = header
        .to
        .iter()
        .chain(&header.cc)
        .filter_map(EnvelopeAddress::address)
        .map(|address| address.key())
        .collect();
    let recipients = envelope.transaction.recipients.iter();
    let hidden: Vec<String> = recipients
        .filter_map(|recipient| recipient.path.address())
        .filter(|address| !named.contains(&address.key()))
        .take(HIDDEN_TOLD_MAX)
        .map(Address::to_string)
        .collect();
    if hidden.is_empty() {
        return Vec::new();
    }
    format!("Bcc: {}\r\n", hidden.join(",\r\n\t")).into_bytes()
}
