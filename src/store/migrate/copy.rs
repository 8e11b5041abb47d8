//! From table to table, and on from where an earlier run was interrupted.

use std::collections::HashMap;
use std::path::PathBuf;

use super::bodies::Bodies;
use super::verify::Depth;
use super::{
    Batch, End, Phase, Progress, Row, SOURCE, Stopped, Watcher, located, message_columns, shared,
    verify,
};
use crate::store::sql::tables::{Table, table};
use crate::store::{StoreError, encode};

/// The tables that tell one store from another, and from itself at another time.
const TELLING: [&str; 3] = ["counter", "mailbox", "audit_tip"];

/// Everything that is not there yet.
pub(super) async fn all(
    (from, to): (&mut dyn End, &mut dyn End),
    scratch: PathBuf,
    watcher: &mut Watcher<'_>,
) -> Result<(), Stopped> {
    watcher.begin(Phase::Copying);
    let notes = begun((&mut *from, &mut *to)).await?;
    let mut bodies = Bodies::new(scratch)?;
    for table in shared() {
        let mut progress = match notes.get(&note_name(table)) {
            Some(note) => encode::from_bytes(note)?,
            None => Progress::default(),
        };
        watcher.done(&table.name, (progress.rows, progress.bytes));
        while !progress.done {
            let rows = from.rows(table, progress.after.as_ref()).await?;
            progress = step((&mut *from, &mut *to), (table, rows), (progress, &mut bodies))
                .await?
                .told(&table.name, watcher);
        }
    }
    Ok(())
}

/// A step of one table, and what it brought.
struct Step {
    progress: Progress,
    brought: (u64, u64),
}

impl Step {
    fn told(self, table: &str, watcher: &mut Watcher<'_>) -> Progress {
        watcher.done(table, self.brought);
        self.progress
    }
}

/// What earlier runs have noted; a target that is neither empty nor begun from the same source is
/// left alone.
async fn begun(
    (from, to): (&mut dyn End, &mut dyn End),
) -> Result<HashMap<String, Vec<u8>>, Stopped> {
    if from.notes().await?.is_some() {
        let why = "the source is itself the target of a migration that is not complete: finish \
                   that first";
        return Err(Stopped::Unfit(why.into()));
    }
    let mut source = blake3::Hasher::new();
    for table in TELLING.into_iter().filter_map(table) {
        source.update(&verify::digest(from, table, Depth::Rows).await?.bytes());
    }
    let source = source.finalize();
    match to.notes().await? {
        Some(notes) if notes.get(SOURCE).is_some_and(|noted| noted == source.as_bytes()) => {
            Ok(notes)
        }
        Some(_) => Err(Stopped::Unfit(
            "the target holds a half-finished migration of another store, or of this one before it \
             was changed: empty the target and run this again"
                .into(),
        )),
        None => {
            for table in shared() {
                if to.count(table).await? > 0 {
                    let why = format!(
                        "the target is not empty (there are rows in {}): name one that no Postfach \
                         has used yet",
                        table.name
                    );
                    return Err(Stopped::Unfit(why));
                }
            }
            to.mark((SOURCE, source.as_bytes())).await?;
            Ok(HashMap::new())
        }
    }
}

/// Puts rows, and for messages their bytes.
async fn step(
    (from, to): (&mut dyn End, &mut dyn End),
    (table, mut rows): (&'static Table, Vec<Row>),
    (mut progress, bodies): (Progress, &mut Bodies),
) -> Result<Step, StoreError> {
    let (mut brought, mut bytes) = (Vec::new(), 0);
    if let Some(columns) = message_columns(table)
        && !rows.is_empty()
    {
        let odd = || StoreError::Corrupt("a message without hash, length or place".into());
        let messages = rows.iter().map(|row| located(&columns, row).ok_or_else(odd));
        let messages = messages.collect::<Result<Vec<_>, _>>()?;
        brought = bodies.some(from, &messages).await?;
        rows.truncate(brought.len());
        bytes = messages[..brought.len()].iter().map(|message| message.length).sum();
    }
    let count = rows.len() as u64;
    match rows.last() {
        Some(last) => progress.after = Some(table.key.iter().map(|at| last[*at].clone()).collect()),
        None => progress.done = true,
    }
    progress.rows += count;
    progress.bytes += bytes;
    let note = (note_name(table), encode::to_bytes(&progress)?);
    to.put(Batch { table, rows, bodies: brought, note }).await?;
    bodies.used()?;
    Ok(Step { progress, brought: (count, bytes) })
}

fn note_name(table: &Table) -> String {
    format!("table {}", table.name)
}
