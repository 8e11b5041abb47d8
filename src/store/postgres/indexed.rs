//! The index of texts of a node, for the searches that are made there. Its thread asks for texts
//! through a task, as a thread cannot wait for a connection.

use std::io;
use std::ops::RangeInclusive;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use deadpool_postgres::ClientWrapper;
use tokio::sync::{mpsc, oneshot};
use tokio::time::{MissedTickBehavior, interval};

use super::columns::{count, get, int};
use super::readers::ask;
use super::shared::Shared;
use crate::store::text_index::{Indexer, Source, TextIndex, Texts, Work};
use crate::store::{StoreError, sql};

/// How often it is looked whether there is enough to index. What is new is in memory; this asks
/// nobody.
const INTERVAL: Duration = Duration::from_secs(1);

/// What the thread wants to know.
enum Question {
    Waiting(i64, oneshot::Sender<Result<(u64, u64), StoreError>>),
    Texts(RangeInclusive<i64>, i64, oneshot::Sender<Result<Vec<Texts>, StoreError>>),
    Checks(RangeInclusive<i64>, oneshot::Sender<Result<Vec<(i64, i64)>, StoreError>>),
}

/// The thread's end.
struct Tables(mpsc::Sender<Question>);

impl Tables {
    fn ask<T>(
        &self,
        question: impl FnOnce(oneshot::Sender<Result<T, StoreError>>) -> Question,
    ) -> Result<T, StoreError> {
        let (answer, answered) = oneshot::channel();
        self.0.blocking_send(question(answer)).map_err(|_| super::stopped())?;
        answered.blocking_recv().map_err(|_| super::stopped())?
    }
}

impl Source for Tables {
    fn waiting(&mut self, from: i64) -> Result<(u64, u64), StoreError> {
        self.ask(|answer| Question::Waiting(from, answer))
    }

    fn texts(&mut self, range: RangeInclusive<i64>, most: i64) -> Result<Vec<Texts>, StoreError> {
        self.ask(|answer| Question::Texts(range, most, answer))
    }

    fn checks(&mut self, range: RangeInclusive<i64>) -> Result<Vec<(i64, i64)>, StoreError> {
        self.ask(|answer| Question::Checks(range, answer))
    }
}

/// The task's end. What is dropped first lets the thread go on, so that it can end.
pub(super) struct Indexed {
    questions: mpsc::Receiver<Question>,
    indexer: Option<Indexer>,
    shared: Arc<Shared>,
}

/// Removes what an earlier run left, for a node that is to have no index.
pub fn remove(folder: &Path) -> io::Result<()> {
    TextIndex::remove(folder)
}

/// The index of a node, if it is to have one in a folder.
pub(super) fn index(folder: Option<&Path>, last_message: i64) -> Option<Arc<TextIndex>> {
    folder.map(|folder| Arc::new(TextIndex::new(folder, last_message)))
}

impl Indexed {
    /// Starts the thread, if there is an index.
    pub(super) fn start(shared: Arc<Shared>) -> Result<Indexed, StoreError> {
        let (asked, questions) = mpsc::channel(1);
        let start = |index: &Arc<TextIndex>| {
            let work = Work::new(index.clone(), Box::new(Tables(asked)), shared.clock.clone());
            work.and_then(Indexer::start)
        };
        let indexer = shared.texts.as_ref().map(start).transpose()?;
        Ok(Indexed { questions, indexer, shared })
    }

    /// Answers the thread, and wakes it when there is enough to do, as long as it is polled.
    pub(super) async fn run(mut self) -> StoreError {
        let (Some(indexer), Some(index)) = (&mut self.indexer, self.shared.texts.clone()) else {
            return std::future::pending().await;
        };
        let mut ticks = interval(INTERVAL);
        ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
        let (mut doubts, mut last) = (index.doubts(), self.shared.last_message());
        loop {
            tokio::select! {
                question = self.questions.recv() => match question {
                    Some(question) => answer(&self.shared, question).await,
                    // the thread has ended; searches read texts
                    None => std::future::pending::<()>().await,
                },
                _ = ticks.tick() => {
                    let now = self.shared.last_message();
                    let new = usize::try_from(now - last).unwrap_or(0);
                    if new > 0 {
                        indexer.committed(new, 0);
                    }
                    last = now;
                    if index.doubts() != doubts {
                        doubts = index.doubts();
                        indexer.wake();
                    }
                }
            }
        }
    }
}

async fn answer(shared: &Shared, question: Question) {
    // whoever asked may have gone home meanwhile
    match question {
        Question::Waiting(from, answer) => {
            let _ = answer.send(read(shared, async |client| waiting(client, from).await).await);
        }
        Question::Texts(range, most, answer) => {
            let found = read(shared, async |client| texts(client, &range, most).await).await;
            let _ = answer.send(found);
        }
        Question::Checks(range, answer) => {
            let _ = answer.send(read(shared, async |client| checks(client, &range).await).await);
        }
    }
}

async fn read<T>(
    shared: &Shared,
    question: impl AsyncFnOnce(&ClientWrapper) -> Result<T, StoreError>,
) -> Result<T, StoreError> {
    let asked = async { question(&*shared.client().await?).await };
    shared.link.guard(asked).await
}

async fn waiting(client: &ClientWrapper, from: i64) -> Result<(u64, u64), StoreError> {
    let rows = ask(client, sql::TEXTS_WAITING, &[&from]).await?;
    rows.first().map_or(Ok((0, 0)), |row| Ok((count(row, 0)?, count(row, 1)?)))
}

async fn texts(
    client: &ClientWrapper,
    range: &RangeInclusive<i64>,
    most: i64,
) -> Result<Vec<Texts>, StoreError> {
    let rows = ask(client, sql::TEXTS_FROM, &[range.start(), range.end(), &most]).await?;
    let texts = rows.iter().map(|row| {
        let (id, check) = (int(row, 0)?, int(row, 1)?);
        let text = |at| get::<Option<&[u8]>>(row, at).map(|text| text.map(<[u8]>::to_vec));
        Ok(Texts { id, check, header: text(2)?, body: text(3)? })
    });
    texts.collect()
}

async fn checks(
    client: &ClientWrapper,
    range: &RangeInclusive<i64>,
) -> Result<Vec<(i64, i64)>, StoreError> {
    let rows = ask(client, sql::TEXT_CHECKS, &[range.start(), range.end()]).await?;
    rows.iter().map(|row| Ok((int(row, 0)?, int(row, 1)?))).collect()
}
