//! What an answer means for the conversation that it continues: whether a colleague's stands in its
//! way, and that who answers a conversation that nobody has, has it.

use std::collections::BTreeMap;

use super::{Plan, Submitter};
use crate::conversation::collision::{self, Answer};
use crate::conversation::gathering::{self, Arrived};
use crate::conversation::moving::{self, Target};
use crate::conversation::thread::{Header, Thread};
use crate::conversation::{Scope, State};
use crate::delivery::Refused;
use crate::directory::{CollisionGuard, Moves};
use crate::mail::account::{Account, Folder, FolderRole};
use crate::mail::date;
use crate::mail::id::{Login, MailboxId, ModSeq, Timestamp};
use crate::mail::message::Parsed;
use crate::mail::uid_set::UidSet;
use crate::smtp::Reply;
use crate::store::StoreError;
use crate::store::change::{Actor, Change, Outcome, Transaction};

/// An answer and the conversation that it continues.
pub(super) struct Claim {
    header: Header,
    thread: Thread,
    /// The Message-ID of what it answers.
    answered: Option<String>,
}

/// The conversation that a message continues, if it is an answer sent as an inbox or a channel.
pub(super) async fn of(
    by: &Submitter<'_>,
    plan: &Plan,
    message: &Parsed,
) -> Result<Option<Claim>, StoreError> {
    let is_personal = matches!(plan.account, Account::User(_));
    if is_personal || !plan.notes.is_empty() || !plan.referred.is_answer() {
        return Ok(None);
    }
    let scope = scope(by, plan);
    let header = Header::of(&scope, &message.envelope);
    let thread = Thread::with(&scope, header.clone()).await?;
    let answered = message.envelope.answered_id();
    Ok((!thread.messages.is_empty()).then_some(Claim { header, thread, answered }))
}

/// What is claimed, and by what state of Sent it was looked at whether a colleague has answered:
/// where other nodes store answers, too, it holds only as long as that is the last one.
pub(super) struct Guarded {
    pub(super) claim: Option<Claim>,
    looked_at: Option<(MailboxId, ModSeq)>,
}

impl Guarded {
    /// Looks, and refuses an answer whose sender does not know that a colleague has answered.
    pub(super) async fn of(
        by: &Submitter<'_>,
        plan: &Plan,
        (message, now): (&Parsed, Timestamp),
    ) -> Result<Guarded, Refused> {
        let looked_at = match by.store.is_shared() {
            true => sent(by, plan).await?,
            false => None,
        };
        let claim = of(by, plan, message).await?;
        if let Some(claim) = &claim {
            claim.guard(by, plan, now).await?;
        }
        let looked_at = looked_at.filter(|_| claim.is_some());
        Ok(Guarded { claim, looked_at })
    }

    /// What the transaction depends on.
    pub(super) fn expected(&self) -> Option<Change> {
        self.looked_at.map(|(mailbox, modseq)| Change::Expected { mailbox, modseq })
    }

    /// Whether something was stored in Sent since.
    pub(super) async fn is_outdated(&self, by: &Submitter<'_>, plan: &Plan) -> bool {
        self.looked_at.is_some() && !sent(by, plan).await.is_ok_and(|now| now == self.looked_at)
    }
}

async fn sent(by: &Submitter<'_>, plan: &Plan) -> Result<Option<(MailboxId, ModSeq)>, StoreError> {
    let sent = by.store.find(&plan.account, &Folder::role(FolderRole::Sent));
    let Some(sent) = sent else { return Ok(None) };
    Ok(Some((sent.id, by.store.snapshot(sent.id).await?.highest_modseq)))
}

impl Claim {
    /// Refuses an answer whose sender does not know that a colleague has answered.
    pub(super) async fn guard(
        &self,
        by: &Submitter<'_>,
        plan: &Plan,
        now: Timestamp,
    ) -> Result<(), Refused> {
        let policy = by.directory.policy(&plan.account);
        let guard = policy.map_or(CollisionGuard::Off, |policy| policy.collision);
        if guard == CollisionGuard::Off {
            return Ok(());
        }
        let conversation = (&self.thread, &self.header);
        let unknown = collision::unknown_answer(&scope(by, plan), conversation, by.user).await?;
        let Some(answer) = unknown else { return Ok(()) };
        match lets_through(by, guard, &answer).await? {
            true => Ok(()),
            false => Err(Refused::Policy(answered(by, &answer, (guard, now)))),
        }
    }

    /// Gives a conversation that nobody has to the sender.
    pub(super) async fn assign(
        &self,
        by: &Submitter<'_>,
        plan: &Plan,
    ) -> Result<Vec<Change>, StoreError> {
        let scope = scope(by, plan);
        let Some(policy) = by.directory.policy(&plan.account) else { return Ok(Vec::new()) };
        let states = self.thread.states(&scope);
        let is_open = states.first().is_some_and(|(state, _)| *state == State::Open);
        let is_theirs = is_open && by.directory.works_in(by.user, &plan.account);
        let state = State::Assigned(by.user.clone());
        let mailbox = by.store.find(&plan.account, &state.folder());
        let Some(mailbox) = mailbox.filter(|_| policy.answering_assigns && is_theirs) else {
            return Ok(Vec::new());
        };
        let groups: Vec<_> = self.open(&scope, policy.conversation).into_iter().collect();
        let target = Target { state, mailbox: mailbox.id, user: by.user.clone() };
        moving::changes(&scope, &groups, &target).await
    }

