//! Several statements on their way at once: all are sent before the first answer is waited for, so
//! that many cost one round trip. Knows no table.

use std::future::poll_fn;
use std::pin::Pin;
use std::task::{Context, Poll};

use deadpool_postgres::ClientWrapper;
use tokio_postgres::types::ToSql;
use tokio_postgres::{Error, Row};

use super::aside::aside;
use super::batch::Batch;

/// A statement that is under way; a question has rows.
type Sent<'a> = Pin<Box<dyn Future<Output = Result<Vec<Row>, Error>> + Send + 'a>>;

/// Statements that are sent in the order in which they were added.
pub(super) struct Pipeline<'a> {
    client: &'a ClientWrapper,
    sent: Vec<Sent<'a>>,
    /// How many rows are in them.
    rows: usize,
}

impl<'a> Pipeline<'a> {
    pub(super) fn new(client: &'a ClientWrapper) -> Pipeline<'a> {
        Pipeline { client, sent: Vec::new(), rows: 0 }
    }

    /// Plain SQL without parameters and answer.
    pub(super) fn plain(&mut self, sql: &'a str) {
        let client = self.client;
        self.sent
            .push(Box::pin(async move { client.batch_execute(sql).await.map(|()| Vec::new()) }));
    }

    /// A question.
    pub(super) async fn ask(
        &mut self,
        sql: &str,
        parameters: Vec<&'a (dyn ToSql + Sync)>,
    ) -> Result<(), Error> {
        let (client, statement) = (self.client, self.client.prepare_cached(sql).await?);
        self.sent.push(Box::pin(async move { client.query(&statement, &parameters).await }));
        Ok(())
    }

    /// A statement.
    pub(super) async fn execute(
        &mut self,
        sql: &str,
        parameters: Vec<&'a (dyn ToSql + Sync)>,
    ) -> Result<(), Error> {
        let (client, statement) = (self.client, self.client.prepare_cached(sql).await?);
        self.sent.push(Box::pin(async move {
            client.execute(&statement, &parameters).await.map(|_| Vec::new())
        }));
        Ok(())
    }

    /// A statement for many rows; nothing, if there are none.
    pub(super) async fn batch(&mut self, batch: &'a Batch<'a>) -> Result<(), Error> {
        match batch.is_empty() {
            true => Ok(()),
            false => {
                self.rows += batch.len();
                self.execute(&batch.sql(), batch.parameters()).await
            }
        }
    }

    /// Sends all, and waits for all answers. After an error the server has done nothing more.
    pub(super) async fn run(self) -> Result<Vec<Vec<Row>>, Error> {
        let mut sent: Vec<(Sent<'a>, Option<Vec<Row>>)> =
            self.sent.into_iter().map(|sent| (sent, None)).collect();
        let mut poll = |cx: &mut Context<'_>| {
            let mut waiting = false;
            for (sent, answer) in sent.iter_mut().filter(|(_, answer)| answer.is_none()) {
                match sent.as_mut().poll(cx) {
                    Poll::Ready(Ok(ready)) => *answer = Some(ready),
                    Poll::Ready(Err(error)) => return Poll::Ready(Err(error)),
                    Poll::Pending => waiting = true,
                }
            }
            if waiting { Poll::Pending } else { Poll::Ready(Ok(())) }
        };
        // the first time all values are written out
        let mut rows = self.rows;
        poll_fn(|cx| aside(std::mem::take(&mut rows), || poll(cx))).await?;
        Ok(sent.into_iter().filter_map(|(_, answer)| answer).collect())
    }
}
