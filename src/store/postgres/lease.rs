//! Duties and failed logins: rows beside the log, each read and written by a statement of its own,
//! by the database's clock alone.

use std::collections::HashMap;

use deadpool_postgres::ClientWrapper;

use super::blobs::NOW;
use super::columns::{small, text};
use super::readers::ask;
use crate::store::StoreError;
use crate::store::nodes::{Duty, FAILURES_WINDOW, LEASE};

const RELEASE: &str = "DELETE FROM lease WHERE duty = $1 AND node = $2";
const FORGET: &str = "DELETE FROM failure WHERE subject = ANY($1)";

/// Whether the duty is the node's from now on.
pub(super) async fn lease(
    client: &ClientWrapper,
    duty: Duty,
    node: i64,
) -> Result<bool, StoreError> {
    let take = format!(
        "INSERT INTO lease (duty, node, until) VALUES ($1, $2, {NOW} + $3)
  ON CONFLICT (duty) DO UPDATE SET node = excluded.node, until = excluded.until
  WHERE lease.node = excluded.node OR lease.until <= {NOW} RETURNING node"
    );
    let micros = LEASE.as_micros() as i64;
    let taken = ask(client, &take, &[&duty.name(), &node, &micros]).await?;
    Ok(!taken.is_empty())
}

/// The duty is nobody's, if it was the node's.
pub(super) async fn release(
    client: &ClientWrapper,
    duty: Duty,
    node: i64,
) -> Result<(), StoreError> {
    ask(client, RELEASE, &[&duty.name(), &node]).await.map(drop)
}

/// How often each has failed within the window.
pub(super) async fn failures(
    client: &ClientWrapper,
    of: &[String],
) -> Result<Vec<u32>, StoreError> {
    let read = format!(
        "SELECT subject, count FROM failure WHERE subject = ANY($1) AND first > {NOW} - $2"
    );
    counted(of, &ask(client, &read, &[&of, &window()]).await?)
}

/// Counts one more of each. In one order, so that two nodes do not wait for each other.
pub(super) async fn count(client: &ClientWrapper, of: &[String]) -> Result<Vec<u32>, StoreError> {
    let add = format!(
        "INSERT INTO failure (subject, count, first, last)
  SELECT subject, 1, {NOW}, {NOW} FROM UNNEST($1::text[]) AS subject ORDER BY subject
  ON CONFLICT (subject) DO UPDATE SET
  count = CASE WHEN failure.first > excluded.first - $2 THEN failure.count + 1 ELSE 1 END,
  first = CASE WHEN failure.first > excluded.first - $2 THEN failure.first
    ELSE excluded.first END,
  last = excluded.last RETURNING subject, count"
    );
    counted(of, &ask(client, &add, &[&of, &window()]).await?)
}

/// Forgets all failures of these.
pub(super) async fn forget(client: &ClientWrapper, of: &[String]) -> Result<(), StoreError> {
    ask(client, FORGET, &[&of]).await.map(drop)
}

/// Removes what counts no longer.
pub(super) async fn sweep(client: &ClientWrapper) -> Result<(), StoreError> {
    let old = format!("DELETE FROM failure WHERE first <= {NOW} - $1");
    ask(client, &old, &[&window()]).await.map(drop)
}

fn window() -> i64 {
    FAILURES_WINDOW.as_micros() as i64
}

/// In the order asked for; who is missing has none.
fn counted(of: &[String], rows: &[tokio_postgres::Row]) -> Result<Vec<u32>, StoreError> {
    let mut counts = HashMap::new();
    for row in rows {
        counts.insert(text(row, 0)?.to_owned(), small(row, 1)?);
    }
    Ok(of.iter().map(|subject| counts.get(subject).copied().unwrap_or(0)).collect())
}
