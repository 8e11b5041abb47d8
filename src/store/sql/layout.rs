//! The tables, version by version: a new store gets all of them in order, an older one what it
//! lacks. What is written here once is never changed, only added to: stores have it.

/// What two SQL engines write differently.
pub(in crate::store) struct Dialect {
    /// Type of a primary key that is a number: in SQLite the row's own number.
    id: &'static str,
    /// Type of bytes.
    bytes: &'static str,
    /// What makes a table be stored in the order of its key.
    clustered: &'static str,
}

impl Dialect {
    /// What stands for a key that is a number, for bytes, and behind a table in its key's order.
    pub(in crate::store) const fn new(
        id: &'static str,
        bytes: &'static str,
        clustered: &'static str,
    ) -> Dialect {
        Dialect { id, bytes, clustered }
    }

    /// A statement as this engine writes it.
    pub(in crate::store) fn written(&self, statement: &str) -> String {
        let statement = statement.replace("{id}", self.id).replace("{bytes}", self.bytes);
        statement.replace("{clustered}", self.clustered)
    }
}

/// SQLite.
pub(in crate::store) const SQLITE: Dialect =
    Dialect { id: "INTEGER", bytes: "BLOB", clustered: " WITHOUT ROWID" };

/// PostgreSQL, and what speaks like it.
pub(in crate::store) const POSTGRES: Dialect =
    Dialect { id: "BIGINT", bytes: "BYTEA", clustered: "" };

/// The version of the layout that this program reads and writes.
pub(in crate::store) const VERSION: usize = LAYOUTS.len();

/// The statements that bring an empty or older store from `version` to the next one; `None` when
/// there is no next one. What they leave to convert, the engine does in the same transaction.
pub(in crate::store) fn next(dialect: &Dialect, version: usize) -> Option<String> {
    LAYOUTS.get(version).map(|layout| dialect.written(layout))
}

const LAYOUTS: [&str; 3] = [LAYOUT_1, LAYOUT_2, LAYOUT_3];

/// Rows that are read for every message of a mailbox are narrow; what FETCH and SEARCH read of a
/// message is apart, a table each.
const LAYOUT_1: &str = "
CREATE TABLE counter (name TEXT PRIMARY KEY, value BIGINT NOT NULL);
CREATE TABLE mailbox (
  id {id} PRIMARY KEY, kind BIGINT NOT NULL, account TEXT NOT NULL, folder TEXT NOT NULL,
  uid_validity BIGINT NOT NULL, uid_next BIGINT NOT NULL, highest_modseq BIGINT NOT NULL);
CREATE TABLE keyword (
  mailbox BIGINT NOT NULL, number BIGINT NOT NULL, name TEXT NOT NULL,
  PRIMARY KEY (mailbox, number)){clustered};
CREATE TABLE instance (
  mailbox BIGINT NOT NULL, uid BIGINT NOT NULL, modseq BIGINT NOT NULL, blob BIGINT NOT NULL,
  trace BIGINT NOT NULL, size_bytes BIGINT NOT NULL, trace_bytes BIGINT NOT NULL,
  internal_date BIGINT NOT NULL, saved BIGINT NOT NULL, flags BIGINT NOT NULL, keywords {bytes},
  PRIMARY KEY (mailbox, uid)){clustered};
CREATE TABLE tombstone (
  mailbox BIGINT NOT NULL, modseq BIGINT NOT NULL, first BIGINT NOT NULL, last BIGINT NOT NULL,
  PRIMARY KEY (mailbox, modseq, first)){clustered};
CREATE TABLE overlay (
  mailbox BIGINT NOT NULL, login TEXT NOT NULL, block BIGINT NOT NULL,
  seen BIGINT NOT NULL, runs {bytes} NOT NULL,
  PRIMARY KEY (mailbox, login, block)){clustered};
CREATE TABLE message (
  id {id} PRIMARY KEY, hash {bytes} NOT NULL, pack BIGINT NOT NULL, start BIGINT NOT NULL,
  length BIGINT NOT NULL, instances BIGINT NOT NULL, freed BIGINT);
CREATE UNIQUE INDEX message_hash ON message (hash);
CREATE INDEX message_freed ON message (freed) WHERE freed IS NOT NULL;
CREATE TABLE envelope (id {id} PRIMARY KEY, data {bytes} NOT NULL);
CREATE TABLE structure (id {id} PRIMARY KEY, data {bytes} NOT NULL);
CREATE TABLE fields (id {id} PRIMARY KEY, data {bytes} NOT NULL);
CREATE TABLE search_text (id {id} PRIMARY KEY, data {bytes} NOT NULL);
CREATE TABLE trace (
  id {id} PRIMARY KEY, data {bytes} NOT NULL, instances BIGINT NOT NULL, freed BIGINT);
CREATE INDEX trace_freed ON trace (freed) WHERE freed IS NOT NULL;
CREATE TABLE subscription (
  login TEXT NOT NULL, kind BIGINT NOT NULL, account TEXT NOT NULL, folder TEXT NOT NULL,
  subscribed BIGINT NOT NULL, PRIMARY KEY (login, kind, account, folder)){clustered};
CREATE TABLE access (
  kind BIGINT NOT NULL, account TEXT NOT NULL, login TEXT NOT NULL, rights TEXT NOT NULL,
  PRIMARY KEY (kind, account, login)){clustered};
