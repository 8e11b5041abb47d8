//! When two messages belong together, told from their headers alone. Pure. RFC 5322 §3.6.4
//!
//! References are what anybody can write, so they count only between people who take part: who
//! follows a message must be named in it, or be one of us. The subject joins nothing. The author is
//! taken from the header as it is written; that somebody else wrote it is for others to find out.

use std::collections::BTreeSet;

use super::Scope;
use crate::mail::address::Address;
use crate::mail::message::{Envelope, EnvelopeAddress};

/// What decides whether messages belong together.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct Header {
    /// Its own Message-ID.
    pub(super) id: Option<String>,
    /// Those of the messages that it follows.
    pub(super) follows: Vec<String>,
    /// Who wrote it.
    pub(super) authors: Vec<String>,
    /// Of these, who is not the inbox itself.
    pub(super) others: Vec<String>,
    /// Whether one of our users, inboxes or channels wrote it.
    pub(super) is_ours: bool,
    /// Everybody named in it.
    pub(super) people: BTreeSet<String>,
}

/// Whether a message is the one meant by its Message-ID: the first that came with it.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Claim {
    /// It is.
    First,
    /// Another had it before.
    Later,
}

impl Header {
    /// Reads it from an envelope.
    pub fn of(scope: &Scope<'_>, envelope: &Envelope) -> Header {
        let addresses = |list: &[EnvelopeAddress]| -> Vec<Address> {
            list.iter().filter_map(EnvelopeAddress::address).collect()
        };
        let from = addresses(&envelope.from);
        let is_own = |address: &&Address| scope.directory.is_address_of(scope.account, address);
        let all = [
            &envelope.from,
            &envelope.sender,
            &envelope.reply_to,
            &envelope.to,
            &envelope.cc,
            &envelope.bcc,
        ];
        Header {
            id: envelope.bare_message_id(),
            follows: envelope.referred_ids(),
            authors: from.iter().map(Address::key).collect(),
            others: from.iter().filter(|from| !is_own(from)).map(Address::key).collect(),
            is_ours: from.iter().any(|from| scope.directory.is_ours(from)),
            people: all.into_iter().flat_map(|list| addresses(list)).map(|a| a.key()).collect(),
        }
    }

    /// The message's own Message-ID.
    pub fn message_id(&self) -> Option<&str> {
        self.id.as_deref()
    }

    /// Whether it names `id` as one that it follows.
    pub(super) fn names(&self, id: &str) -> bool {
        self.follows.iter().any(|named| named == id)
    }

    /// Whether the two belong together. Does not depend on the order of the two.
    pub(super) fn belongs_with(&self, own: Claim, (other, others): (&Header, Claim)) -> bool {
        self.answers(other, others)
            || other.answers(self, own)
            || self.repeats(other)
            || self.is_beside(other)
    }

    /// It follows `parent`, and its author is named there or one of us.
    fn answers(&self, parent: &Header, claim: Claim) -> bool {
        claim == Claim::First
            && parent.id.as_ref().is_some_and(|id| self.names(id))
            && (self.is_ours || self.authors.iter().any(|author| parent.people.contains(author)))
    }

    /// The same message once more, by another way.
    fn repeats(&self, other: &Header) -> bool {
        self.id.is_some() && self.id == other.id && self.authors == other.authors
    }

    /// Both follow the same message, which need not be here, and the author of one is named in the
    /// other. The inbox does not count: it is named in everything, and so the answers to a
    /// newsletter that went elsewhere would be one conversation.
    fn is_beside(&self, other: &Header) -> bool {
        let knows = |one: &Header, two: &Header| one.others.iter().any(|a| two.people.contains(a));
        self.follows.iter().any(|id| other.names(id)) && (knows(self, other) || knows(other, self))
    }
}

#[cfg(test)]
#[path = "header_tests.rs"]
mod tests;
