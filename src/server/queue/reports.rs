//! What is reported of a queued message: the report needs its first bytes. Where it goes is
//! `delivery::report`'s.

use super::Office;
use crate::delivery::report::{Reporter, Subject};
use crate::outbound::report::{Affected, Extent, HEADER_BYTES_MAX, Original, returns_whole};
use crate::outbound::schedule::Action;
use crate::store::change::Change;
use crate::store::queue::Queued;
use crate::store::{Store, StoreError};
use crate::sys::repeated::Repeated;

/// The changes that bring one report about; none when there is nobody to tell.
pub(super) async fn changes(
    office: &Office,
    queued: &Queued,
    (action, affected): (Action, &[Affected<'_>]),
) -> Result<Vec<Change>, StoreError> {
    if queued.envelope.reverse_path.is_none() {
        return Ok(Vec::new());
    }
    let directory = office.directory.borrow().clone();
    let reporter = Reporter {
        store: &*office.store,
        directory: &directory,
        hostname: &office.settings.hostname,
        lifetime_secs: office.settings.retry.expire_secs,
        moment: office.moment(),
    };
    let subject = Subject {
        envelope: &queued.envelope,
        size_bytes: queued.size_bytes,
        original: &original(&*office.store, queued, action).await?,
        duplicate_key: Some(duplicate_key(queued, action, affected)),
    };
    reporter.changes(&subject, action, affected).await
}

/// The same for the same report: whether a commit went through may not be known, and then it is
/// made again.
fn duplicate_key(queued: &Queued, action: Action, affected: &[Affected<'_>]) -> [u8; 32] {
    let mut hasher = blake3::Hasher::new();
    hasher.update(format!("report {action:?} {} {}", queued.id.0, queued.blob.0).as_bytes());
    for Affected { recipient, .. } in affected {
        let attempts = recipient.progress.attempts;
        hasher.update(format!(" {} {attempts}", recipient.number).as_bytes());
    }
    *hasher.finalize().as_bytes()
}

/// The message's first bytes, behind its trace. A message that cannot be read is reported on
/// without them.
async fn original(
    store: &dyn Store,
    queued: &Queued,
    action: Action,
) -> Result<Original, StoreError> {
    let extent = returns_whole(&queued.envelope, queued.size_bytes, action);
    let bytes_max = match extent {
        Extent::Whole => queued.size_bytes,
        Extent::Head => HEADER_BYTES_MAX,
    };
    let read = async {
        let mut bytes = store.trace(queued.trace).await?;
        bytes.extend(store.body(queued.blob, 0..bytes_max).await?);
        Ok(Original::new(bytes, extent))
    };
    match read.await {
        Err(error @ (StoreError::Gone | StoreError::Corrupt(_))) => {
            static UNREAD: Repeated = Repeated::new();
            if let Some(unsaid) = UNREAD.due(error.to_string()) {
                tracing::error!(%error, unsaid, "the message reported on cannot be read");
            }
            Ok(Original::default())
        }
        other => other,
    }
}
