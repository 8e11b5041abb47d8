//! The row whose lock orders all groups of all nodes, and what is true while it is held.

use std::time::Instant;

use deadpool_postgres::ClientWrapper;
use tokio_postgres::{Error, Row};

use super::columns::int;
use super::connection::failure;
use super::load;
use super::log::Point;
use super::pipeline::Pipeline;
use super::readers::ask;
use super::shared::Shared;
use crate::mail::id::Timestamp;
use crate::store::StoreError;
use crate::store::sql::layout;
use crate::sys::{Clock, Heard};

/// The database's clock at this moment, not at the beginning of the transaction.
macro_rules! clock {
    () => {
        "CAST(extract(epoch FROM clock_timestamp()) * 1000000 AS BIGINT)"
    };
}
pub(super) use clock;

const BEGIN: &str = "BEGIN ISOLATION LEVEL READ COMMITTED";
/// The last group; nobody writes another one from now on.
pub(super) const LOCK: &str = "SELECT version, stamp FROM head WHERE one = 1 FOR UPDATE";
/// What holds once the lock is held: a question of its own, for one that waits for a lock answers
/// by what there was when it was asked.
pub(super) const TERMS: &str = concat!("SELECT version, ", clock!(), " FROM layout WHERE one = 1");
const TIME: &str = concat!("SELECT ", clock!());

/// Begins a transaction that keeps all others from writing: as the first of a pipeline, which
/// brings three answers.
pub(super) async fn lock_first(pipeline: &mut Pipeline<'_>) -> Result<(), Error> {
    pipeline.plain(BEGIN);
    pipeline.ask(LOCK, vec![]).await?;
    pipeline.ask(TERMS, vec![]).await
}

/// The last group, and the time, of a database that is as this program knows it: one that was
/// upgraded while it ran, it must not write to.
pub(super) fn locked(
    shared: &Shared,
    (lock, terms): (&[Row], &[Row]),
    asked: Instant,
) -> Result<(Point, Timestamp), StoreError> {
    let head = load::head(lock)?;
    let terms = terms.first().map(|row| Ok::<_, StoreError>((int(row, 0)?, int(row, 1)?)));
    match terms.transpose()? {
        Some((layout, said)) if layout == layout::VERSION as i64 => {
            let said = Timestamp(said);
            let heard = Heard { said, asked, answered: Instant::now() };
            Ok((head, shared.clock.hear(heard)))
        }
        _ => Err(StoreError::Unavailable(
            "the database was upgraded: this node needs the newer Postfach, too".into(),
        )),
    }
}

/// Begins a transaction that keeps all others from writing, and does nothing more.
pub(super) async fn lock(
    shared: &Shared,
    client: &ClientWrapper,
) -> Result<(Point, Timestamp), StoreError> {
    let asked = Instant::now();
    let answers = async {
        let mut pipeline = Pipeline::new(client);
        lock_first(&mut pipeline).await?;
        pipeline.run().await
    };
    let answers = answers.await.map_err(|e| failure(&e))?;
    match &answers[..] {
        [_, lock, terms] => locked(shared, (lock, terms), asked),
        _ => Err(StoreError::Unavailable("database: answers are missing".into())),
    }
}

/// Has a clock hear what time it is.
pub(super) async fn tell_time(client: &ClientWrapper, clock: &dyn Clock) -> Result<(), StoreError> {
    // so that the next answer is a quick one
    client.prepare_cached(TIME).await.map_err(|e| failure(&e))?;
    let asked = Instant::now();
    let said = ask(client, TIME, &[]).await?;
    let missing = || StoreError::Unavailable("database: no time".into());
    let said = Timestamp(int(said.first().ok_or_else(missing)?, 0)?);
    clock.hear(Heard { said, asked, answered: Instant::now() });
    Ok(())
}
