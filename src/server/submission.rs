//! What a logged-in user submits, from the spool to the answer: plan, header, signature, commit.
//! Decides nothing about who may send what: that is `delivery::submission`.

use super::Shared;
use super::spool::{self, SpoolError, Spooled};
use crate::delivery::submission::{self, Outgoing, Plan, Submitter};
use crate::delivery::{Accepted, Content, Envelope, Refused};
use crate::mail::id::Login;
use crate::mail::transport::Body;

/// What went wrong on the way.
pub(super) enum Failed {
    /// The message is refused.
    Refused(Refused),
    /// It could not be kept while it was changed.
    Spool(SpoolError),
}

impl From<Refused> for Failed {
    fn from(refused: Refused) -> Failed {
        Failed::Refused(refused)
    }
}

impl From<SpoolError> for Failed {
    fn from(error: SpoolError) -> Failed {
        Failed::Spool(error)
    }
}

/// Takes responsibility for a message. When it answers `Accepted`, everything is durable.
pub(super) async fn submit(
    shared: &Shared,
    user: &Login,
    envelope: &Envelope,
    mut spooled: Spooled,
) -> Result<Accepted, Failed> {
    let directory = shared.directory.borrow().clone();
    let by = Submitter { store: &*shared.store, directory: &directory, user };
    let plan = submission::plan(&by, envelope, content(&spooled)).await?;
    if let Some(header) = &plan.header {
        spooled = spooled.with_header(header, spool::folder(&shared.config.data_dir)).await?;
    }
    let outgoing = Outgoing {
        signatures: signatures(shared, &plan, &spooled).await?,
        body: if spooled.is_ascii().await? { Body::SevenBit } else { Body::EightBitMime },
    };
    Ok(submission::submit(&by, envelope, &plan, (content(&spooled), outgoing)).await?)
}

fn content(spooled: &Spooled) -> Content<'_> {
    Content { message: spooled.message(), head: spooled.head() }
}
