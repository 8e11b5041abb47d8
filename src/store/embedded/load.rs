//! From tables to the state in memory: all of it but contents when the store opens, and a mailbox's
//! contents when somebody first asks. Changes nothing.

use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;

use rusqlite::{Connection, OptionalExtension, Transaction, params};

use super::{columns, failure};
use crate::mail::account::{Account, Folder};
use crate::mail::id::{
    BlobId, Login, MailboxId, ModSeq, QueueId, Timestamp, TraceId, Uid, UidValidity,
};
use crate::store::audit::{EntryId, Tip};
use crate::store::change::{Absences, Grant, Opening};
use crate::store::mirror::{Mirror, Origin};
use crate::store::nodes::{Duty, Published, Tenures};
use crate::store::overlay::{Block, Overlay};
use crate::store::queue::Queued;
use crate::store::snapshot::Snapshot;
use crate::store::state::{Contents, Counters, Held, Loaded, State};
use crate::store::{Mailbox, Metadata, StoreError, Subscriptions, Turns, Usage, encode, sql};

/// A pack as the database knows it.
pub(super) struct PackRow {
    pub(super) number: i64,
    pub(super) committed_end: u64,
    pub(super) dead: u64,
}

/// Everything but the contents of mailboxes.
pub(super) fn state(connection: &Connection) -> Result<State, StoreError> {
    let mut state = tree(connection).map_err(|e| failure(&e))?;
    state.load_turns(turns(connection).map_err(|e| failure(&e))?);
    for queued in queue(connection)? {
        state.load_queued(queued);
    }
    Ok(state)
}

fn tree(connection: &Connection) -> rusqlite::Result<State> {
    let mut state = State::default();
    state.load(counters(connection)?, grants(connection)?);
    state.load_audit(audit_tip(connection)?);
    state.load_people(absences(connection)?, openings(connection)?);
    state.load_nodes(directory(connection)?, tenures(connection)?);
    let mut keywords = keywords(connection)?;
    let mut statement = connection.prepare(sql::MAILBOXES)?;
    let mut rows = statement.query([])?;
    while let Some(row) = rows.next()? {
        let id = MailboxId(row.get(0)?);
        let mailbox = Mailbox {
            id,
            account: columns::account(row, 1)?,
            folder: Folder::new(columns::text(row, 3)?),
            uid_validity: UidValidity(row.get(4)?),
        };
        let uid_next = Uid(row.get(5)?);
        state.load_mailbox(Held {
            mailbox: Arc::new(mailbox),
            uid_next,
            highest_modseq: ModSeq(row.get::<_, i64>(6)?.unsigned_abs()),
            keywords: Arc::new(keywords.remove(&id).unwrap_or_default()),
            recent_from: uid_next,
            usage: Usage {
                messages: row.get::<_, i64>(7)?.unsigned_abs(),
                bytes: row.get::<_, i64>(8)?.unsigned_abs(),
            },
            last_used: Arc::default(),
            contents: Contents::Absent { pushed: Vec::new() },
        });
    }
    for (user, choices) in subscriptions(connection)? {
        state.load_subscriptions(user, choices);
    }
    for (user, notes) in metadata(connection)? {
        state.load_metadata(user, notes);
    }
    Ok(state)
}

/// A mailbox's contents at one moment; `None` when there is no such mailbox.
pub(super) fn contents(
    connection: &mut Connection,
    id: MailboxId,
) -> Result<Option<Loaded>, StoreError> {
    let read = connection.transaction().and_then(|transaction| loaded(&transaction, id));
    match read.map_err(|e| failure(&e))? {
        Some((snapshot, blocks)) => {
            let overlays = Arc::new(overlays(blocks)?);
            Ok(Some(Loaded { snapshot: Arc::new(snapshot), overlays }))
        }
        None => Ok(None),
    }
}

/// The packs, ascending.
pub(super) fn packs(connection: &Connection) -> rusqlite::Result<Vec<PackRow>> {
    let mut statement = connection.prepare_cached(sql::PACKS)?;
    let rows = statement.query_map([], |row| {
        Ok(PackRow {
            number: row.get(0)?,
            committed_end: row.get::<_, i64>(1)?.unsigned_abs(),
            dead: row.get::<_, i64>(2)?.unsigned_abs(),
        })
    })?;
    rows.collect()
}

/// User, number, seen, runs.
type BlockRow = (Login, u32, u64, Vec<u8>);

