//! Every query, once, in the subset that SQLite and PostgreSQL share: `$1` in order
//! of first use, ON CONFLICT, 64-bit integers, text and bytes only, times in microseconds. Knows
//! no engine. The tables are in `layout`.

pub(super) mod layout;
pub(super) mod tables;

// Loading.
pub(super) const COUNTERS: &str = "SELECT name, value FROM counter";
pub(super) const MAILBOXES: &str =
    "SELECT id, kind, account, folder, uid_validity, uid_next, highest_modseq, messages, size_bytes
  FROM mailbox";
pub(super) const KEYWORDS: &str = "SELECT mailbox, name FROM keyword ORDER BY mailbox, number";
pub(super) const SUBSCRIPTIONS: &str =
    "SELECT login, kind, account, folder, subscribed FROM subscription ORDER BY login";
pub(super) const GRANTS: &str =
    "SELECT kind, account, login, rights FROM access ORDER BY kind, account, login";
pub(super) const TURNS: &str = "SELECT kind, account, login, number FROM turn";
pub(super) const METADATA: &str =
    "SELECT login, mailbox, entry, value FROM metadata ORDER BY login";
pub(super) const PACKS: &str = "SELECT number, committed_end, dead FROM pack ORDER BY number";
pub(super) const MAILBOX: &str =
    "SELECT uid_validity, uid_next, highest_modseq FROM mailbox WHERE id = $1";
pub(super) const INSTANCES: &str =
    "SELECT uid, modseq, blob, trace, thread, size_bytes, trace_bytes,
  internal_date, saved, flags, keywords FROM instance WHERE mailbox = $1 ORDER BY uid";
pub(super) const MIRRORED: &str =
    "SELECT uid, modseq, blob, trace, thread, size_bytes, trace_bytes,
  internal_date, saved, flags, keywords, origin, origin_uid FROM mirrored
  WHERE mailbox = $1 ORDER BY uid";
pub(super) const OVERLAYS: &str =
    "SELECT login, block, seen, runs FROM overlay WHERE mailbox = $1 ORDER BY login, block";
pub(super) const QUEUE: &str = "SELECT id, blob, trace, size_bytes, envelope FROM queue";
pub(super) const QUEUED_RECIPIENTS: &str =
    "SELECT queue, data FROM queue_recipient ORDER BY queue, number";

pub(super) const ABSENCES: &str = "SELECT login, until FROM absence";
pub(super) const OPENINGS: &str = "SELECT login, owner, until FROM opening ORDER BY login, owner";
pub(super) const DIRECTORY: &str = "SELECT text, at, host, salts FROM directory WHERE one = 1";
pub(super) const TENURES: &str = "SELECT duty, number FROM tenure";
pub(super) const AUDIT_TIP: &str = "SELECT id, hash FROM audit_tip WHERE one = 1";

// Looking up before a group is applied.
pub(super) const MESSAGE_BY_HASH: &str = "SELECT id, lost FROM message WHERE hash = $1";
pub(super) const DUPLICATE_KEY: &str = "SELECT used FROM duplicate_key WHERE digest = $1";

// Writing a group.
pub(super) const PUT_COUNTER: &str = "INSERT INTO counter (name, value) VALUES ($1, $2)
  ON CONFLICT (name) DO UPDATE SET value = excluded.value";
pub(super) const PUT_MAILBOX: &str = "INSERT INTO mailbox
  (id, kind, account, folder, uid_validity, uid_next, highest_modseq, messages, size_bytes)
  VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9) ON CONFLICT (id) DO UPDATE SET
  folder = excluded.folder, uid_validity = excluded.uid_validity, uid_next = excluded.uid_next,
  messages = excluded.messages,
  highest_modseq = excluded.highest_modseq, size_bytes = excluded.size_bytes";
pub(super) const PUT_KEYWORD: &str =
    "INSERT INTO keyword (mailbox, number, name) VALUES ($1, $2, $3)";
pub(super) const PUT_INSTANCE: &str = "INSERT INTO instance (mailbox, uid, modseq, blob, trace,
  thread, size_bytes, trace_bytes, internal_date, saved, flags, keywords)
  VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12)
  ON CONFLICT (mailbox, uid) DO UPDATE SET
  modseq = excluded.modseq, flags = excluded.flags, keywords = excluded.keywords";
