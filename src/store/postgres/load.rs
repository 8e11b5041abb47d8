//! From tables to the state in memory: all of it but contents when a node opens the store or has
//! lost the thread of the log, and a mailbox's contents when somebody first asks. Changes nothing.

use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;

use deadpool_postgres::ClientWrapper;
use tokio_postgres::{Error, Row};

use super::aside::aside;
use super::columns::{account, bytes, count, entry, folder, hash, int, login, small, text};
use super::connection::failure;
use super::log::Point;
use super::pipeline::Pipeline;
use crate::mail::account::Account;
use crate::mail::id::{
    BlobId, Login, MailboxId, ModSeq, QueueId, Timestamp, TraceId, Uid, UidValidity,
};
use crate::store::audit::{EntryId, Tip};
use crate::store::change::{Grant, Opening};
use crate::store::mirror::{Mirror, Origin};
use crate::store::nodes::{Duty, Published, Tenures};
use crate::store::overlay::{Block, Overlay};
use crate::store::queue::Queued;
use crate::store::snapshot::Snapshot;
use crate::store::state::{Contents, Counters, Held, Loaded, State};
use crate::store::{Mailbox, Metadata, StoreError, Subscriptions, Turns, Usage, encode, sql};

/// The last group of all nodes.
const HEAD: &str = "SELECT version, stamp FROM head WHERE one = 1";
/// All questions see one moment.
const AT_ONE_MOMENT: &str = "BEGIN ISOLATION LEVEL REPEATABLE READ READ ONLY";

/// What the state is made of, in the order in which it is read.
const STATE: [&str; 15] = [
    HEAD,
    sql::COUNTERS,
    sql::GRANTS,
    sql::AUDIT_TIP,
    sql::ABSENCES,
    sql::OPENINGS,
    sql::DIRECTORY,
    sql::TENURES,
    sql::KEYWORDS,
    sql::MAILBOXES,
    sql::SUBSCRIPTIONS,
    sql::METADATA,
    sql::TURNS,
    sql::QUEUE,
    sql::QUEUED_RECIPIENTS,
];

/// Everything but the contents of mailboxes, and which group it is as of.
pub(super) async fn state(client: &ClientWrapper) -> Result<(State, Point), StoreError> {
    let read = at_one_moment(client, &STATE, None).await.map_err(|e| failure(&e))?;
    aside(read.iter().map(Vec::len).sum(), || state_of(read))
}

fn state_of(read: Vec<Vec<Row>>) -> Result<(State, Point), StoreError> {
    let read = <[Vec<Row>; STATE.len()]>::try_from(read);
    let read = read.map_err(|_| StoreError::Unavailable("database: answers are missing".into()))?;
    let [head, counted, granted, tip, away, open, in_force, held_by, rest @ ..] = read;
    let [keys, boxes, subscribed, noted, turned, queued, to] = rest;
    let mut state = State::default();
    state.load(counters(&counted)?, grants(&granted)?);
    state.load_audit(audit_tip(&tip)?);
    let absences = away.iter().map(|row| Ok((login(row, 0)?, Timestamp(int(row, 1)?))));
    state.load_people(absences.collect::<Result<_, StoreError>>()?, openings(&open)?);
    state.load_nodes(directory(&in_force)?, tenures(&held_by)?);
    let mut keywords = keywords(&keys)?;
    for row in &boxes {
        state.load_mailbox(held(row, &mut keywords)?);
    }
    for (user, choices) in subscriptions(&subscribed)? {
        state.load_subscriptions(user, choices);
    }
    for (user, notes) in metadata(&noted)? {
        state.load_metadata(user, notes);
    }
    state.load_turns(turns(&turned)?);
    let mut recipients = queued_recipients(&to)?;
    for row in &queued {
        state.load_queued(in_queue(row, &mut recipients)?);
    }
    Ok((state, self::head(&head)?))
}

/// The group that stands at the head.
pub(super) fn head(rows: &[Row]) -> Result<Point, StoreError> {
    let missing = || StoreError::Corrupt("the table head is empty".into());
    Point::of(rows.first().ok_or_else(missing)?, 0)
}

/// A mailbox's contents at one moment; `None` when there is no such mailbox.
pub(super) async fn contents(
    client: &ClientWrapper,
    id: MailboxId,
) -> Result<Option<Loaded>, StoreError> {
    let read = at_one_moment(client, &CONTENTS, Some(&id.0)).await;
    loaded(id, &read.map_err(|e| failure(&e))?)
}

