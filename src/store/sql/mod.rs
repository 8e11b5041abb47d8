//! The tables and every query, once, in the subset that SQLite and PostgreSQL share: `$1` in order
//! of first use, ON CONFLICT, 64-bit integers, text and bytes only, times in microseconds. Knows
//! no engine; what differs between dialects is a `Dialect`.

/// What two SQL engines write differently.
pub(super) struct Dialect {
    /// Type of a primary key that is a number: in SQLite the row's own number.
    id: &'static str,
    /// Type of bytes.
    bytes: &'static str,
    /// What makes a table be stored in the order of its key.
    clustered: &'static str,
}

/// SQLite.
pub(super) const SQLITE: Dialect =
    Dialect { id: "INTEGER", bytes: "BLOB", clustered: " WITHOUT ROWID" };

/// The version of `SCHEMA`; an engine refuses a store with another one.
pub(super) const SCHEMA_VERSION: i64 = 1;

/// The statements that make an empty store.
pub(super) fn schema(dialect: &Dialect) -> String {
    SCHEMA
        .replace("{id}", dialect.id)
        .replace("{bytes}", dialect.bytes)
        .replace("{clustered}", dialect.clustered)
}

/// Rows that are read for every message of a mailbox are narrow; what FETCH and SEARCH read of a
/// message is apart, a table each.
const SCHEMA: &str = "
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

// Loading.
pub(super) const COUNTERS: &str = "SELECT name, value FROM counter";
pub(super) const MAILBOXES: &str =
    "SELECT id, kind, account, folder, uid_validity, uid_next, highest_modseq FROM mailbox";
pub(super) const KEYWORDS: &str = "SELECT mailbox, name FROM keyword ORDER BY mailbox, number";
pub(super) const SUBSCRIPTIONS: &str =
    "SELECT login, kind, account, folder, subscribed FROM subscription ORDER BY login";
pub(super) const GRANTS: &str =
    "SELECT kind, account, login, rights FROM access ORDER BY kind, account, login";
pub(super) const PACKS: &str = "SELECT number, committed_end, dead FROM pack ORDER BY number";
pub(super) const MAILBOX: &str =
    "SELECT uid_validity, uid_next, highest_modseq FROM mailbox WHERE id = $1";
pub(super) const INSTANCES: &str = "SELECT uid, modseq, blob, trace, size_bytes, trace_bytes,
  internal_date, saved, flags, keywords FROM instance WHERE mailbox = $1 ORDER BY uid";
pub(super) const OVERLAYS: &str =
    "SELECT login, block, seen, runs FROM overlay WHERE mailbox = $1 ORDER BY login, block";

// Looking up before a group is applied.
pub(super) const MESSAGE_BY_HASH: &str = "SELECT id FROM message WHERE hash = $1";
pub(super) const DUPLICATE_KEY: &str = "SELECT used FROM duplicate_key WHERE digest = $1";

// Writing a group.
pub(super) const PUT_COUNTER: &str = "INSERT INTO counter (name, value) VALUES ($1, $2)
  ON CONFLICT (name) DO UPDATE SET value = excluded.value";
pub(super) const PUT_MAILBOX: &str = "INSERT INTO mailbox
  (id, kind, account, folder, uid_validity, uid_next, highest_modseq)
  VALUES ($1, $2, $3, $4, $5, $6, $7) ON CONFLICT (id) DO UPDATE SET folder = excluded.folder,
  uid_next = excluded.uid_next, highest_modseq = excluded.highest_modseq";
pub(super) const PUT_KEYWORD: &str =
    "INSERT INTO keyword (mailbox, number, name) VALUES ($1, $2, $3)";
pub(super) const PUT_INSTANCE: &str = "INSERT INTO instance (mailbox, uid, modseq, blob, trace,
  size_bytes, trace_bytes, internal_date, saved, flags, keywords)
  VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11) ON CONFLICT (mailbox, uid) DO UPDATE SET
  modseq = excluded.modseq, flags = excluded.flags, keywords = excluded.keywords";
pub(super) const DELETE_INSTANCE: &str = "DELETE FROM instance WHERE mailbox = $1 AND uid = $2";
pub(super) const PUT_TOMBSTONE: &str =
    "INSERT INTO tombstone (mailbox, modseq, first, last) VALUES ($1, $2, $3, $4)";
pub(super) const PUT_OVERLAY: &str = "INSERT INTO overlay (mailbox, login, block, seen, runs)
  VALUES ($1, $2, $3, $4, $5) ON CONFLICT (mailbox, login, block) DO UPDATE SET
  seen = excluded.seen, runs = excluded.runs";
pub(super) const PUT_MESSAGE: &str = "INSERT INTO message
  (id, hash, pack, start, length, instances, freed) VALUES ($1, $2, $3, $4, $5, $6, $7)";
pub(super) const COUNT_MESSAGE: &str = "UPDATE message SET instances = instances + $1,
  freed = CASE WHEN instances + $1 = 0 THEN $2 ELSE NULL END WHERE id = $3";
