//! How values stand in the tables of every engine: as bytes, numbers and text, and back. Knows no
//! query.

use std::collections::hash_map::Entry;
use std::collections::{BTreeSet, HashMap};

use super::texts::Packed;
use crate::mail::account::Account;
use crate::mail::flag::KeywordSet;
use crate::mail::id::Login;
use crate::mail::message::{Envelope, Parsed};
use crate::store::StoreError;
use crate::store::change::Transaction;

/// A message's facts as they are stored. Made by the committer, not by the writer: it is the one
/// part of a commit that costs time and needs no order.
pub(super) struct Encoded {
    pub(super) envelope: Vec<u8>,
    pub(super) structure: Vec<u8>,
    pub(super) fields: Vec<u8>,
    pub(super) text: Packed,
    pub(super) preview: Vec<u8>,
    /// What the message is found by.
    pub(super) digests: BTreeSet<i64>,
}

impl Encoded {
    pub(super) fn of(parsed: &Parsed) -> Result<Encoded, StoreError> {
        Ok(Encoded {
            envelope: to_bytes(&parsed.envelope)?,
            structure: to_bytes(&parsed.structure)?,
            fields: parsed.fields.clone(),
            text: Packed::of(&parsed.text)?,
            preview: parsed.preview.clone().into_bytes(),
            digests: digests(&parsed.envelope),
        })
    }
}

/// Each message's facts once, and how many bytes the group has to write for this transaction.
pub(super) fn messages(
    transaction: &Transaction,
) -> Result<(HashMap<[u8; 32], Encoded>, u64), StoreError> {
    let mut encoded = HashMap::new();
    let mut bytes = 0;
    let brought = transaction.changes.iter().filter_map(|change| change.brings());
    for (message, _) in brought {
        if let Entry::Vacant(place) = encoded.entry(message.hash) {
            place.insert(Encoded::of(&message.parsed)?);
            bytes += message.bytes.len();
        }
    }
    Ok((encoded, bytes))
}

/// What a message is found by: its own Message-ID, and those of the messages that it follows.
pub(super) fn digests(envelope: &Envelope) -> BTreeSet<i64> {
    let own = envelope.bare_message_id().map(|id| message_id_digest(&id));
    let referred = envelope.referred_ids();
    own.into_iter().chain(referred.iter().map(|id| referred_digest(id))).collect()
}

/// What a Message-ID is looked up by: short, and not to be guessed together by accident.
pub(super) fn message_id_digest(bare: &str) -> i64 {
    short(blake3::hash(bare.as_bytes()).as_bytes())
}

/// What the messages that follow the one with this Message-ID are looked up by. A NUL stands in no
/// Message-ID, so that the two kinds of digest differ.
pub(super) fn referred_digest(bare: &str) -> i64 {
    short(blake3::Hasher::new().update(b"\0").update(bare.as_bytes()).finalize().as_bytes())
}

fn short(hash: &[u8; 32]) -> i64 {
    hash.iter().take(8).fold(0, |digest, byte| digest << 8 | i64::from(*byte))
}

/// A value in a form that `from_bytes` reads.
pub(super) fn to_bytes<T: serde::Serialize>(value: &T) -> Result<Vec<u8>, StoreError> {
    postcard::to_stdvec(value).map_err(|e| StoreError::Unavailable(format!("encoding: {e}")))
}

/// Reads what `to_bytes` wrote.
pub(super) fn from_bytes<T: serde::de::DeserializeOwned>(bytes: &[u8]) -> Result<T, StoreError> {
    match postcard::take_from_bytes(bytes) {
        Ok((value, [])) => Ok(value),
        Ok(_) => Err(StoreError::Corrupt("facts: more than was expected".into())),
        Err(e) => Err(StoreError::Corrupt(format!("facts: {e}"))),
    }
}

/// An account as a kind and a name.
pub(super) fn account_columns(account: &Account) -> (i64, &str) {
    match account {
        Account::User(login) => (0, login.as_str()),
        Account::Inbox(name) => (1, name),
        Account::Channel(name) => (2, name),
    }
}

/// Reads what `account_columns` gave.
pub(super) fn account(kind: i64, name: &str) -> Account {
    match kind {
        0 => Account::User(Login::new(name)),
        1 => Account::Inbox(name.into()),
        _ => Account::Channel(name.into()),
    }
}

/// Keywords as 32 bytes, or nothing.
pub(super) fn keyword_bytes(keywords: &KeywordSet) -> Option<Vec<u8>> {
    let bytes = || keywords.0.iter().flat_map(|word| word.to_le_bytes()).collect();
    (!keywords.is_empty()).then(bytes)
}

/// Reads what `keyword_bytes` wrote.
pub(super) fn read_keywords(bytes: &[u8]) -> KeywordSet {
    let mut keywords = KeywordSet::default();
    for (word, bytes) in keywords.0.iter_mut().zip(bytes.chunks_exact(8)) {
        *word = bytes.iter().rev().fold(0, |word, byte| word << 8 | u64::from(*byte));
    }
    keywords
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn keywords_come_back_as_they_were() {
        let mut keywords = KeywordSet::default();
        [0, 63, 64, 255].into_iter().for_each(|n| keywords.insert(n));
        let bytes = keyword_bytes(&keywords).expect("some");
        assert_eq!(read_keywords(&bytes), keywords);
        assert_eq!(keyword_bytes(&KeywordSet::default()), None);
    }
}
