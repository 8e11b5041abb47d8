//! The directory of this moment: what the file declares, or what is published where several nodes
//! work on one store, and over it what SETACL granted. Sessions
//! watch it; a new one is shown to them only when its folders exist. Knows no protocol.
//!
//! A reload is asked for at any moment, also in the middle of somebody's writing. So the file must
//! stand still while it is read, and one without users is refused: it would log everybody out.

use std::collections::BTreeSet;
use std::path::Path;
use std::sync::Arc;

use tokio::sync::watch;

use super::access::{self, Granted};
use super::duty::Post;
use super::published::Publisher;
use super::{folders, openings, steady};
use crate::directory::Directory;
use crate::directory::file;
use crate::directory::source::Fault;
use crate::mail::account::Account;
use crate::mail::id::Login;
use crate::store::change::Grant;
use crate::store::nodes::Published;
use crate::store::{Store, StoreError};

/// The directory, and who is told when it changes.
pub(super) struct Declared {
    store: Arc<dyn Store>,
    declared: Directory,
    grants: Arc<Vec<Grant>>,
    openings: Openings,
    present: watch::Sender<Arc<Directory>>,
    /// Who tells the audit log of access that has changed.
    upkeep: Post,
    /// What was taken, or refused, of what is published.
    taken: Option<Arc<Published>>,
}

impl Declared {
    /// Makes the folders of `declared` and shows it from now on.
    pub(super) async fn new(
        store: Arc<dyn Store>,
        declared: Directory,
        upkeep: Post,
    ) -> Result<Declared, StoreError> {
        let (grants, openings) = (store.grants(), open(&*store));
        let present = with_grants(&declared, &grants).with_openings(openings.clone());
        folders::ensure(&*store, &present).await?;
        let under = upkeep.present();
        let fence = under.fence();
        let told = match under.may_begin() {
            true => access::tell(&*store, &present, (&Granted::new(), fence.as_ref())).await,
            false => Err(StoreError::Outrun),
        };
        match told {
            // who has the duty tells it, or this node once it has
            Err(StoreError::Outrun) => {}
            // a full disk must not keep the daemon down; the next start tells it
            Err(error @ StoreError::NoSpace(_)) => {
                tracing::error!(%error, "who was given access is not in the audit log yet");
            }
            told => drop(told?),
        }
        let present = watch::Sender::new(Arc::new(present));
        let taken = store.directory();
        Ok(Declared { store, declared, grants, openings, present, upkeep, taken })
    }

    /// Follows every change.
    pub(super) fn watch(&self) -> watch::Receiver<Arc<Directory>> {
        self.present.subscribe()
    }

    /// Publishes the directory in the publisher's file, if it is to be, and takes what is
    /// published. At faults, each of which is logged, the old one stays.
    pub(super) async fn republish(&mut self, by: Publisher<'_>) -> Result<(), StoreError> {
        let faults = match steady::load(by.file, file::load_with_text).await {
            Ok((directory, text)) => match by.publish(&directory, text).await? {
                Ok(()) => return self.take_published(by).await,
                Err(fault) => vec![fault],
            },
            Err(faults) => faults,
        };
        refuse(&faults);
        Ok(())
    }

    /// Takes what is published. At faults, each of which is logged, the old one stays.
    pub(super) async fn take_published(&mut self, by: Publisher<'_>) -> Result<(), StoreError> {
        let Some(published) = self.store.directory() else { return Ok(()) };
        match by.parse(&published) {
            Ok(declared) => self.take(declared).await?,
            Err(faults) => refuse(&faults),
        }
        self.taken = Some(published);
        Ok(())
    }

    /// Whether another directory is published than was looked at last.
    pub(super) fn is_outdated(&self) -> bool {
        self.store.directory() != self.taken
    }

    /// Takes the directory in `path`. At faults, each of which is logged, the old one stays.
    pub(super) async fn reload(&mut self, path: &Path) -> Result<(), StoreError> {
        match steady::load(path, file::load).await {
            Ok(declared) if declared.users.is_empty() && !self.declared.users.is_empty() => {
                tracing::error!(
                    file = %path.display(),
                    "new directory refused, the old one stays: it has no users, so it would log \
                     everybody out; if it was being written, reload again, and if you mean it, \
                     restart"
                );
                Ok(())
            }
            Ok(declared) => self.take(declared).await,
            Err(faults) => {
                refuse(&faults);
                Ok(())
            }
        }
    }

    async fn take(&mut self, declared: Directory) -> Result<(), StoreError> {
        for warning in &declared.warnings {
            tracing::warn!(%warning, "not as it should be");
        }
        let old = std::mem::replace(&mut self.declared, declared);
        let shown = self.show().await;
        if shown.is_err() {
            self.declared = old;
        }
        shown
    }

    /// Takes the store's grants, and which mailboxes are open to whom, if that has changed.
    pub(super) async fn take_grants(&mut self) -> Result<(), StoreError> {
        if *self.store.grants() == *self.grants && open(&*self.store) == self.openings {
            return Ok(());
        }
        self.show().await
    }

    async fn show(&mut self) -> Result<(), StoreError> {
        let (grants, openings) = (self.store.grants(), open(&*self.store));
        let present = with_grants(&self.declared, &grants).with_openings(openings.clone());
        let made = folders::ensure(&*self.store, &present).await?;
        let granted = regranted(&self.grants, &grants);
        tracing::info!(
            users = present.users.len(),
            inboxes = present.inboxes.len(),
            channels = present.channels.len(),
            grants = grants.len(),
            folders_made = made,
            "directory in force"
        );
        (self.grants, self.openings) = (grants, openings);
        self.present.send_replace(Arc::new(present));
        // what is taken away is taken, though the disk has no room for telling it
        self.tell(&granted).await;
        Ok(())
    }

