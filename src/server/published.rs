//! The directory where several nodes work on one store: what was taken last on any of them is in
//! the store, and in force on all. A node's own file counts when it was changed after that; an
//! older one, on a node that was left behind, does not bring back what was taken away since.
//!
//! Files that the directory names have to be on every node: a node that cannot read one keeps the
//! directory that it has, and says so.

use std::path::Path;
use std::time::{Duration, UNIX_EPOCH};

use super::login::cache::Key;
use super::serve::Failure;
use super::steady;
use crate::directory::source::Fault;
use crate::directory::{Directory, file};
use crate::mail::date::rfc3339;
use crate::mail::id::Timestamp;
use crate::store::change::{Actor, Change, Transaction};
use crate::store::nodes::Published;
use crate::store::{Store, StoreError};
use crate::sys::{Clock, SystemClock};

/// By how much a file may seem to have been written later than now.
const NOISE_MICROS: i64 = 5_000_000;

/// Who publishes.
#[derive(Clone, Copy)]
pub(super) struct Publisher<'a> {
    /// Where.
    pub(super) store: &'a dyn Store,
    /// Its file.
    pub(super) file: &'a Path,
    /// Its name.
    pub(super) host: &'a str,
    /// The key of the salts of unknown users, if it is the first.
    pub(super) salts: &'a Key,
}

impl Publisher<'_> {
    /// The directory that a node starts with.
    pub(super) async fn begin(self) -> Result<Directory, Failure> {
        let before = self.store.directory();
        if let Some(published) = before.filter(|published| !self.is_changed_since(published)) {
            self.tell_of_an_old_file(&published);
            return self.parse(&published).map_err(Failure::Declared);
        }
        let own = steady::load(self.file, file::load_with_text).await;
        let (directory, text) = own.map_err(Failure::Declared)?;
        self.publish(&directory, text).await?.map_err(|fault| Failure::Declared(vec![fault]))?;
        Ok(directory)
    }

    /// Publishes what was read of the own file, unless that is in force, or older; or says what is
    /// wrong with it.
    pub(super) async fn publish(
        self,
        directory: &Directory,
        text: String,
    ) -> Result<Result<(), Fault>, StoreError> {
        if let Some(published) = self.store.directory() {
            if published.text == text {
                return Ok(Ok(()));
            }
            if !self.is_changed_since(&published) {
                self.tell_of_an_old_file(&published);
                return Ok(Ok(()));
            }
            if directory.users.is_empty() && self.parse(&published).is_ok_and(has_users) {
                return Ok(Err(self.nobody()));
            }
        }
        let (host, salts) = (self.host.to_owned(), self.salts.0);
        let published = Published { text, at: Timestamp(0), host, salts };
        let changes = vec![Change::DirectoryPublished(Box::new(published))];
        self.store.commit(Transaction { actor: Actor::System, changes }).await?;
        tracing::info!("directory published");
        Ok(Ok(()))
    }

    /// What is published, as this node reads it.
    pub(super) fn parse(self, published: &Published) -> Result<Directory, Vec<Fault>> {
        file::parse(&published.text, self.file)
    }

    /// Whether the own file was written after that was published. When it was written stands there
    /// by this machine's clock, which may not be the store's, and may have been another one then:
    /// in doubt it was not, for it must not bring back what was taken away since.
    fn is_changed_since(self, published: &Published) -> bool {
        let now = self.store.now().0;
        let ahead = SystemClock.now().0 - now;
        modified(self.file).is_some_and(|modified| {
            let agreed = modified.0 - ahead;
            modified.0.min(agreed) > published.at.0 && agreed <= now + NOISE_MICROS
        })
    }

    fn tell_of_an_old_file(self, published: &Published) {
        let own = std::fs::read_to_string(self.file).unwrap_or_default();
        if own != published.text {
            tracing::warn!(
                file = %self.file.display(),
                published = rfc3339(published.at),
                by = published.host,
                "not in force: another directory was published later; change this file and reload \
                 to replace it"
            );
        }
    }

    fn nobody(self) -> Fault {
        Fault {
            file: self.file.to_owned(),
            line: 0,
            column: 0,
            message: "it has no users, so it would log everybody out on all nodes".into(),
            remedy: "if it was being written, reload again; leave one user in it".into(),
        }
    }
}

fn has_users(directory: Directory) -> bool {
    !directory.users.is_empty()
}

/// When a file was written last; `None`: it cannot be looked at.
pub fn modified(file: &Path) -> Option<Timestamp> {
    let modified = std::fs::metadata(file).and_then(|found| found.modified()).ok()?;
    let since: Duration = modified.duration_since(UNIX_EPOCH).ok()?;
    i64::try_from(since.as_micros()).ok().map(Timestamp)
}

#[cfg(test)]
mod tests {
    use std::path::PathBuf;
    use std::sync::Arc;

    use super::*;
    use crate::store::memory::Memory;
    use crate::sys::ManualClock;

    const SALTS: Key = Key([1; 32]);

    struct Node {
        file: PathBuf,
        host: String,
    }

    impl Node {
        fn new(name: &str) -> Node {
            let file = format!("postfach-published-{}-{name}.toml", std::process::id());
            Node { file: std::env::temp_dir().join(file), host: format!("{name}.example.org") }
        }

        fn writes(&self, users: &[&str]) {
            let user = |login: &&str| {
                let hash = crate::directory::password::NOBODY;
                format!("[[user]]\nlogin = \"{login}\"\npassword = \"{hash}\"\n")
            };
            std::fs::write(&self.file, users.iter().map(user).collect::<String>()).expect("room");
        }