CREATE TABLE duplicate_key (digest {bytes} PRIMARY KEY, used BIGINT NOT NULL){clustered};
CREATE INDEX duplicate_key_used ON duplicate_key (used);
CREATE TABLE pack (number {id} PRIMARY KEY, committed_end BIGINT NOT NULL, dead BIGINT NOT NULL);
";

/// The queue: `instances` of a message and of trace fields count its entries, too. Messages by
/// Message-ID, and by the Message-IDs that they follow: `digest` is of the bare identifier and of
/// which of the two it is, and different identifiers may share one. The header's folded text apart
/// from the body's: `search_text` is emptied into these two and dropped; the message has the check
/// of both. A message of layout 1 is a thread of its own, and has no preview until somebody asks
/// for it. Metadata: no login is everybody's, mailbox 0 is the server. The audit log, by which of
/// its entries instances came into a Trash, and each user's rights as they were told there last.
/// Who is away, and which mailboxes are open to others. A turn is whom work in an account was
/// handed to, the highest number last. The directory that several nodes have in force, and the last
/// tenure of each of their duties. Messages of virtual mailboxes are not counted by what they show,
/// and found by nothing.
const LAYOUT_2: &str = "
CREATE TABLE queue (
  id {id} PRIMARY KEY, blob BIGINT NOT NULL, trace BIGINT NOT NULL, size_bytes BIGINT NOT NULL,
  envelope {bytes} NOT NULL);
CREATE TABLE queue_recipient (
  queue BIGINT NOT NULL, number BIGINT NOT NULL, data {bytes} NOT NULL,
  PRIMARY KEY (queue, number)){clustered};
CREATE TABLE message_id (
  digest BIGINT NOT NULL, message BIGINT NOT NULL, PRIMARY KEY (digest, message)){clustered};
CREATE INDEX instance_blob ON instance (blob, mailbox, uid);
CREATE TABLE mirrored (
  mailbox BIGINT NOT NULL, uid BIGINT NOT NULL, modseq BIGINT NOT NULL, blob BIGINT NOT NULL,
  trace BIGINT NOT NULL, thread BIGINT NOT NULL, size_bytes BIGINT NOT NULL,
  trace_bytes BIGINT NOT NULL, internal_date BIGINT NOT NULL, saved BIGINT NOT NULL,
  flags BIGINT NOT NULL, keywords {bytes}, origin BIGINT NOT NULL, origin_uid BIGINT NOT NULL,
  PRIMARY KEY (mailbox, uid)){clustered};
CREATE TABLE turn (
  kind BIGINT NOT NULL, account TEXT NOT NULL, login TEXT NOT NULL, number BIGINT NOT NULL,
  PRIMARY KEY (kind, account, login)){clustered};
CREATE TABLE header_text (id {id} PRIMARY KEY, data {bytes} NOT NULL);
CREATE TABLE body_text (id {id} PRIMARY KEY, data {bytes} NOT NULL);
CREATE TABLE audit (
  id {id} PRIMARY KEY, at BIGINT NOT NULL, entry TEXT NOT NULL, hash {bytes} NOT NULL);
CREATE TABLE audit_tip (one BIGINT PRIMARY KEY, id BIGINT NOT NULL, hash {bytes} NOT NULL);
CREATE TABLE trashed (
  mailbox BIGINT NOT NULL, uid BIGINT NOT NULL, entry BIGINT NOT NULL,
  PRIMARY KEY (mailbox, uid)){clustered};
CREATE TABLE absence (login TEXT PRIMARY KEY, until BIGINT NOT NULL){clustered};
CREATE TABLE opening (
  login TEXT NOT NULL, owner TEXT NOT NULL, until BIGINT NOT NULL,
  PRIMARY KEY (login, owner)){clustered};
CREATE TABLE access_known (
  kind BIGINT NOT NULL, account TEXT NOT NULL, rights {bytes} NOT NULL,
  PRIMARY KEY (kind, account)){clustered};
CREATE TABLE directory (
  one BIGINT PRIMARY KEY, text {bytes} NOT NULL, at BIGINT NOT NULL, host TEXT NOT NULL,
  salts {bytes} NOT NULL);
CREATE TABLE tenure (duty TEXT PRIMARY KEY, number BIGINT NOT NULL){clustered};
ALTER TABLE message ADD COLUMN text_check BIGINT NOT NULL DEFAULT 0;
ALTER TABLE instance ADD COLUMN thread BIGINT NOT NULL DEFAULT 0;
UPDATE instance SET thread = -blob;
ALTER TABLE mailbox ADD COLUMN messages BIGINT NOT NULL DEFAULT 0;
ALTER TABLE mailbox ADD COLUMN size_bytes BIGINT NOT NULL DEFAULT 0;
UPDATE mailbox SET
  messages = (SELECT COUNT(*) FROM instance WHERE instance.mailbox = mailbox.id),
  size_bytes = (SELECT COALESCE(SUM(instance.size_bytes), 0) FROM instance
    WHERE instance.mailbox = mailbox.id);
CREATE TABLE preview (id {id} PRIMARY KEY, data {bytes} NOT NULL);
CREATE TABLE metadata (
  login TEXT NOT NULL, mailbox BIGINT NOT NULL, entry TEXT NOT NULL, value {bytes} NOT NULL,
  PRIMARY KEY (login, mailbox, entry)){clustered};
";

/// What is `lost` (1) was found missing or damaged where its bytes should be, and is written anew
/// when the same bytes come in.
const LAYOUT_3: &str = "
ALTER TABLE message ADD COLUMN lost BIGINT NOT NULL DEFAULT 0;
";