pub(super) const DELETE_INSTANCE: &str = "DELETE FROM instance WHERE mailbox = $1 AND uid = $2";
pub(super) const PUT_MIRRORED: &str = "INSERT INTO mirrored (mailbox, uid, modseq, blob, trace,
  thread, size_bytes, trace_bytes, internal_date, saved, flags, keywords, origin, origin_uid)
  VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12, $13, $14)
  ON CONFLICT (mailbox, uid) DO UPDATE SET
  modseq = excluded.modseq, thread = excluded.thread, flags = excluded.flags,
  keywords = excluded.keywords, origin = excluded.origin, origin_uid = excluded.origin_uid";
pub(super) const DELETE_MIRRORED: &str = "DELETE FROM mirrored WHERE mailbox = $1 AND uid = $2";
pub(super) const PUT_TOMBSTONE: &str =
    "INSERT INTO tombstone (mailbox, modseq, first, last) VALUES ($1, $2, $3, $4)";
pub(super) const PUT_OVERLAY: &str = "INSERT INTO overlay (mailbox, login, block, seen, runs)
  VALUES ($1, $2, $3, $4, $5) ON CONFLICT (mailbox, login, block) DO UPDATE SET
  seen = excluded.seen, runs = excluded.runs";
pub(super) const PUT_MESSAGE: &str = "INSERT INTO message
  (id, hash, pack, start, length, instances, freed, text_check)
  VALUES ($1, $2, $3, $4, $5, $6, $7, $8)";
/// Its bytes have been written anew.
pub(super) const HEAL_MESSAGE: &str =
    "UPDATE message SET pack = $1, start = $2, lost = 0 WHERE id = $3";
pub(super) const COUNT_MESSAGE: &str = "UPDATE message SET instances = instances + $1,
  freed = CASE WHEN instances + $1 = 0 THEN $2 ELSE NULL END WHERE id = $3";
pub(super) const PUT_ENVELOPE: &str = "INSERT INTO envelope (id, data) VALUES ($1, $2)";
pub(super) const PUT_STRUCTURE: &str = "INSERT INTO structure (id, data) VALUES ($1, $2)";
pub(super) const PUT_FIELDS: &str = "INSERT INTO fields (id, data) VALUES ($1, $2)";
pub(super) const PUT_HEADER_TEXT: &str = "INSERT INTO header_text (id, data) VALUES ($1, $2)";
pub(super) const PUT_BODY_TEXT: &str = "INSERT INTO body_text (id, data) VALUES ($1, $2)";
pub(super) const PUT_PREVIEW: &str = "INSERT INTO preview (id, data) VALUES ($1, $2)";
pub(super) const KEEP_PREVIEW: &str = "INSERT INTO preview (id, data) SELECT $1, $2
  WHERE EXISTS (SELECT 1 FROM message WHERE id = $1) ON CONFLICT (id) DO NOTHING";
pub(super) const PUT_MESSAGE_ID: &str = "INSERT INTO message_id (digest, message) VALUES ($1, $2)";
pub(super) const PUT_TRACE: &str =
    "INSERT INTO trace (id, data, instances, freed) VALUES ($1, $2, $3, $4)";
pub(super) const COUNT_TRACE: &str = "UPDATE trace SET instances = instances + $1,
  freed = CASE WHEN instances + $1 = 0 THEN $2 ELSE NULL END WHERE id = $3";
pub(super) const PUT_SUBSCRIPTION: &str = "INSERT INTO subscription
  (login, kind, account, folder, subscribed) VALUES ($1, $2, $3, $4, $5)
  ON CONFLICT (login, kind, account, folder) DO UPDATE SET subscribed = excluded.subscribed";
pub(super) const PUT_METADATA: &str =
    "INSERT INTO metadata (login, mailbox, entry, value) VALUES ($1, $2, $3, $4)
  ON CONFLICT (login, mailbox, entry) DO UPDATE SET value = excluded.value";
pub(super) const DELETE_METADATA: &str =
    "DELETE FROM metadata WHERE login = $1 AND mailbox = $2 AND entry = $3";
pub(super) const PUT_GRANT: &str =
    "INSERT INTO access (kind, account, login, rights) VALUES ($1, $2, $3, $4)
  ON CONFLICT (kind, account, login) DO UPDATE SET rights = excluded.rights";
pub(super) const DELETE_GRANT: &str =
    "DELETE FROM access WHERE kind = $1 AND account = $2 AND login = $3";
pub(super) const PUT_TURN: &str =
    "INSERT INTO turn (kind, account, login, number) VALUES ($1, $2, $3, $4)
  ON CONFLICT (kind, account, login) DO UPDATE SET number = excluded.number";
pub(super) const PUT_DUPLICATE_KEY: &str = "INSERT INTO duplicate_key (digest, used)
  VALUES ($1, $2) ON CONFLICT (digest) DO UPDATE SET used = excluded.used";
