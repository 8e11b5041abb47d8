//! The directory of this moment: what the file declares, and over it what SETACL granted. Sessions
//! watch it; a new one is shown to them only when its folders exist. Knows no protocol.
//!
//! A reload is asked for at any moment, also in the middle of somebody's writing. So the file must
//! stand still while it is read, and one without users is refused: it would log everybody out.

use std::path::Path;
use std::sync::Arc;

use tokio::sync::watch;

use super::access::{self, Granted};
use super::{folders, steady};
use crate::directory::Directory;
use crate::directory::file;
use crate::mail::account::Account;
use crate::mail::id::Login;
use crate::store::change::Grant;
use crate::store::{Store, StoreError};

/// The directory, and who is told when it changes.
pub(super) struct Declared {
    store: Arc<dyn Store>,
    declared: Directory,
    grants: Arc<Vec<Grant>>,
    present: watch::Sender<Arc<Directory>>,
}

impl Declared {
    /// Makes the folders of `declared` and shows it from now on.
    pub(super) async fn new(
        store: Arc<dyn Store>,
        declared: Directory,
    ) -> Result<Declared, StoreError> {
        let grants = store.grants();
        let present = with_grants(&declared, &grants);
        folders::ensure(&*store, &present).await?;
        match access::tell(&*store, &present, &Granted::new()).await {
            // a full disk must not keep the daemon down; the next start tells it
            Err(error @ StoreError::NoSpace(_)) => {
                tracing::error!(%error, "who was given access is not in the audit log yet");
            }
            told => drop(told?),
        }
        let present = watch::Sender::new(Arc::new(present));
        Ok(Declared { store, declared, grants, present })
    }

    /// Follows every change.
    pub(super) fn watch(&self) -> watch::Receiver<Arc<Directory>> {
        self.present.subscribe()
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
            Ok(declared) => {
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
            Err(faults) => {
                for fault in faults {
                    tracing::error!(%fault, "new directory refused, the old one stays");
                }
                Ok(())
            }
        }
    }

    /// Takes the store's grants, if they have changed.
    pub(super) async fn take_grants(&mut self) -> Result<(), StoreError> {
        if *self.store.grants() == *self.grants {
            return Ok(());
        }
        self.show().await
    }

    async fn show(&mut self) -> Result<(), StoreError> {
        let grants = self.store.grants();
        let present = with_grants(&self.declared, &grants);
        let made = folders::ensure(&*self.store, &present).await?;
        let granted = regranted(&self.grants, &grants);
        access::tell(&*self.store, &present, &granted).await?;
        tracing::info!(
            users = present.users.len(),
            inboxes = present.inboxes.len(),
            channels = present.channels.len(),
            grants = grants.len(),
            folders_made = made,
            "directory in force"
        );
        self.grants = grants;
        self.present.send_replace(Arc::new(present));
        Ok(())
    }
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
