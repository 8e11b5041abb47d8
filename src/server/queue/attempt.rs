//! One message on one way: its due recipients are brought to one server after the other, until each
//! has a fate.

use tokio::time::Instant;

use super::settle::{self, Settled};
use super::{Attempt, Errand, Office, Reach};
use crate::mail::id::QueueId;
use crate::outbound::Hop;
use crate::outbound::plan::due;
use crate::outbound::routes::Route;
use crate::outbound::schedule::{Case, Judgement};
use crate::server::relay::{ATTEMPT_TIME_MAX, Reach as HopReach};
use crate::smtp::client::{Fate, Mail, MailRecipient, RECIPIENTS_PER_MAIL_MAX, Told};
use crate::store::queue::{Queued, QueuedRecipient};

/// Servers of one destination that are talked to in one attempt; others are tried only while none
/// answers. RFC 5321 §5.1
const SESSIONS_MAX: usize = 2;

/// Tries to deliver what is due.
pub(super) async fn run(office: &Office, id: QueueId, route: &Route) -> Reach {
    let Some(queued) = office.store.queued(id) else { return Reach::Unknown };
    let now = office.clock.now();
    let routes = &office.settings.routes;
    let recipients: Vec<&QueuedRecipient> = due(&queued, routes, (route, now)).collect();
    if *route == Route::Report {
        let judged =
            |recipient| Some(Settled { recipient, judgement: Judgement::owed(recipient)? });
        settle::settle(office, &queued, recipients.into_iter().filter_map(judged).collect()).await;
        return Reach::Unknown;
    }
    let mut reach = Reach::Unknown;
    let began = Instant::now();
    // What has been delivered is stored before more is.
    for some in recipients.chunks(RECIPIENTS_PER_MAIL_MAX) {
        if !office.under.may_begin() {
            break;
        }
        let fates = match &reach {
            Reach::Unreachable(told) => vec![Fate::Deferred(told.clone()); some.len()],
            _ if began.elapsed() >= ATTEMPT_TIME_MAX => {
                vec![Fate::Deferred(too_slow()); some.len()]
            }
            Reach::Reached | Reach::Unknown => {
                let (fates, found) = deliver(office, &queued, (route, some)).await;
                reach = found;
                fates
            }
        };
        let policy = &office.settings.retry;
        let judged = some.iter().zip(fates).map(|(recipient, fate)| {
            tell(route, &fate);
            let case = Case { envelope: &queued.envelope, recipient, policy };
            Settled { recipient, judgement: case.judge(fate, office.moment()) }
        });
        settle::settle(office, &queued, judged.collect()).await;
    }
    reach
}

/// Tells the sender what has to be told of recipients that wait for a destination.
pub(super) async fn overdue(office: &Office, id: QueueId, (route, told): (&Route, Told)) -> Reach {
    let Some(queued) = office.store.queued(id) else { return Reach::Unknown };
    let now = office.clock.now();
    let policy = &office.settings.retry;
    let judged = due(&queued, &office.settings.routes, (route, now)).map(|recipient| {
        let case = Case { envelope: &queued.envelope, recipient, policy };
        Settled { recipient, judgement: case.overdue(told.clone(), now) }
    });
    settle::settle(office, &queued, judged.collect()).await;
    Reach::Unknown
}

/// A fate for each recipient, and whether any server was reached.
async fn deliver(
    office: &Office,
    queued: &Queued,
    (route, recipients): (&Route, &[&QueuedRecipient]),
) -> (Vec<Fate>, Reach) {
    let hops = match office.transport.hops(route, super::entropy()).await {
        Ok(hops) => hops,
        Err(fate) => {
            let reach = match &fate {
                Fate::Deferred(told) => Reach::Unreachable(told.clone()),
                Fate::Delivered(_) | Fate::Failed(_) => Reach::Unknown,
            };
            return (vec![fate; recipients.len()], reach);
        }
    };
    if !office.under.may_begin() {
        // the lease ran short while they were looked up: nothing was tried
        return (Vec::new(), Reach::Unknown);
    }
    let none = Route::told("4.4.1", "there is no server to try");
    let mut fates = vec![Fate::Deferred(none.clone()); recipients.len()];
    let mut reach = Reach::Unreachable(none);
    let mut open: Vec<usize> = (0..recipients.len()).collect();
    let mut sessions = 0;
    let began = Instant::now();
    for hop in &hops {
        if began.elapsed() >= ATTEMPT_TIME_MAX || !office.under.may_begin() {
            break;
        }
        let some: Vec<&QueuedRecipient> = open.iter().map(|at| recipients[*at]).collect();
        let Attempt { fates: told, reach: served } = talk(office, (hop, queued), &some).await;
        match (served, told.first()) {
            (HopReach::Served, _) => (sessions, reach) = (sessions + 1, Reach::Reached),
            (HopReach::Unserved, Some(fate)) if sessions == 0 => {
                reach = Reach::Unreachable(said(fate).clone());
            }
            (HopReach::Unserved, _) => {}
        }
        for (at, fate) in open.iter().zip(told) {
            fates[*at] = fate;
        }
        open.retain(|at| may_try_another(&fates[*at], served));
        if open.is_empty() || sessions >= SESSIONS_MAX {
            break;
        }
    }
    (fates, reach)
}

async fn talk(
    office: &Office,
    (hop, queued): (&Hop, &Queued),
    recipients: &[&QueuedRecipient],
) -> Attempt {
    let envelope = &queued.envelope;
    let recipient = |recipient: &&QueuedRecipient| MailRecipient {
        address: recipient.address.clone(),
        notify: recipient.notify,
        orcpt: recipient.orcpt.clone(),
    };
    let mail = Mail {
        reverse_path: envelope.reverse_path.clone(),
        recipients: recipients.iter().map(recipient).collect(),
        envid: envelope.envid.clone(),
        ret: envelope.ret,
        body: envelope.body,
        smtputf8: envelope.smtputf8,
        size_bytes: queued.size_bytes,
    };
    office.transport.attempt(hop, &mail, Errand { queued, under: &office.under }).await
}

/// Whether the next server may be asked at once. Not when this one was lost without a word while it
/// had the mail: it may have taken it. RFC 1047
fn may_try_another(fate: &Fate, served: HopReach) -> bool {
    let is_safe = |told: &Told| served == HopReach::Unserved || told.is_reply;
    matches!(fate, Fate::Deferred(told) if is_safe(told))
}

/// What is told of recipients for whom no time was left.
fn too_slow() -> Told {
    Route::told("4.4.2", "the servers took too long with others: not tried in this attempt")
}

fn said(fate: &Fate) -> &Told {
    let (Fate::Delivered(told) | Fate::Deferred(told) | Fate::Failed(told)) = fate;
    told
}

fn tell(route: &Route, fate: &Fate) {
    let told = said(fate);
    let (by, status) = (&told.by, &told.status);
    match fate {
        Fate::Delivered(_) => tracing::info!(by, status, "delivered"),
        Fate::Deferred(_) => tracing::info!(by, status, "deferred"),
        Fate::Failed(_) => tracing::warn!(by, status, "failed"),
    }
    tracing::debug!(route = route.name(), reply = told.text, "attempt");
}
