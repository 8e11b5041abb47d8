//! What came of an attempt enters the store: the recipients and the reports on them, together.

use std::collections::BTreeMap;
use std::time::Duration;

use super::{Office, reports, stopped};
use crate::outbound::report::Affected;
use crate::outbound::schedule::{Action, Judgement};
use crate::store::StoreError;
use crate::store::change::{Actor, Change, Transaction};
use crate::store::queue::{Queued, QueuedRecipient};

/// The first wait before a commit that failed is tried again; each further one is twice as long.
const RETRY_FIRST: Duration = Duration::from_secs(1);
/// The longest.
const RETRY_MAX: Duration = Duration::from_secs(60);
/// How often a report is made anew, because a mailbox that it was for has gone meanwhile.
const REPORTS_MAX: usize = 2;

/// A recipient and what is decided for it.
pub(super) struct Settled<'a> {
    /// As it was.
    pub(super) recipient: &'a QueuedRecipient,
    /// What an attempt meant for it.
    pub(super) judgement: Judgement,
}

/// Comes back when it is durable, or when the daemon stops and it cannot be. What was delivered is
/// kept until then: it must not be sent twice because a disk is full.
pub(super) async fn settle(office: &Office, queued: &Queued, settled: Vec<Settled<'_>>) {
    if settled.is_empty() {
        return;
    }
    let mut shutdown = office.shutdown.clone();
    let mut wait = RETRY_FIRST;
    let mut with_reports = REPORTS_MAX;
    loop {
        let stopping = *shutdown.borrow();
        let error = match commit(office, queued, (&settled, with_reports > 0)).await {
            Ok(()) => return,
            // The report's fault, not the store's: everything else passes by waiting.
            Err(error @ (StoreError::Gone | StoreError::Exists | StoreError::Limit(_)))
                if with_reports > 0 =>
            {
                with_reports -= 1;
                if with_reports == 0 {
                    tracing::error!(%error, "a report cannot be delivered and is dropped");
                }
                continue;
            }
            Err(error) => error,
        };
        tracing::error!(%error, "what came of an attempt cannot be stored; it is kept in memory");
        if stopping {
            tracing::error!("stopping: the attempt may be made again");
            return;
        }
        tokio::select! {
            () = tokio::time::sleep(wait) => {}
            () = stopped(&mut shutdown) => {}
        }
        wait = (wait * 2).min(RETRY_MAX);
    }
}

async fn commit(
    office: &Office,
    queued: &Queued,
    (settled, with_reports): (&[Settled<'_>], bool),
) -> Result<(), StoreError> {
    let update = |s: &Settled<'_>| (s.recipient.number, s.judgement.update.clone());
    let recipients = settled.iter().map(update).collect();
    let mut changes = Vec::new();
    if with_reports {
        let mut told: BTreeMap<Action, Vec<Affected<'_>>> = BTreeMap::new();
        for Settled { recipient, judgement } in settled {
            if let Some((action, why)) = &judgement.report {
                told.entry(*action).or_default().push(Affected { recipient, told: why });
            }
        }
        for (action, affected) in told {
            changes.extend(reports::changes(office, queued, (action, &affected)).await?);
        }
    }
    // Last: the report refers to the message while it is still queued.
    changes.push(Change::QueueUpdated { id: queued.id, recipients });
    let transaction = Transaction { actor: Actor::Delivery, changes };
    office.store.commit(transaction).await.map(drop)
}