pub(super) const PUT_PACK_END: &str =
    "INSERT INTO pack (number, committed_end, dead) VALUES ($1, $2, 0)
  ON CONFLICT (number) DO UPDATE SET committed_end = excluded.committed_end";
pub(super) const PUT_QUEUED: &str =
    "INSERT INTO queue (id, blob, trace, size_bytes, envelope) VALUES ($1, $2, $3, $4, $5)";
pub(super) const PUT_QUEUED_RECIPIENT: &str = "INSERT INTO queue_recipient (queue, number, data)
  VALUES ($1, $2, $3) ON CONFLICT (queue, number) DO UPDATE SET data = excluded.data";
pub(super) const DELETE_QUEUED_RECIPIENT: &str =
    "DELETE FROM queue_recipient WHERE queue = $1 AND number = $2";
/// What goes with a queued message that has left.
pub(super) const DELETE_QUEUED: [&str; 2] =
    ["DELETE FROM queue WHERE id = $1", "DELETE FROM queue_recipient WHERE queue = $1"];

pub(super) const PUT_AUDIT: &str =
    "INSERT INTO audit (id, at, entry, hash) VALUES ($1, $2, $3, $4)";
pub(super) const PUT_AUDIT_TIP: &str = "INSERT INTO audit_tip (one, id, hash) VALUES (1, $1, $2)
  ON CONFLICT (one) DO UPDATE SET id = excluded.id, hash = excluded.hash";
pub(super) const PUT_TRASHED: &str = "INSERT INTO trashed (mailbox, uid, entry)
  VALUES ($1, $2, $3) ON CONFLICT (mailbox, uid) DO UPDATE SET entry = excluded.entry";
pub(super) const DELETE_TRASHED: &str = "DELETE FROM trashed WHERE mailbox = $1 AND uid = $2";
pub(super) const PUT_ABSENCE: &str = "INSERT INTO absence (login, until) VALUES ($1, $2)
  ON CONFLICT (login) DO UPDATE SET until = excluded.until";
pub(super) const DELETE_ABSENCE: &str = "DELETE FROM absence WHERE login = $1";
pub(super) const PUT_OPENING: &str = "INSERT INTO opening (login, owner, until) VALUES ($1, $2, $3)
  ON CONFLICT (login, owner) DO UPDATE SET until = excluded.until";
pub(super) const DELETE_OPENING: &str = "DELETE FROM opening WHERE login = $1 AND owner = $2";
pub(super) const PUT_DIRECTORY: &str = "INSERT INTO directory (one, text, at, host, salts)
  VALUES (1, $1, $2, $3, $4) ON CONFLICT (one) DO UPDATE SET
  text = excluded.text, at = excluded.at, host = excluded.host, salts = excluded.salts";
pub(super) const PUT_TENURE: &str = "INSERT INTO tenure (duty, number) VALUES ($1, $2)
  ON CONFLICT (duty) DO UPDATE SET number = excluded.number";
pub(super) const PUT_ACCESS_KNOWN: &str = "INSERT INTO access_known (kind, account, rights)
  VALUES ($1, $2, $3) ON CONFLICT (kind, account) DO UPDATE SET rights = excluded.rights";

/// What goes with a mailbox that is deleted.
pub(super) const DELETE_MAILBOX: [&str; 7] = [
    "DELETE FROM mailbox WHERE id = $1",
    "DELETE FROM keyword WHERE mailbox = $1",
    "DELETE FROM instance WHERE mailbox = $1",
    "DELETE FROM mirrored WHERE mailbox = $1",
    "DELETE FROM tombstone WHERE mailbox = $1",
    "DELETE FROM overlay WHERE mailbox = $1",
    "DELETE FROM trashed WHERE mailbox = $1",
];

// Reading.
pub(super) const TOMBSTONES: &str =
    "SELECT first, last FROM tombstone WHERE mailbox = $1 AND modseq > $2";
pub(super) const TRACE: &str = "SELECT data FROM trace WHERE id = $1";
pub(super) const PLACE: &str = "SELECT pack, start, length, hash, lost FROM message WHERE id = $1";
pub(super) const ENVELOPES: &str =
    "SELECT id, data FROM envelope WHERE id BETWEEN $1 AND $2 ORDER BY id";
pub(super) const STRUCTURES: &str =
    "SELECT id, data FROM structure WHERE id BETWEEN $1 AND $2 ORDER BY id";
pub(super) const FIELDS: &str =
    "SELECT id, data FROM fields WHERE id BETWEEN $1 AND $2 ORDER BY id";
pub(super) const HEADER_TEXTS: &str =
    "SELECT id, data FROM header_text WHERE id BETWEEN $1 AND $2 ORDER BY id";