fn loaded(
    transaction: &Transaction<'_>,
    id: MailboxId,
) -> rusqlite::Result<Option<(Snapshot, Vec<BlockRow>)>> {
    let mut header = transaction.prepare_cached(sql::MAILBOX)?;
    let header = header.query_row(params![id.0], |row| {
        let mut snapshot = Snapshot::empty(id, UidValidity(row.get(0)?));
        snapshot.uid_next = Uid(row.get(1)?);
        snapshot.highest_modseq = ModSeq(row.get::<_, i64>(2)?.unsigned_abs());
        Ok(snapshot)
    });
    let Some(mut snapshot) = header.optional()? else { return Ok(None) };
    let mut instances = transaction.prepare_cached(sql::INSTANCES)?;
    let mut rows = instances.query(params![id.0])?;
    while let Some(row) = rows.next()? {
        snapshot.push(columns::entry(row)?);
    }
    mirrored(transaction, &mut snapshot)?;
    let mut blocks = transaction.prepare_cached(sql::OVERLAYS)?;
    let blocks = blocks.query_map(params![id.0], |row| {
        let seen = row.get::<_, i64>(2)?.cast_unsigned();
        Ok((Login::new(columns::text(row, 0)?), row.get(1)?, seen, row.get(3)?))
    })?;
    Ok(Some((snapshot, blocks.collect::<Result<_, _>>()?)))
}

/// The messages of a virtual mailbox; any other has none.
fn mirrored(transaction: &Transaction<'_>, snapshot: &mut Snapshot) -> rusqlite::Result<()> {
    let mut statement = transaction.prepare_cached(sql::MIRRORED)?;
    let mut rows = statement.query(params![snapshot.mailbox.0])?;
    let mut origins = Vec::new();
    while let Some(row) = rows.next()? {
        let entry = columns::entry(row)?;
        let origin = Origin { mailbox: MailboxId(row.get(11)?), uid: Uid(row.get(12)?) };
        origins.push((entry.uid, origin));
        snapshot.push(entry);
    }
    if !origins.is_empty() {
        snapshot.mirror = Some(Arc::new(Mirror::new(origins)));
    }
    Ok(())
}

fn overlays(rows: Vec<BlockRow>) -> Result<BTreeMap<Login, Arc<Overlay>>, StoreError> {
    let mut overlays: BTreeMap<Login, Overlay> = BTreeMap::new();
    for (user, number, seen, runs) in rows {
        let block = Block { seen, runs: encode::from_bytes(&runs)? };
        overlays.entry(user).or_default().load(number, block);
    }
    Ok(overlays.into_iter().map(|(user, overlay)| (user, Arc::new(overlay))).collect())
}

fn counters(connection: &Connection) -> rusqlite::Result<Counters> {
    let mut counters = Counters::default();
    let mut statement = connection.prepare(sql::COUNTERS)?;
    let mut rows = statement.query([])?;
    while let Some(row) = rows.next()? {
        match columns::text(row, 0)? {
            "mailbox" => counters.mailbox = row.get(1)?,
            "message" => counters.blob = row.get(1)?,
            "trace" => counters.trace = row.get(1)?,
            "thread" => counters.thread = row.get(1)?,
            "queue" => counters.queue = row.get(1)?,
            "uid_validity" => counters.uid_validity = row.get(1)?,
            _ => {}
        }
    }
    Ok(counters)
}

fn directory(connection: &Connection) -> rusqlite::Result<Option<Published>> {
    let mut statement = connection.prepare(sql::DIRECTORY)?;
    let row = statement.query_row([], |row| {
        let text = String::from_utf8_lossy(row.get_ref(0)?.as_blob()?).into_owned();
        let (at, host, salts) = (Timestamp(row.get(1)?), row.get(2)?, row.get(3)?);
        Ok(Published { text, at, host, salts })
    });
    row.optional()
}

/// A duty that this program does not know is somebody else's.
fn tenures(connection: &Connection) -> rusqlite::Result<Tenures> {
    let mut statement = connection.prepare(sql::TENURES)?;
    let rows = statement.query_map([], |row| Ok((row.get::<_, String>(0)?, row.get(1)?)))?;
    let known = |(duty, number): (String, i64)| Some((Duty::named(&duty)?, number));
    rows.filter_map(|row| row.map(known).transpose()).collect()
}

fn absences(connection: &Connection) -> rusqlite::Result<Absences> {
    let mut statement = connection.prepare(sql::ABSENCES)?;
    let rows = statement
        .query_map([], |row| Ok((Login::new(columns::text(row, 0)?), Timestamp(row.get(1)?))))?;
    rows.collect()
}

fn openings(connection: &Connection) -> rusqlite::Result<Vec<Opening>> {
    let mut statement = connection.prepare(sql::OPENINGS)?;
    let rows = statement.query_map([], |row| {
        let (user, of) = (Login::new(columns::text(row, 0)?), Login::new(columns::text(row, 1)?));
        Ok(Opening { user, of, until: Timestamp(row.get(2)?) })
    })?;
    rows.collect()
}

fn audit_tip(connection: &Connection) -> rusqlite::Result<Tip> {
    let found = connection.query_row(sql::AUDIT_TIP, [], |row| {
        Ok(Tip { id: EntryId(row.get(0)?), hash: row.get(1)? })
    });
    Ok(found.optional()?.unwrap_or_default())
}