/// The same inside a transaction that keeps all others from writing.
pub(super) async fn contents_here(
    client: &ClientWrapper,
    id: MailboxId,
) -> Result<Option<Loaded>, StoreError> {
    let mut pipeline = Pipeline::new(client);
    for question in CONTENTS {
        pipeline.ask(question, vec![&id.0]).await.map_err(|e| failure(&e))?;
    }
    let read = pipeline.run().await.map_err(|e| failure(&e))?;
    loaded(id, &read)
}

const CONTENTS: [&str; 4] = [sql::MAILBOX, sql::INSTANCES, sql::MIRRORED, sql::OVERLAYS];

async fn at_one_moment(
    client: &ClientWrapper,
    questions: &[&str],
    about: Option<&i64>,
) -> Result<Vec<Vec<Row>>, Error> {
    let mut pipeline = Pipeline::new(client);
    pipeline.plain(AT_ONE_MOMENT);
    for question in questions {
        let parameters = about.map(|id| id as &(dyn tokio_postgres::types::ToSql + Sync));
        pipeline.ask(question, parameters.into_iter().collect()).await?;
    }
    pipeline.plain("COMMIT");
    let answers = match pipeline.run().await {
        Ok(answers) => answers,
        Err(error) => {
            // whoever uses the connection next must not find themselves in this transaction
            let _ = client.batch_execute("ROLLBACK").await;
            return Err(error);
        }
    };
    Ok(answers.into_iter().skip(1).take(questions.len()).collect())
}

fn held(row: &Row, keywords: &mut HashMap<MailboxId, Vec<Arc<str>>>) -> Result<Held, StoreError> {
    let id = MailboxId(int(row, 0)?);
    let mailbox = Mailbox {
        id,
        account: account(row, 1)?,
        folder: folder(row, 3)?,
        uid_validity: UidValidity(small(row, 4)?),
    };
    let uid_next = Uid(small(row, 5)?);
    Ok(Held {
        mailbox: Arc::new(mailbox),
        uid_next,
        highest_modseq: ModSeq(count(row, 6)?),
        keywords: Arc::new(keywords.remove(&id).unwrap_or_default()),
        recent_from: uid_next,
        usage: Usage { messages: count(row, 7)?, bytes: count(row, 8)? },
        last_used: Arc::default(),
        contents: Contents::Absent { pushed: Vec::new() },
    })
}

fn loaded(id: MailboxId, read: &[Vec<Row>]) -> Result<Option<Loaded>, StoreError> {
    aside(read.iter().map(Vec::len).sum(), || loaded_of(id, read))
}

fn loaded_of(id: MailboxId, read: &[Vec<Row>]) -> Result<Option<Loaded>, StoreError> {
    let [header, instances, mirrored, blocks] = read else {
        return Err(StoreError::Unavailable("database: answers are missing".into()));
    };
    let Some(header) = header.first() else { return Ok(None) };
    let mut snapshot = Snapshot::empty(id, UidValidity(small(header, 0)?));
    snapshot.uid_next = Uid(small(header, 1)?);
    snapshot.highest_modseq = ModSeq(count(header, 2)?);
    for row in instances {
        snapshot.push(entry(row)?);
    }
    let mut origins = Vec::with_capacity(mirrored.len());
    for row in mirrored {
        let entry = entry(row)?;
        let origin = Origin { mailbox: MailboxId(int(row, 11)?), uid: Uid(small(row, 12)?) };
        origins.push((entry.uid, origin));
        snapshot.push(entry);
    }
    if !origins.is_empty() {
        snapshot.mirror = Some(Arc::new(Mirror::new(origins)));
    }
    let overlays = Arc::new(overlays(blocks)?);
    Ok(Some(Loaded { snapshot: Arc::new(snapshot), overlays }))
}

fn overlays(rows: &[Row]) -> Result<BTreeMap<Login, Arc<Overlay>>, StoreError> {
    let mut overlays: BTreeMap<Login, Overlay> = BTreeMap::new();
    for row in rows {
        let runs = encode::from_bytes(bytes(row, 3)?)?;
        let block = Block { seen: int(row, 2)?.cast_unsigned(), runs };
        overlays.entry(login(row, 0)?).or_default().load(small(row, 1)?, block);
    }
    Ok(overlays.into_iter().map(|(user, overlay)| (user, Arc::new(overlay))).collect())
}

fn counters(rows: &[Row]) -> Result<Counters, StoreError> {
    let mut counters = Counters::default();
    for row in rows {
        match text(row, 0)? {
            "mailbox" => counters.mailbox = int(row, 1)?,
            "message" => counters.blob = int(row, 1)?,
            "trace" => counters.trace = int(row, 1)?,
            "thread" => counters.thread = int(row, 1)?,
            "queue" => counters.queue = int(row, 1)?,
            "uid_validity" => counters.uid_validity = small(row, 1)?,
            _ => {}
        }
    }
    Ok(counters)
}