pub(super) const PUT_ENVELOPE: &str = "INSERT INTO envelope (id, data) VALUES ($1, $2)";
pub(super) const PUT_STRUCTURE: &str = "INSERT INTO structure (id, data) VALUES ($1, $2)";
pub(super) const PUT_FIELDS: &str = "INSERT INTO fields (id, data) VALUES ($1, $2)";
pub(super) const PUT_TEXT: &str = "INSERT INTO search_text (id, data) VALUES ($1, $2)";
pub(super) const PUT_TRACE: &str =
    "INSERT INTO trace (id, data, instances, freed) VALUES ($1, $2, $3, $4)";
pub(super) const COUNT_TRACE: &str = "UPDATE trace SET instances = instances + $1,
  freed = CASE WHEN instances + $1 = 0 THEN $2 ELSE NULL END WHERE id = $3";
pub(super) const PUT_SUBSCRIPTION: &str = "INSERT INTO subscription
  (login, kind, account, folder, subscribed) VALUES ($1, $2, $3, $4, $5)
  ON CONFLICT (login, kind, account, folder) DO UPDATE SET subscribed = excluded.subscribed";
pub(super) const PUT_GRANT: &str =
    "INSERT INTO access (kind, account, login, rights) VALUES ($1, $2, $3, $4)
  ON CONFLICT (kind, account, login) DO UPDATE SET rights = excluded.rights";
pub(super) const DELETE_GRANT: &str =
    "DELETE FROM access WHERE kind = $1 AND account = $2 AND login = $3";
pub(super) const PUT_DUPLICATE_KEY: &str = "INSERT INTO duplicate_key (digest, used)
  VALUES ($1, $2) ON CONFLICT (digest) DO UPDATE SET used = excluded.used";
pub(super) const PUT_PACK_END: &str =
    "INSERT INTO pack (number, committed_end, dead) VALUES ($1, $2, 0)
  ON CONFLICT (number) DO UPDATE SET committed_end = excluded.committed_end";

/// What goes with a mailbox that is deleted.
pub(super) const DELETE_MAILBOX: [&str; 5] = [
    "DELETE FROM mailbox WHERE id = $1",
    "DELETE FROM keyword WHERE mailbox = $1",
    "DELETE FROM instance WHERE mailbox = $1",
    "DELETE FROM tombstone WHERE mailbox = $1",
    "DELETE FROM overlay WHERE mailbox = $1",
];

// Reading.
pub(super) const TOMBSTONES: &str =
    "SELECT first, last FROM tombstone WHERE mailbox = $1 AND modseq > $2";
pub(super) const TRACE: &str = "SELECT data FROM trace WHERE id = $1";
pub(super) const PLACE: &str = "SELECT pack, start, length, hash FROM message WHERE id = $1";
pub(super) const ENVELOPES: &str =
    "SELECT id, data FROM envelope WHERE id BETWEEN $1 AND $2 ORDER BY id";
pub(super) const STRUCTURES: &str =
    "SELECT id, data FROM structure WHERE id BETWEEN $1 AND $2 ORDER BY id";
pub(super) const FIELDS: &str =
    "SELECT id, data FROM fields WHERE id BETWEEN $1 AND $2 ORDER BY id";
pub(super) const TEXTS: &str =
    "SELECT id, data FROM search_text WHERE id BETWEEN $1 AND $2 ORDER BY id";

// Sweeping.
pub(super) const FREED_MESSAGES: &str =
    "SELECT id, pack, length FROM message WHERE freed <= $1 ORDER BY freed LIMIT $2";
/// What goes with a message that no mailbox holds any more.
pub(super) const DELETE_MESSAGE: [&str; 5] = [
    "DELETE FROM message WHERE id = $1",
    "DELETE FROM envelope WHERE id = $1",
    "DELETE FROM structure WHERE id = $1",
    "DELETE FROM fields WHERE id = $1",
    "DELETE FROM search_text WHERE id = $1",
];
pub(super) const DELETE_FREED_TRACES: &str = "DELETE FROM trace WHERE id IN
  (SELECT id FROM trace WHERE freed <= $1 ORDER BY freed LIMIT $2)";
pub(super) const DELETE_OLD_KEYS: &str = "DELETE FROM duplicate_key WHERE digest IN
  (SELECT digest FROM duplicate_key WHERE used <= $1 ORDER BY used LIMIT $2)";
pub(super) const ADD_DEAD: &str = "UPDATE pack SET dead = dead + $1 WHERE number = $2";
pub(super) const MESSAGES_IN_PACK: &str =
    "SELECT id, start, length, hash FROM message WHERE pack = $1 ORDER BY start LIMIT $2";
pub(super) const MOVE_MESSAGE: &str = "UPDATE message SET pack = $1, start = $2 WHERE id = $3";
pub(super) const DELETE_PACK: &str = "DELETE FROM pack WHERE number = $1";