fn keywords(connection: &Connection) -> rusqlite::Result<HashMap<MailboxId, Vec<Arc<str>>>> {
    let mut keywords: HashMap<MailboxId, Vec<Arc<str>>> = HashMap::new();
    let mut statement = connection.prepare(sql::KEYWORDS)?;
    let mut rows = statement.query([])?;
    while let Some(row) = rows.next()? {
        let name = columns::text(row, 1)?.into();
        keywords.entry(MailboxId(row.get(0)?)).or_default().push(name);
    }
    Ok(keywords)
}

fn queue(connection: &Connection) -> Result<Vec<Queued>, StoreError> {
    let mut recipients = queued_recipients(connection).map_err(|e| failure(&e))?;
    let mut statement = connection.prepare(sql::QUEUE).map_err(|e| failure(&e))?;
    let rows = statement.query_map([], |row| {
        let (blob, trace) = (BlobId(row.get(1)?), TraceId(row.get(2)?));
        let size_bytes = row.get::<_, i64>(3)?.unsigned_abs();
        Ok((QueueId(row.get(0)?), blob, trace, size_bytes, row.get::<_, Vec<u8>>(4)?))
    });
    let mut queue = Vec::new();
    for row in rows.map_err(|e| failure(&e))? {
        let (id, blob, trace, size_bytes, envelope) = row.map_err(|e| failure(&e))?;
        let envelope = Arc::new(encode::from_bytes(&envelope)?);
        let rows = recipients.remove(&id).unwrap_or_default();
        let recipients =
            rows.iter().map(|row| encode::from_bytes(row)).collect::<Result<_, _>>()?;
        queue.push(Queued { id, blob, trace, size_bytes, envelope, recipients });
    }
    Ok(queue)
}

/// Each as it stands in its row, by number.
fn queued_recipients(connection: &Connection) -> rusqlite::Result<HashMap<QueueId, Vec<Vec<u8>>>> {
    let mut recipients: HashMap<QueueId, Vec<Vec<u8>>> = HashMap::new();
    let mut statement = connection.prepare(sql::QUEUED_RECIPIENTS)?;
    let mut rows = statement.query([])?;
    while let Some(row) = rows.next()? {
        recipients.entry(QueueId(row.get(0)?)).or_default().push(row.get(1)?);
    }
    Ok(recipients)
}

fn grants(connection: &Connection) -> rusqlite::Result<Vec<Grant>> {
    let mut statement = connection.prepare(sql::GRANTS)?;
    let rows = statement.query_map([], |row| {
        let account = columns::account(row, 0)?;
        let user = Login::new(columns::text(row, 2)?);
        Ok(Grant { account, user, rights: Some(row.get(3)?) })
    })?;
    let mut grants = rows.collect::<Result<Vec<_>, _>>()?;
    grants.sort_by(|a, b| (&a.account, &a.user).cmp(&(&b.account, &b.user)));
    Ok(grants)
}

fn turns(connection: &Connection) -> rusqlite::Result<HashMap<Account, Arc<Turns>>> {
    let mut all: HashMap<Account, Arc<Turns>> = HashMap::new();
    let mut statement = connection.prepare(sql::TURNS)?;
    let mut rows = statement.query([])?;
    while let Some(row) = rows.next()? {
        let turns = all.entry(columns::account(row, 0)?).or_default();
        let user = Login::new(columns::text(row, 2)?);
        Arc::make_mut(turns).insert(user, row.get::<_, i64>(3)?.unsigned_abs());
    }
    Ok(all)
}

fn metadata(connection: &Connection) -> rusqlite::Result<HashMap<Option<Login>, Metadata>> {
    let mut all: HashMap<Option<Login>, Metadata> = HashMap::new();
    let mut statement = connection.prepare(sql::METADATA)?;
    let mut rows = statement.query([])?;
    while let Some(row) = rows.next()? {
        let login = columns::text(row, 0)?;
        let user = (!login.is_empty()).then(|| Login::new(login));
        let mailbox = row.get::<_, i64>(1)?;
        let about = (mailbox != 0).then_some(MailboxId(mailbox));
        let (entry, value) = (columns::text(row, 2)?.to_owned(), row.get_ref(3)?.as_blob()?.into());
        all.entry(user).or_default().insert((about, entry), value);
    }
    Ok(all)
}

fn subscriptions(connection: &Connection) -> rusqlite::Result<HashMap<Login, Subscriptions>> {
    let mut all: HashMap<Login, Subscriptions> = HashMap::new();
    let mut statement = connection.prepare(sql::SUBSCRIPTIONS)?;
    let mut rows = statement.query([])?;
    while let Some(row) = rows.next()? {
        let user = Login::new(columns::text(row, 0)?);
        let name = (columns::account(row, 1)?, Folder::new(columns::text(row, 3)?));
        all.entry(user).or_default().insert(name, row.get::<_, i64>(4)? == 1);
    }
    Ok(all)
}
