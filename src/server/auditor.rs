//! What the audit log tells of that changes nothing in the store: logins. They are gathered for a
//! moment and written together, so that a login costs no write of its own. Those of the last moment
//! before a power cut may be lost; what a session does is not, and names user and session again.

use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, OnceLock, PoisonError};
use std::time::Duration;

use tokio::sync::Notify;

use super::Shared;
use crate::mail::id::Timestamp;
use crate::store::Store;
use crate::store::audit::{Deed, Note, Presence};
use crate::store::change::{Actor, Change, Transaction};

/// For how long logins are gathered.
const GATHER: Duration = Duration::from_secs(1);
/// How long the store is left alone when it did not take them.
const PAUSE: Duration = Duration::from_secs(5);
/// Most that wait while the store does not take them; the oldest go first, and the log says so.
pub const WAITING_MAX: usize = 10_000;

/// A name for a session that is used once.
pub(super) fn session_id(now: Timestamp) -> String {
    static NEXT: AtomicU64 = AtomicU64::new(0);
    static PROCESS: OnceLock<u64> = OnceLock::new();
    // two nodes may count to the same number in the same second
    let process = PROCESS.get_or_init(|| super::queue::entropy() & 0xff_ffff);
    format!("{:x}.{process:06x}.{:x}", now.seconds(), NEXT.fetch_add(1, Ordering::Relaxed))
}

/// Gathers what is to be written.
#[derive(Default)]
pub struct Auditor {
    waiting: Mutex<Vec<Note>>,
    wake: Notify,
}

impl Auditor {
    /// Somebody has logged in, by a protocol.
    pub fn login(&self, presence: &Presence, protocol: &str, now: Timestamp) {
        let detail = Some(protocol.to_owned());
        let earlier = Some((presence.by(), now));
        self.tell(Note { detail, earlier, ..Note::new(Deed::Login) });
    }

    fn tell(&self, note: Note) {
        let mut waiting = self.waiting();
        if waiting.len() >= WAITING_MAX {
            waiting.remove(0);
            tracing::error!("a login is not in the audit log: the store does not take it");
        }
        waiting.push(note);
        drop(waiting);
        self.wake.notify_one();
    }

    /// Writes what waits, now; whether nothing waits any more.
    pub async fn flush(&self, store: &dyn Store) -> bool {
        let notes = std::mem::take(&mut *self.waiting());
        if notes.is_empty() {
            return true;
        }
        let changes = notes.iter().map(|note| Change::Noted(Box::new(note.clone()))).collect();
        let transaction = Transaction { actor: Actor::System, changes };
        if let Err(error) = store.commit(transaction).await {
            tracing::error!(%error, "logins are not in the audit log yet");
            self.put_back(notes);
            return false;
        }
        true
    }

    fn put_back(&self, mut notes: Vec<Note>) {
        let mut waiting = self.waiting();
        notes.append(&mut waiting);
        let too_many = notes.len().saturating_sub(WAITING_MAX);
        if too_many > 0 {
            tracing::error!(count = too_many, "logins are not in the audit log: too many wait");
        }
        notes.drain(..too_many);
        *waiting = notes;
    }

    fn waiting(&self) -> MutexGuard<'_, Vec<Note>> {
        self.waiting.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Writes what waits until the daemon stops; who stops it writes the rest.
pub(super) async fn run(shared: Arc<Shared>) {
    let mut shutdown = shared.shutdown.clone();
    loop {
        tokio::select! {
            () = shared.auditor.wake.notified() => {}
            _ = shutdown.wait_for(|stop| *stop) => return,
        }
        let mut pause = GATHER;
        loop {
            tokio::select! {
                () = tokio::time::sleep(pause) => {}
                _ = shutdown.wait_for(|stop| *stop) => return,
            }
            if shared.auditor.flush(&*shared.store).await {
                break;
            }
            pause = PAUSE;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::mail::id::Login;
    use crate::store::audit::{Entry, EntryId};
    use crate::store::memory::Memory;
    use crate::sys::ManualClock;

    fn anna() -> Presence {
        Presence::new(Login::new("anna"), "s1".into(), [192, 0, 2, 7].into())
    }

    async fn entries(store: &Memory) -> Vec<Entry> {
        let records = store.audited(EntryId(1), Timestamp(0), usize::MAX).await;
        let records = records.expect("answers").into_iter();
        records.filter_map(|record| Entry::parse(&record.text)).collect()
    }

    #[tokio::test]
    async fn logins_are_written_together_and_say_when_they_were() {
        let store = Memory::new(Arc::new(ManualClock::default()));
        let auditor = Auditor::default();
        auditor.login(&anna(), "imap", Timestamp(5));
        auditor.login(&anna(), "submission", Timestamp(6));
        assert_eq!(entries(&store).await, []);
        auditor.flush(&store).await;
        auditor.flush(&store).await;
        let entries = entries(&store).await;
        let told: Vec<_> = entries.iter().map(|e| (e.at.0, e.detail.as_deref())).collect();
        assert_eq!(told, [(5, Some("imap")), (6, Some("submission"))]);
        assert!(entries.iter().all(|entry| entry.by == anna().by() && entry.deed == Deed::Login));
    }

    #[test]
    fn a_limited_number_of_logins_waits() {
        let auditor = Auditor::default();
        for n in 0..=WAITING_MAX as i64 {
            auditor.login(&anna(), "imap", Timestamp(n));
        }
        assert_eq!(auditor.waiting().len(), WAITING_MAX);
        let late = auditor.waiting().clone();
        auditor.put_back(vec![Note::new(Deed::Login), late[0].clone()]);
        assert_eq!(*auditor.waiting(), late, "the oldest go first");
    }
}
