//! Whether a recipient is accepted: by the directory, and by what the upstream server of a split
//! domain says.

use super::super::upstream::Takes;
use super::Driver;
use crate::delivery::recipient::{self, Resolution};
use crate::mail::account::Account;
use crate::mail::address::Address;
use crate::outbound::verified::Asked;
use crate::smtp::path::Path;
use crate::smtp::{RECIPIENTS_MAX, Reply, Verdict};

impl Driver {
    pub(super) async fn judge(&mut self, path: &Path) -> Verdict {
        let resolution = recipient::resolve(&self.shared.directory.borrow(), path);
        let is_user = self.session.user().is_some();
        if let Resolution::Local(_, accounts) | Resolution::Both(_, accounts, _) = &resolution
            && let Some(reply) = self.is_full(accounts)
        {
            return Verdict::Refused(reply);
        }
        match resolution {
            Resolution::Local(..) => Verdict::Accepted,
            Resolution::Unknown => Verdict::Unknown,
            // Users may write to anybody. RFC 6409 §3.1
            Resolution::Foreign(_) if is_user => Verdict::Accepted,
            Resolution::Foreign(_) => Verdict::Foreign,
            Resolution::Both(address, _, server) => {
                // That it cannot be asked is no refusal: its copy waits until it can.
                if !matches!(self.takes(&server, &address).await, Takes::No(_)) {
                    self.goes_upstream_too(address);
                }
                Verdict::Accepted
            }
            Resolution::Upstream(address, server) => match self.takes(&server, &address).await {
                Takes::Yes => Verdict::Accepted,
                Takes::No(words) => Verdict::Refused(refused(&words)),
                // A report can reach who has logged in; elsewhere it might hit an innocent.
                Takes::Unknown if is_user => Verdict::Accepted,
                Takes::Unknown => Verdict::Refused(Reply::new(
                    451,
                    "4.4.3",
                    "The server that keeps this address cannot be asked now, try again later",
                )),
            },
        }
    }

    /// What a message that says its size would overfill waits at its sender, unless it could never
    /// fit. RFC 5321 §4.5.3.1.10, RFC 3463 §3.3
    fn is_full(&self, accounts: &[Account]) -> Option<Reply> {
        let directory = self.shared.directory.borrow();
        let bytes = self.session.declared_bytes().unwrap_or(0);
        for account in accounts {
            let quota = directory.quota(account);
            if quota.is_none() {
                continue;
            }
            if !quota.allows((1, bytes)) {
                let why = "The message is larger than this mailbox may be";
                return Some(Reply::new(552, "5.2.2", why));
            }
            let now = self.shared.store.usage(account);
            if !quota.allows((now.messages + 1, now.bytes.saturating_add(bytes.max(1)))) {
                let why = "The mailbox is full, try again later";
                return Some(Reply::new(452, "4.2.2", why));
            }
        }
        None
    }

    async fn takes(&self, server: &str, address: &Address) -> Takes {
        let reverse_path = self.session.reverse_path().cloned();
        let reverse_path = reverse_path.as_ref();
        self.shared.upstreams.takes(&Asked { server, reverse_path, recipient: address }).await
    }

    /// For this transaction.
    fn goes_upstream_too(&mut self, address: Address) {
        if self.session.recipients() == 0 {
            // One before it was reset.
            self.upstream.clear();
        }
        if !self.upstream.contains(&address) && self.upstream.len() < RECIPIENTS_MAX {
            self.upstream.push(address);
        }
    }
}

/// The upstream's own words, as far as they are text for one line.
fn refused(words: &str) -> Reply {
    let words: String = words.chars().filter(|c| matches!(c, ' '..='~')).take(300).collect();
    Reply::new(550, "5.1.1", format!("Its server says: {words}"))
}