fn directory(rows: &[Row]) -> Result<Option<Published>, StoreError> {
    let Some(row) = rows.first() else { return Ok(None) };
    let text = String::from_utf8_lossy(bytes(row, 0)?).into_owned();
    let (at, host) = (Timestamp(int(row, 1)?), self::text(row, 2)?.to_owned());
    Ok(Some(Published { text, at, host, salts: hash(row, 3)? }))
}

/// A duty that this program does not know is somebody else's.
fn tenures(rows: &[Row]) -> Result<Tenures, StoreError> {
    let known = |row| Ok(Duty::named(text(row, 0)?).zip(Some(int(row, 1)?)));
    rows.iter().filter_map(|row| known(row).transpose()).collect()
}

fn openings(rows: &[Row]) -> Result<Vec<Opening>, StoreError> {
    let opening = |row| {
        let (user, of) = (login(row, 0)?, login(row, 1)?);
        Ok(Opening { user, of, until: Timestamp(int(row, 2)?) })
    };
    rows.iter().map(opening).collect()
}

fn audit_tip(rows: &[Row]) -> Result<Tip, StoreError> {
    let tip = |row| Ok(Tip { id: EntryId(int(row, 0)?), hash: hash(row, 1)? });
    rows.first().map_or(Ok(Tip::default()), tip)
}

fn keywords(rows: &[Row]) -> Result<HashMap<MailboxId, Vec<Arc<str>>>, StoreError> {
    let mut keywords: HashMap<MailboxId, Vec<Arc<str>>> = HashMap::new();
    for row in rows {
        keywords.entry(MailboxId(int(row, 0)?)).or_default().push(text(row, 1)?.into());
    }
    Ok(keywords)
}

fn in_queue(
    row: &Row,
    recipients: &mut HashMap<QueueId, Vec<&[u8]>>,
) -> Result<Queued, StoreError> {
    let id = QueueId(int(row, 0)?);
    let rows = recipients.remove(&id).unwrap_or_default();
    Ok(Queued {
        id,
        blob: BlobId(int(row, 1)?),
        trace: TraceId(int(row, 2)?),
        size_bytes: count(row, 3)?,
        envelope: Arc::new(encode::from_bytes(bytes(row, 4)?)?),
        recipients: rows.iter().map(|row| encode::from_bytes(row)).collect::<Result<_, _>>()?,
    })
}

/// Each as it stands in its row, by number.
fn queued_recipients(rows: &[Row]) -> Result<HashMap<QueueId, Vec<&[u8]>>, StoreError> {
    let mut recipients: HashMap<QueueId, Vec<&[u8]>> = HashMap::new();
    for row in rows {
        recipients.entry(QueueId(int(row, 0)?)).or_default().push(bytes(row, 1)?);
    }
    Ok(recipients)
}

fn grants(rows: &[Row]) -> Result<Vec<Grant>, StoreError> {
    let grant = |row| {
        let (account, user) = (account(row, 0)?, login(row, 2)?);
        Ok(Grant { account, user, rights: Some(text(row, 3)?.to_owned()) })
    };
    let mut grants = rows.iter().map(grant).collect::<Result<Vec<_>, StoreError>>()?;
    grants.sort_by(|a, b| (&a.account, &a.user).cmp(&(&b.account, &b.user)));
    Ok(grants)
}

fn turns(rows: &[Row]) -> Result<HashMap<Account, Arc<Turns>>, StoreError> {
    let mut all: HashMap<Account, Arc<Turns>> = HashMap::new();
    for row in rows {
        let turns = all.entry(account(row, 0)?).or_default();
        Arc::make_mut(turns).insert(login(row, 2)?, count(row, 3)?);
    }
    Ok(all)
}

fn metadata(rows: &[Row]) -> Result<HashMap<Option<Login>, Metadata>, StoreError> {
    let mut all: HashMap<Option<Login>, Metadata> = HashMap::new();
    for row in rows {
        let name = text(row, 0)?;
        let user = (!name.is_empty()).then(|| Login::new(name));
        let mailbox = int(row, 1)?;
        let about = (mailbox != 0).then_some(MailboxId(mailbox));
        let (entry, value) = (text(row, 2)?.to_owned(), bytes(row, 3)?.into());
        all.entry(user).or_default().insert((about, entry), value);
    }
    Ok(all)
}

fn subscriptions(rows: &[Row]) -> Result<HashMap<Login, Subscriptions>, StoreError> {
    let mut all: HashMap<Login, Subscriptions> = HashMap::new();
    for row in rows {
        let name = (account(row, 1)?, folder(row, 3)?);
        all.entry(login(row, 0)?).or_default().insert(name, int(row, 4)? == 1);
    }
    Ok(all)
}