        fn wrote_secs_ago(&self, secs: u64) {
            let file = std::fs::File::options().write(true).open(&self.file).expect("there");
            let then = std::time::SystemTime::now() - Duration::from_secs(secs);
            file.set_modified(then).expect("its own");
        }

        fn wrote_at(&self, at: Timestamp) {
            let file = std::fs::File::options().write(true).open(&self.file).expect("there");
            let at = UNIX_EPOCH + Duration::from_micros(at.0.unsigned_abs());
            file.set_modified(at).expect("its own");
        }

        fn publisher<'a>(&'a self, store: &'a Memory) -> Publisher<'a> {
            Publisher { store, file: &self.file, host: &self.host, salts: &SALTS }
        }
    }

    impl Drop for Node {
        fn drop(&mut self) {
            let _ = std::fs::remove_file(&self.file);
        }
    }

    fn store() -> (Arc<ManualClock>, Memory) {
        let clock = Arc::new(ManualClock::default());
        clock.set(SystemClock.now());
        (clock.clone(), Memory::new(clock))
    }

    fn users(directory: &Directory) -> Vec<&str> {
        directory.users.keys().map(|login| login.as_str()).collect()
    }

    #[tokio::test]
    async fn a_node_that_was_left_behind_takes_what_is_in_force() {
        let (_, store) = store();
        let (one, two) = (Node::new("new"), Node::new("old"));
        two.writes(&["anna", "ben"]);
        two.wrote_secs_ago(60);
        one.writes(&["anna"]);
        let begun = one.publisher(&store).begin().await.expect("valid");
        assert_eq!(users(&begun), ["anna"]);
        let begun = two.publisher(&store).begin().await.expect("the published one");
        assert_eq!(users(&begun), ["anna"]);
        assert_eq!(store.directory().expect("one").host, "new.example.org");
        let (directory, text) = file::load_with_text(&two.file).expect("valid");
        two.publisher(&store).publish(&directory, text).await.expect("answers").expect("no fault");
        assert_eq!(store.directory().expect("one").host, "new.example.org", "nor at a reload");
    }

    #[tokio::test]
    async fn a_file_that_was_changed_later_is_published_by_its_node() {
        let (clock, store) = store();
        let (one, two) = (Node::new("first"), Node::new("second"));
        one.writes(&["anna"]);
        one.wrote_secs_ago(60);
        clock.set(Timestamp(SystemClock.now().0 - 30_000_000));
        one.publisher(&store).begin().await.expect("valid");
        clock.set(SystemClock.now());
        two.writes(&["anna", "ben"]);
        let begun = two.publisher(&store).begin().await.expect("valid");
        assert_eq!(users(&begun), ["anna", "ben"]);
        assert_eq!(store.directory().expect("one").host, "second.example.org");
    }

    #[tokio::test]
    async fn a_node_whose_clock_is_wrong_brings_nothing_back() {
        const HOURS_MICROS: i64 = 7_200_000_000;
        for ahead in [HOURS_MICROS, -HOURS_MICROS] {
            let (clock, store) = store();
            let (one, two) = (Node::new("right"), Node::new("wrong"));
            one.writes(&["anna"]);
            clock.set(Timestamp(SystemClock.now().0 - ahead - 30_000_000));
            one.publisher(&store).begin().await.expect("valid");
            clock.set(Timestamp(SystemClock.now().0 - ahead));
            two.writes(&["anna", "ben"]);
            // before that, by the clock that the node has now, and by the right one of then
            for then in [60_000_000, 60_000_000 + ahead] {
                let at = SystemClock.now().0 - then;
                two.wrote_at(Timestamp(at));
                let begun = two.publisher(&store).begin().await.expect("the published one");
                assert_eq!(users(&begun), ["anna"], "{ahead} {then}");
            }
        }
    }

    #[tokio::test]
    async fn a_file_that_is_written_by_a_fast_clock_is_published() {
        let (clock, store) = store();
        let (one, two) = (Node::new("slow"), Node::new("fast"));
        one.writes(&["anna"]);
        clock.set(Timestamp(SystemClock.now().0 - 7_200_000_000 - 30_000_000));
        one.publisher(&store).begin().await.expect("valid");
        clock.set(Timestamp(SystemClock.now().0 - 7_200_000_000));
        two.writes(&["anna", "ben"]);
        let begun = two.publisher(&store).begin().await.expect("valid");
        assert_eq!(users(&begun), ["anna", "ben"]);
    }

    #[tokio::test]
    async fn a_file_without_users_is_not_published_over_one_that_has_some() {
        let (clock, store) = store();
        let node = Node::new("nobody");
        node.writes(&["anna"]);
        clock.set(Timestamp(SystemClock.now().0 - 30_000_000));
        node.publisher(&store).begin().await.expect("valid");
        clock.set(SystemClock.now());
        node.writes(&[]);
        let refused = node.publisher(&store).begin().await.expect_err("refused");
        assert!(refused.to_string().contains("no users"), "{refused}");
        assert!(store.directory().expect("the old one").text.contains("anna"));
    }

    #[tokio::test]
    async fn a_node_that_cannot_read_what_is_in_force_does_not_start() {
        let (_, store) = store();
        let node = Node::new("older");
        node.writes(&["anna"]);
        node.wrote_secs_ago(60);
        let (text, at) = ("[[unheard-of]]\n".to_owned(), Timestamp(0));
        let new = Published { text, at, host: "x".into(), salts: [0; 32] };
        let changes = vec![Change::DirectoryPublished(Box::new(new))];
        store.commit(Transaction { actor: Actor::System, changes }).await.expect("room");
        let refused = node.publisher(&store).begin().await.expect_err("refused");
        assert!(matches!(refused, Failure::Declared(_)), "{refused}");
    }
}