    /// What nobody has: of the conversation, or of the message answered alone.
    fn open(&self, scope: &Scope<'_>, moves: Moves) -> BTreeMap<MailboxId, UidSet> {
        let is_answered = |id: Option<&str>| id.is_some() && id == self.answered.as_deref();
        let goes = |id| moves == Moves::Together || is_answered(id);
        let messages = self.thread.messages.iter().filter(|m| goes(m.header.message_id()));
        let mut open: BTreeMap<MailboxId, UidSet> = BTreeMap::new();
        for place in messages.flat_map(|message| &message.places) {
            if State::of(scope.account, &place.folder) == Some(State::Open) {
                open.entry(place.mailbox).or_default().insert(place.uid);
            }
        }
        open
    }
}

/// Whether a message may leave though `answer` is there. Who is refused is told by that, and may
/// send again: by way of any node.
async fn lets_through(
    by: &Submitter<'_>,
    guard: CollisionGuard,
    answer: &Answer,
) -> Result<bool, StoreError> {
    match guard {
        CollisionGuard::Off => Ok(true),
        CollisionGuard::Reject => Ok(false),
        CollisionGuard::Warn => {
            let told = Change::Once { key: warning(by.user, answer), secs: collision::TOLD_SECS };
            let actor = Actor::Session(by.presence.clone());
            let receipt = by.store.commit(Transaction { actor, changes: vec![told] }).await?;
            Ok(receipt.outcomes.contains(&Outcome::Duplicate))
        }
    }
}

/// The same whenever this user is warned of this answer.
fn warning(user: &Login, answer: &Answer) -> [u8; 32] {
    let mut hasher = blake3::Hasher::new();
    hasher.update(b"warned of an answer\0");
    hasher.update(&answer.blob.0.to_le_bytes());
    hasher.update(user.as_str().as_bytes());
    *hasher.finalize().as_bytes()
}

/// Brings along what has come for the conversations that an answer has assigned. The answer has
/// left, so that nothing fails with this.
pub(super) async fn gather(by: &Submitter<'_>, arrived: &Arrived) {
    for (mailbox, uids) in arrived {
        for _ in 0..gathering::LOOKS_MAX {
            let world = (by.store, by.directory);
            let behind = gathering::changes(world, (*mailbox, uids), by.user).await;
            let Some(changes) = behind.ok().filter(|changes| !changes.is_empty()) else { break };
            let actor = Actor::Session(by.presence.clone());
            match by.store.commit(Transaction { actor, changes }).await {
                Ok(_) | Err(StoreError::Outrun) => {}
                Err(_) => break,
            }
        }
    }
}

fn scope<'a>(by: &Submitter<'a>, plan: &'a Plan) -> Scope<'a> {
    Scope { store: by.store, directory: by.directory, account: &plan.account }
}

/// Names who has answered and when, as a mail program shows it.
fn answered(
    by: &Submitter<'_>,
    answer: &Answer,
    (guard, now): (CollisionGuard, Timestamp),
) -> Reply {
    let name = by.directory.users.get(&answer.by).map(|user| user.name.as_str());
    // RFC 6531 §3.7.4.2: replies are ASCII, unless the client asked for more
    let is_plain = |name: &&str| name.bytes().all(|b| b == b' ' || b.is_ascii_graphic());
    let name = name.filter(|name| !name.is_empty()).filter(is_plain);
    let login = answer.by.as_str();
    let who = name.or(Some(login).filter(is_plain)).unwrap_or("A colleague");
    let when = when(answer.at, now);
    let remedy = match guard {
        CollisionGuard::Reject => "read that answer and answer it instead",
        CollisionGuard::Off | CollisionGuard::Warn => "send again to send anyway",
    };
    Reply::new(550, "5.7.1", format!("{who} answered {when}; {remedy}"))
}

/// The time, and the day if it is another one.
fn when(at: Timestamp, now: Timestamp) -> String {
    let day_and_time = |time: Timestamp| {
        let text = date::rfc5322(time);
        let words: Vec<&str> = text.split(' ').collect();
        let time = words.get(4).and_then(|time| time.get(..5)).unwrap_or_default().to_owned();
        (words.get(1..4).unwrap_or_default().join(" "), time)
    };
    let ((day, time), (today, _)) = (day_and_time(at), day_and_time(now));
    match day == today {
        true => format!("at {time} (UTC)"),
        false => format!("on {day} at {time} (UTC)"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn another_day_is_named() {
        let at = |seconds| Timestamp::from_seconds(seconds);
        assert_eq!(when(at(43_440), at(50_000)), "at 12:04 (UTC)");
        assert_eq!(when(at(43_440), at(90_000)), "on 1 Jan 1970 at 12:04 (UTC)");
    }
}
