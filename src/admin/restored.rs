//! `postfach restored`: the store was brought back from a backup. What came in since is gone, and
//! its numbers are given once more, to other messages; mail programs would take those for what they
//! know. So all mailboxes begin a new epoch, and are fetched anew. What is queued had perhaps left
//! before: it is held until somebody has looked at it.

use std::io::{self, Write};
use std::path::Path;
use std::process::ExitCode;

use super::{Outcome, to_stdout};
use crate::config;
use crate::mail::id::QueueId;
use crate::server::serve::{at_rest, on_runtime};
use crate::store::change::{Actor, Change, Transaction};
use crate::store::nodes::Duty;
use crate::store::queue::{Progress, Queued, RecipientUpdate};
use crate::store::{Store, StoreError};

/// Queued messages that are held in one transaction.
const HELD_AT_ONCE: usize = 500;

/// Carries it out, on the terminal.
pub fn run(config: &Path) -> ExitCode {
    to_stdout(|out| report(config, out))
}

/// Carries it out, and writes what was done.
pub fn report(config: &Path, out: &mut dyn Write) -> io::Result<Outcome> {
    let config = match config::load(config) {
        Ok(config) => config,
        Err(faults) => {
            faults.iter().try_for_each(|fault| writeln!(out, "fault: {fault}"))?;
            return Ok(Outcome::Refused);
        }
    };
    let done = on_runtime(at_rest(&config, async |store: &dyn Store| {
        have_duties(store).await?;
        renew(store).await?;
        let held = hold_all(store).await;
        for duty in Duty::ALL {
            store.release(duty).await?;
        }
        held
    }));
    match done {
        Ok(held) => {
            writeln!(out, "all mailboxes have a new UIDVALIDITY: mail programs fetch them anew")?;
            if held > 0 {
                writeln!(
                    out,
                    "{held} queued messages are held: they may have left before; see `postfach \
                     queue list`, then `queue release` or `queue drop` them"
                )?;
            }
            Ok(Outcome::Done)
        }
        Err(failure) => {
            writeln!(out, "{failure}")?;
            Ok(Outcome::Refused)
        }
    }
}

/// No other node works on the database, nor begins to while this goes on.
async fn have_duties(store: &dyn Store) -> Result<(), StoreError> {
    for duty in Duty::ALL {
        if !store.lease(duty).await? {
            let why = "a node works on the database: stop all nodes first (one that was killed \
                       counts for some seconds more)";
            return Err(StoreError::Unavailable(why.into()));
        }
    }
    Ok(())
}

async fn renew(store: &dyn Store) -> Result<(), StoreError> {
    commit(store, vec![Change::EpochsRenewed]).await
}

async fn hold_all(store: &dyn Store) -> Result<usize, StoreError> {
    let (mut next, mut held) = (QueueId(i64::MIN), 0);
    loop {
        let some = store.queued_from(next, HELD_AT_ONCE);
        let Some(last) = some.last() else { return Ok(held) };
        next = QueueId(last.id.0.saturating_add(1));
        held += some.len();
        have_duties(store).await?;
        commit(store, some.iter().map(|queued| on_hold(queued)).collect()).await?;
    }
}

fn on_hold(queued: &Queued) -> Change {
    let recipients = queued.recipients.iter().map(|recipient| {
        let progress = Progress { held: true, ..recipient.progress.clone() };
        (recipient.number, RecipientUpdate::Waits(progress))
    });
    Change::QueueUpdated { id: queued.id, recipients: recipients.collect() }
}

async fn commit(store: &dyn Store, changes: Vec<Change>) -> Result<(), StoreError> {
    store.commit(Transaction { actor: Actor::System, changes }).await.map(drop)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::admin::place::Place;
    use crate::mail::account::{Account, Folder};
    use crate::mail::id::{Login, UidValidity};
    use crate::server::queue::fake::new_queued;

    impl Place {
        fn told(&self) -> (Outcome, String) {
            let mut out = Vec::new();
            let outcome = report(&self.config(), &mut out).expect("writes");
            (outcome, String::from_utf8(out).expect("text"))
        }

        fn with<T>(&self, work: impl AsyncFnOnce(&dyn Store) -> Result<T, StoreError>) -> T {
            let config = config::load(&self.config()).expect("valid");
            on_runtime(at_rest(&config, work)).map_err(|e| e.to_string()).expect("done")
        }
    }

    fn epoch(store: &dyn Store) -> UidValidity {
        let anna = Account::User(Login::new("anna"));
        store.find(&anna, &Folder::root()).expect("made").uid_validity
    }

    #[test]
    fn mailboxes_begin_anew_and_what_is_queued_is_held() {
        let place = Place::new("held");
        let before = place.with(async |store: &dyn Store| {
            let account = Account::User(Login::new("anna"));
            let made = Change::MailboxCreated { account, folder: Folder::root() };
            commit(store, vec![made]).await?;
            let to = ["bob@example.net", "carol@example.net"];
            commit(store, vec![Change::Queued(Box::new(new_queued(&to, store.now())))]).await?;
            Ok(epoch(store))
        });
        let (outcome, text) = place.told();
        assert_eq!(outcome, Outcome::Done, "{text}");
        assert!(text.contains("new UIDVALIDITY"), "{text}");
        assert!(text.contains("1 queued messages are held"), "{text}");
        let (after, queued) = place
            .with(async |store: &dyn Store| Ok((epoch(store), store.queued_from(QueueId(0), 9))));
        assert!(after > before);
        assert!(queued[0].recipients.iter().all(|recipient| recipient.progress.held));
        assert_eq!(queued[0].recipients.len(), 2);
    }

    #[test]
    fn a_daemon_that_runs_is_in_the_way() {
        let place = Place::new("running");
        let config = config::load(&place.config()).expect("valid");
        // it has a runtime of its own, and so needs a thread
        let told = || std::thread::scope(|scope| scope.spawn(|| place.told()).join());
        let refused = on_runtime(at_rest(&config, async |_: &dyn Store| Ok(told())));
        let refused = refused.map_err(|e| e.to_string()).expect("done");
        let (outcome, text) = refused.expect("no panic");
        assert_eq!(outcome, Outcome::Refused);
        assert!(text.contains("another postfach works"), "{text}");
    }
}