pub(super) const BODY_TEXTS: &str =
    "SELECT id, data FROM body_text WHERE id BETWEEN $1 AND $2 ORDER BY id";
pub(super) const PREVIEWS: &str =
    "SELECT id, data FROM preview WHERE id BETWEEN $1 AND $2 ORDER BY id";
pub(super) const MESSAGES_BY_ID: &str =
    "SELECT message FROM message_id WHERE digest = $1 ORDER BY message DESC LIMIT $2";
pub(super) const ENVELOPE: &str = "SELECT data FROM envelope WHERE id = $1";
pub(super) const INSTANCES_BY_BLOB: &str =
    "SELECT mailbox, uid, thread FROM instance WHERE blob = $1
  ORDER BY mailbox DESC, uid DESC LIMIT $2";
pub(super) const AUDITED: &str = "SELECT id, at, entry, hash FROM audit
  WHERE id >= $1 AND at >= $2 ORDER BY id LIMIT $3";
pub(super) const TRASHED: &str = "SELECT uid, entry FROM trashed WHERE mailbox = $1";
pub(super) const ACCESS_KNOWN: &str = "SELECT kind, account, rights FROM access_known";

// Indexing text.
pub(super) const TEXTS_FROM: &str =
    "SELECT message.id, text_check, header_text.data, body_text.data
  FROM message LEFT JOIN header_text ON header_text.id = message.id
  LEFT JOIN body_text ON body_text.id = message.id
  WHERE message.id BETWEEN $1 AND $2 ORDER BY message.id LIMIT $3";
pub(super) const TEXTS_WAITING: &str =
    "SELECT count(*), CAST(coalesce(sum(length(data)), 0) AS BIGINT) FROM body_text WHERE id >= $1";
pub(super) const TEXT_CHECKS: &str =
    "SELECT id, text_check FROM message WHERE id BETWEEN $1 AND $2 ORDER BY id";
pub(super) const SET_TEXT_CHECK: &str = "UPDATE message SET text_check = $1 WHERE id = $2";

// When bytes are not where they should be, or not what they were.
pub(super) const MARK_LOST: &str = "UPDATE message SET lost = 1
  WHERE id = $1 AND pack = $2 AND start = $3 AND lost = 0";

// Upgrading.
pub(super) const ALL_ENVELOPES: &str = "SELECT id, data FROM envelope ORDER BY id";
pub(super) const OLD_TEXTS: &str = "SELECT id, data FROM search_text ORDER BY id";
pub(super) const DROP_OLD_TEXTS: &str = "DROP TABLE search_text";

// Sweeping.
pub(super) const FREED_MESSAGES: &str =
    "SELECT id, pack, length FROM message WHERE freed <= $1 ORDER BY freed LIMIT $2";
/// Comes before the envelope goes, which says the digest.
pub(super) const DELETE_MESSAGE_ID: &str =
    "DELETE FROM message_id WHERE digest = $1 AND message = $2";
/// What goes with a message that nothing refers to any more.
pub(super) const DELETE_MESSAGE: [&str; 7] = [
    "DELETE FROM message WHERE id = $1",
    "DELETE FROM envelope WHERE id = $1",
    "DELETE FROM structure WHERE id = $1",
    "DELETE FROM fields WHERE id = $1",
    "DELETE FROM header_text WHERE id = $1",
    "DELETE FROM body_text WHERE id = $1",
    "DELETE FROM preview WHERE id = $1",
];
pub(super) const DELETE_FREED_TRACES: &str = "DELETE FROM trace WHERE id IN
  (SELECT id FROM trace WHERE freed <= $1 ORDER BY freed LIMIT $2)";
pub(super) const DELETE_OLD_KEYS: &str = "DELETE FROM duplicate_key WHERE digest IN
  (SELECT digest FROM duplicate_key WHERE used <= $1 ORDER BY used LIMIT $2)";
pub(super) const ADD_DEAD: &str = "UPDATE pack SET dead = dead + $1 WHERE number = $2";
pub(super) const ADD_DEAD_OF: &str = "UPDATE pack SET
  dead = dead + $1 + (SELECT length FROM message WHERE id = $2)
  WHERE number = (SELECT pack FROM message WHERE id = $2)";
pub(super) const MESSAGES_IN_PACK: &str =
    "SELECT id, start, length, hash FROM message WHERE pack = $1 ORDER BY start LIMIT $2";
pub(super) const MOVE_MESSAGE: &str = "UPDATE message SET pack = $1, start = $2 WHERE id = $3";
pub(super) const DELETE_PACK: &str = "DELETE FROM pack WHERE number = $1";
