//! What came of an attempt enters the store: the recipients and the reports on them, together.

use std::collections::BTreeMap;
use std::time::Duration;

use super::{Office, reports, stopped};
use crate::outbound::report::Affected;
use crate::outbound::schedule::{Action, Judgement};
use crate::store::StoreError;
use crate::store::change::{Actor, Change, Transaction};
use crate::store::queue::{Queued, QueuedRecipient, RecipientUpdate};

/// The first wait before a commit that failed is tried again; each further one is twice as long.
const RETRY_FIRST: Duration = Duration::from_secs(1);
/// The longest.
const RETRY_MAX: Duration = Duration::from_secs(60);
/// How often a report is made, because a mailbox that it was for has gone meanwhile; after that it
/// is owed.
const REPORTS_MAX: usize = 2;

/// What becomes of the reports.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Reports {
    /// They are stored with what they report.
    Told,
    /// They are remembered with their recipients, and tried again later.
    Owed,
    /// Another node has the queue by now, and may be trying the same. What it decides counts; but
    /// who has got the mail shall not get it again.
    TooLate,
}

/// A recipient and what is decided for it.
pub(super) struct Settled<'a> {
    /// As it was.
    pub(super) recipient: &'a QueuedRecipient,
    /// What an attempt meant for it.
    pub(super) judgement: Judgement,
}

impl Settled<'_> {
    /// Whether the mail is where it should be, whatever there is to report on that.
    fn has_arrived(&self) -> bool {
        let has_failed = matches!(self.judgement.report, Some((Action::Failed, _)));
        self.judgement.update == RecipientUpdate::Done && !has_failed
    }
}

/// Comes back when it is durable, or when the daemon stops and it cannot be. What was delivered is
/// kept until then: it must not be sent twice because a disk is full.
pub(super) async fn settle(office: &Office, queued: &Queued, mut settled: Vec<Settled<'_>>) {
    if settled.is_empty() {
        return;
    }
    let mut shutdown = office.shutdown.clone();
    let mut wait = RETRY_FIRST;
    let (mut reports, mut tries) = (Reports::Told, 0);
    if office.under.fence().is_some() && !office.under.lasts() {
        // what was let go for that is no failure, even where nobody has taken it up yet
        reports = Reports::TooLate;
        settled.retain(|s| s.has_arrived());
        if settled.is_empty() {
            return;
        }
    }
    loop {
        let stopping = *shutdown.borrow();
        let error = match commit(office, queued, (&settled, reports)).await {
            Ok(()) => return,
            Err(StoreError::Outrun)
                if office.under.fence().is_some() && reports != Reports::TooLate =>
            {
                reports = Reports::TooLate;
                settled.retain(|s| s.has_arrived());
                tracing::warn!(
                    arrived = settled.len(),
                    "another node moves the queue: what came of an attempt is its to say"
                );
                if settled.is_empty() {
                    return;
                }
                continue;
            }
            // The report's fault, not the store's: everything else passes by waiting.
            Err(error @ (StoreError::Gone | StoreError::Exists | StoreError::Limit(_)))
                if reports == Reports::Told =>
            {
                tries += 1;
                if tries == REPORTS_MAX {
                    tracing::error!(%error, "a report cannot be stored now: tried again later");
                    reports = Reports::Owed;
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
    (settled, reports): (&[Settled<'_>], Reports),
) -> Result<(), StoreError> {
    let terms = (&office.settings.retry, office.moment());
    let update = |s: &Settled<'_>| {
        let update = match reports {
            Reports::Told => s.judgement.update.clone(),
            Reports::Owed | Reports::TooLate => s.judgement.untold(s.recipient, terms),
        };
        (s.recipient.number, update)
    };
    let recipients = settled.iter().map(update).collect();
    let fence = office.under.fence().filter(|_| reports != Reports::TooLate);
    let mut changes: Vec<Change> = fence.into_iter().collect();
    // First: so a full queue has room for the report on a message that leaves it.
    changes.push(Change::QueueUpdated { id: queued.id, recipients });
    if reports == Reports::Told {
        changes.extend(told(office, queued, settled).await?);
    }
    let transaction = Transaction { actor: Actor::Delivery, changes };
    office.store.commit(transaction).await.map(drop)
}

/// The reports: one for all recipients to whom the same has happened.
async fn told(
    office: &Office,
    queued: &Queued,
    settled: &[Settled<'_>],
) -> Result<Vec<Change>, StoreError> {
    let mut told: BTreeMap<Action, Vec<Affected<'_>>> = BTreeMap::new();
    for Settled { recipient, judgement } in settled {
        if let Some((action, why)) = &judgement.report {
            told.entry(*action).or_default().push(Affected { recipient, told: why });
        }
    }
    let mut changes = Vec::new();
    for (action, affected) in told {
        changes.extend(reports::changes(office, queued, (action, &affected)).await?);
    }
    Ok(changes)
}
