//! Which stored messages a submitted one answers or forwards, what the sender may know of them, and
//! what is marked on them. RFC 5322 §3.6.4

use std::collections::BTreeMap;

use super::Submitter;
use crate::directory::{IdentityGuard, rights};
use crate::mail::account::{Account, Folder, FolderRole};
use crate::mail::address::Address;
use crate::mail::flag::{FlagList, SystemFlags};
use crate::mail::id::{BlobId, MailboxId};
use crate::mail::message::{Parsed, message_ids, select_fields};
use crate::mail::uid_set::UidSet;
use crate::store::change::{Change, FlagOperation};
use crate::store::{FactsWanted, Instance, StoreError};

/// The keyword of a message that was forwarded. RFC 5788, registered by Thunderbird and others
const FORWARDED: &str = "$Forwarded";
/// The field in which Thunderbird names the message that it forwards.
pub(super) const FORWARDED_ID: &str = "X-Forwarded-Message-Id";
/// How a subject begins when a program forwards without saying so otherwise; lower case.
const FORWARD_PREFIXES: [&str; 5] = ["fwd:", "fw:", "wg:", "tr:", "i:"];

/// What a submitted message refers to.
#[derive(Clone, Debug, Default)]
pub(super) struct Referred {
    /// The instances that the sender may see, with their accounts.
    instances: Vec<(Account, Instance)>,
    kind: Kind,
}

#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
enum Kind {
    #[default]
    Answered,
    Forwarded,
}

/// What becomes of an answer by who it is sent as.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(super) enum Guard {
    /// It goes out as it is.
    Free,
    /// It leaves from this address of this account.
    Rewrite(Account, Address),
    /// It must be sent from this address.
    Reject(Address),
    /// The sender may only read the account whose mail it answers.
    RejectReader,
}

/// Finds the message that `parsed` answers or forwards, in the accounts that the sender may see.
pub(super) async fn referred(by: &Submitter<'_>, parsed: &Parsed) -> Result<Referred, StoreError> {
    let (id, kind) = match forwarded_id(parsed) {
        Some(id) => (Some(id), Kind::Forwarded),
        None if begins_like_a_forward(parsed) => (parsed.envelope.answered_id(), Kind::Forwarded),
        None => (parsed.envelope.answered_id(), Kind::Answered),
    };
    let Some(id) = id else { return Ok(Referred::default()) };
    let found = by.store.instances_of(&id).await?.into_iter();
    let visible = found.filter_map(|instance| {
        let account = by.store.mailbox(instance.mailbox)?.account.clone();
        rights(by.directory, by.user, &account).has('l').then_some((account, instance))
    });
    Ok(Referred { instances: visible.collect(), kind })
}

fn forwarded_id(parsed: &Parsed) -> Option<String> {
    let mut field = Vec::new();
    select_fields(&parsed.fields, &[FORWARDED_ID], &mut field);
    let value = &field[field.iter().position(|byte| *byte == b':')? + 1..];
    message_ids(value).into_iter().next()
}

fn begins_like_a_forward(parsed: &Parsed) -> bool {
    let subject = parsed.envelope.subject.as_deref().unwrap_or_default();
    let subject = String::from_utf8_lossy(subject).to_lowercase();
    FORWARD_PREFIXES.iter().any(|prefix| subject.starts_with(prefix))
}

impl Referred {
    /// Whether the message referred to lies in `account`.
    pub(super) fn is_in(&self, account: &Account) -> bool {
        self.instances.iter().any(|(of, _)| of == account)
    }

    /// Whether the message answers, rather than forwards.
    pub(super) fn is_answer(&self) -> bool {
        self.kind == Kind::Answered
    }

    /// What an answer from a personal address of the sender's means. A message that also came to
    /// the sender personally is theirs to answer.
    pub(super) async fn guard(&self, by: &Submitter<'_>) -> Result<Guard, StoreError> {
        let own = Account::User(by.user.clone());
        if self.kind == Kind::Forwarded || self.is_in(&own) {
            return Ok(Guard::Free);
        }
        let guards = self.instances.iter().map(|(account, instance)| {
            (by.directory.identity_guard(account), account, instance.blob)
        });
        let strictest = guards.max_by_key(|(guard, ..)| *guard);
        let Some((guard, account, blob)) = strictest else { return Ok(Guard::Free) };
        if guard == IdentityGuard::Off {
            return Ok(Guard::Free);
        }
        if !rights(by.directory, by.user, account).has('p') {
            return Ok(Guard::RejectReader);
        }
        Ok(match (guard, answering_address(by, account, blob).await?) {
            (_, None) => Guard::Free,
            (IdentityGuard::Rewrite, Some(address)) => Guard::Rewrite(account.clone(), address),
            (_, Some(address)) => Guard::Reject(address),
        })
    }

    /// The marks that everybody sees, on all instances that the sender may flag.
    pub(super) fn marks(&self, by: &Submitter<'_>) -> Vec<Change> {
        let mut marked: BTreeMap<MailboxId, UidSet> = BTreeMap::new();
        for (account, instance) in &self.instances {
            let drafts = Folder::role(FolderRole::Drafts);
            let is_draft = by.store.mailbox(instance.mailbox).is_none_or(|m| m.folder == drafts);
            if !is_draft && rights(by.directory, by.user, account).has('w') {
                marked.entry(instance.mailbox).or_default().insert(instance.uid);
            }
        }
        let flags = match self.kind {
            Kind::Answered => FlagList { system: SystemFlags::ANSWERED, ..FlagList::default() },
            Kind::Forwarded => {
                FlagList { keywords: vec![FORWARDED.to_owned()], ..FlagList::default() }
            }
        };
        let marks = marked.into_iter().map(|(mailbox, uids)| Change::FlagsSet {
            mailbox,
            uids,
            operation: FlagOperation::Add,
            flags: flags.clone(),
            unchanged_since: None,
            viewer: None,
        });
        marks.collect()
    }
}

/// The account's address that the message answered was sent to, else its first.
async fn answering_address(
    by: &Submitter<'_>,
    account: &Account,
    blob: BlobId,
) -> Result<Option<Address>, StoreError> {
    let wanted = FactsWanted { envelope: true, ..FactsWanted::default() };
    let facts = by.store.facts(&[blob], wanted).await?;
    let envelope = facts.into_iter().next().and_then(|facts| facts.envelope).unwrap_or_default();
    let to: Vec<Address> =
        envelope.to.iter().chain(&envelope.cc).filter_map(|to| to.address()).collect();
    let addresses = by.directory.addresses_of(account);
    let is_named = |address: &&Address| to.iter().any(|to| to.key() == address.key());
    Ok(addresses.iter().find(is_named).or(addresses.first()).cloned())
}