    /// This node tells from now on: also what was not told when another one stopped.
    pub(super) async fn take_duty(&self) {
        self.tell(&Granted::new()).await;
    }

    async fn tell(&self, granted: &Granted) {
        let (present, under) = (self.present.borrow().clone(), self.upkeep.present());
        if !under.may_begin() {
            return;
        }
        let fence = under.fence();
        let told = access::tell(&*self.store, &present, (granted, fence.as_ref())).await;
        if let Err(error) = told {
            tracing::error!(%error, "who was given access is not in the audit log yet");
        }
    }
}

fn refuse(faults: &[Fault]) {
    for fault in faults {
        tracing::error!(%fault, "new directory refused, the old one stays");
    }
}

/// Who may read whose mailbox at this moment.
type Openings = BTreeSet<(Login, Login)>;

fn open(store: &dyn Store) -> Openings {
    let (openings, now) = (store.openings(), store.now());
    let open = openings.iter().filter(|opening| openings::is_open(opening, now));
    open.map(|opening| (opening.user.clone(), opening.of.clone())).collect()
}

/// Whom SETACL has given or taken something, between two states of the grants.
fn regranted(before: &[Grant], now: &[Grant]) -> Granted {
    let other = |all: &'_ [Grant], others: &'_ [Grant]| -> Vec<(Account, Login)> {
        let changed = all.iter().filter(|grant| !others.contains(grant));
        changed.map(|grant| (grant.account.clone(), grant.user.clone())).collect()
    };
    other(before, now).into_iter().chain(other(now, before)).collect()
}

fn with_grants(declared: &Directory, grants: &[Grant]) -> Directory {
    declared.with_grants(grants.iter().map(|g| (&g.account, &g.user, g.rights.as_deref())))
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::Ordering;

    use super::*;
    use crate::server::login::cache::Key;
    use crate::server::queue::fake::{FullableStore, Shelf};
    use crate::store::nodes::Duty;
    use crate::sys::ManualClock;

    const DIRECTORY: &str = r#"
[[domain]]
name = "example.org"
[[user]]
login = "anna"
name = "Anna"
password = "$2b$04$abcdefghijklmnopqrstuuWkMVwbmqUjJ2y.fJjWT7u0E2FVBTyuu"
[[user]]
login = "ben"
name = "Ben"
password = "$2b$04$abcdefghijklmnopqrstuuWkMVwbmqUjJ2y.fJjWT7u0E2FVBTyuu"
[[inbox]]
name = "Support"
addresses = ["support@example.org"]
users = ["anna", "ben"]
"#;

    #[tokio::test]
    async fn what_is_taken_away_is_taken_though_the_disk_is_full() {
        let store = FullableStore::new(Arc::new(ManualClock::default()));
        let file = std::env::temp_dir().join(format!("postfach-taken-{}.toml", std::process::id()));
        let parsed = |text: &str| file::parse(text, &file).expect("valid");
        let mut declared =
            Declared::new(store.clone(), parsed(DIRECTORY), Post::always(Duty::Upkeep))
                .await
                .expect("made");
        let watch = declared.watch();
        store.is_full.store(true, Ordering::SeqCst);
        let less = DIRECTORY.replace("users = [\"anna\", \"ben\"]", "users = [\"anna\"]");
        std::fs::write(&file, less).expect("written");
        declared.reload(&file).await.expect("in force");
        let support = Account::Inbox("Support".into());
        let rights =
            |login| crate::directory::rights(&watch.borrow(), &Login::new(login), &support);
        assert!(rights("anna").has('r') && !rights("ben").has('r'));
        std::fs::remove_file(&file).expect("removed");
    }

    #[tokio::test]
    async fn what_is_published_is_taken_by_all_nodes_and_later_by_one_that_was_cut_off() {
        let first = FullableStore::new(Arc::new(ManualClock::default()));
        let shelf = Arc::new(Shelf::default());
        let (one, two) = (first.node(&shelf, 1), first.node(&shelf, 2));
        let file = std::env::temp_dir().join(format!("postfach-all-{}.toml", std::process::id()));
        let parsed = |text: &str| file::parse(text, &file).expect("valid");
        let post = || Post::always(Duty::Upkeep);
        let less = DIRECTORY.replace("users = [\"anna\", \"ben\"]", "users = [\"anna\"]");
        let nobody = crate::directory::password::NOBODY;
        let more = format!("{less}[[user]]\nlogin = \"carla\"\npassword = \"{nobody}\"\n");
        let mut declared =
            Declared::new(two.clone(), parsed(DIRECTORY), post()).await.expect("made");
        let watch = declared.watch();
        std::fs::write(&file, &more).expect("written");
        let salts = Key([0; 32]);
        let publisher = |store| Publisher { store, file: &file, host: "one", salts: &salts };
        let published = publisher(&*one).publish(&parsed(&more), more.clone()).await;
        published.expect("answers").expect("no fault");
        assert!(declared.is_outdated());
        two.cut_off(true);
        assert!(declared.take_published(publisher(&*two)).await.is_err(), "carla needs folders");
        assert!(declared.is_outdated(), "so it is tried again");
        two.cut_off(false);
        declared.take_published(publisher(&*two)).await.expect("in force");
        assert!(!declared.is_outdated());
        let support = Account::Inbox("Support".into());
        assert!(crate::directory::rights(&watch.borrow(), &Login::new("ben"), &support).is_none());
        assert!(watch.borrow().users.contains_key(&Login::new("carla")));
        std::fs::remove_file(&file).expect("removed");
    }
}
