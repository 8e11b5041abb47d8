//! The log as an operator reads it, from the store of a daemon that is not running.

use std::path::PathBuf;

use super::*;
use crate::mail::account::{Account, Folder};
use crate::mail::flag::FlagList;
use crate::mail::id::{Login, MailboxId};
use crate::mail::message;
use crate::store::Store;
use crate::store::audit::{Deed, Note, Presence};
use crate::store::change::{
    Actor, Bytes, Change, Delivered, NewMessage, Outcome as Made, Transaction, Transfer,
};
use crate::sys::ManualClock;

const MAIL: &[u8] = b"From: bob@example.net\r\nSubject: =?utf-8?q?Gr=C3=BC=C3=9Fe?=\r\n\
    Message-ID: <q@example.net>\r\n\r\nHi\r\n";

/// A data directory and its config.
struct Place(PathBuf);

impl Place {
    fn new(name: &str, config: &str) -> Place {
        let path =
            std::env::temp_dir().join(format!("postfach-audit-{name}-{}", std::process::id()));
        let _ = std::fs::remove_dir_all(&path);
        std::fs::create_dir_all(&path).expect("made");
        let text = format!("hostname = \"mail.example.org\"\ndata_dir = \"data\"\n{config}");
        std::fs::write(path.join("postfach.toml"), text).expect("written");
        Place(path)
    }

    fn config(&self) -> PathBuf {
        self.0.join("postfach.toml")
    }

    /// What happens while a daemon runs.
    fn live(&self, actions: impl AsyncFnOnce(&dyn Store)) {
        let clock = Arc::new(ManualClock::default());
        clock.set(Timestamp::from_seconds(1_795_700_000));
        let options = embedded::Options::default();
        let (store, writer) = embedded::open(&self.0.join("data"), options, clock).expect("opens");
        let writer = std::thread::spawn(|| writer.run());
        let runtime = tokio::runtime::Builder::new_current_thread().build().expect("a runtime");
        runtime.block_on(actions(&store));
        drop(store);
        writer.join().expect("no panic").expect("ends well");
    }

    fn report(&self, filter: Filter, form: Form) -> String {
        let mut out = Vec::new();
        let outcome = report(&self.config(), (filter, form), &mut out).expect("memory");
        let text = String::from_utf8(out).expect("text");
        assert_eq!(outcome, Outcome::Done, "{text}");
        text
    }

    fn verify(&self, noted: Option<&str>) -> (Outcome, String) {
        let mut out = Vec::new();
        let outcome = verify(&self.config(), noted, &mut out).expect("memory");
        (outcome, String::from_utf8(out).expect("text"))
    }

    fn database(&self) -> rusqlite::Connection {
        rusqlite::Connection::open(self.0.join("data/store.db")).expect("opens")
    }

    fn sql(&self, statement: &str) {
        self.database().execute_batch(statement).expect("runs");
    }

    fn layout(&self) -> i64 {
        let version = self.database().query_row("PRAGMA user_version", [], |row| row.get(0));
        version.expect("a number")
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        let _ = std::fs::remove_dir_all(&self.0);
    }
}

async fn created(store: &dyn Store, path: &str) -> MailboxId {
    let account = Account::Inbox("Support".into());
    let change = Change::MailboxCreated { account, folder: Folder::new(path) };
    let transaction = Transaction { actor: Actor::System, changes: vec![change] };
    match store.commit(transaction).await.expect("commits").outcomes[..] {
        [Made::Created(id)] => id,
        _ => panic!("not made"),
    }
}

/// A mail comes, anna takes it, closes it; carla looks at a channel.
async fn a_morning(store: &dyn Store) {
    let (root, assigned) = (created(store, "").await, created(store, "\\Assigned/anna").await);
    let done = created(store, "\\Done").await;
    let message = NewMessage {
        bytes: Bytes::Memory(Arc::new(MAIL.to_vec())),
        hash: *blake3::hash(MAIL).as_bytes(),
        parsed: Arc::new(message::parse(MAIL)),
    };
    let delivered = Delivered {
        mailbox: root,
        message,
        thread: None,
        trace: b"Received: x\r\n".to_vec(),
        flags: FlagList::default(),
        seen_by: Vec::new(),
        internal_date: store.now(),
        duplicate_key: None,
    };
    let presence = Presence::new(Login::new("anna"), "s1".into(), [192, 0, 2, 7].into());
    presence.call_client("mutt 2.4\u{1b}[31m");
    let anna = Actor::Session(Arc::new(presence));
    let moved = |from, to| {
        let seen = crate::mail::flag::SeenMode::PerUser;
        let uids = [crate::mail::id::Uid(1)].into_iter().collect();
        let user = Login::new("anna");
        Change::Moved(Transfer { from, from_seen: seen, uids, to, to_seen: seen, user })
    };
    let read = Note {
        account: Some(Account::Channel("Anna Sales".into())),
        folder: Some(String::new()),
        ..Note::new(Deed::Read)
    };
    let carla = Actor::User(Login::new("carla"));
    for (actor, change) in [
        (Actor::Delivery, Change::Delivered(Box::new(delivered))),
        (anna.clone(), moved(root, assigned)),
        (anna, moved(assigned, done)),
        (carla, Change::Noted(Box::new(read))),
    ] {
        store.commit(Transaction { actor, changes: vec![change] }).await.expect("commits");
    }
}

#[test]
fn what_was_done_is_told_in_lines() {
    let place = Place::new("lines", "");
    place.live(async |store| a_morning(store).await);
    let anna = "(from 192.0.2.7; client \"mutt 2.4[31m\"; session s1)";
    let assign = format!(
        "     1  2026-11-26T13:33:20Z  anna          assign     inbox Support: open → \
         Assigned/anna, message 1 of conversation 1 {anna}\n"
    );
    let close = format!(
        "     2  2026-11-26T13:33:20Z  anna          close      inbox Support: Assigned/anna → \
         Done, message 1 of conversation 1 {anna}\n"
    );
    let read = "     3  2026-11-26T13:33:20Z  carla         read       channel Anna Sales: open\n";
    let report = |filter| place.report(filter, Form::Text);
    assert_eq!(report(Filter::default()), format!("{assign}{close}{read}"));
    let account = Some(Account::Inbox("support".into()));
    assert_eq!(report(Filter { account, ..Filter::default() }), format!("{assign}{close}"));
    let user = Some(Login::new("carla"));
    assert_eq!(report(Filter { user, ..Filter::default() }), read);
    let since = Some(Timestamp::from_seconds(1_795_700_001));
    assert_eq!(report(Filter { since, ..Filter::default() }), "nothing fits\n");
}

#[test]
fn subjects_are_shown_only_where_the_config_says_so() {
    let hidden = Place::new("hidden", "");
    hidden.live(async |store| a_morning(store).await);
    let text = hidden.report(Filter::default(), Form::Json);
    assert!(!text.contains("example.net") && !text.contains("Grü"), "{text}");
    let shown = Place::new("shown", "[audit]\nsubjects = true\n");
    shown.live(async |store| a_morning(store).await);
    let text = shown.report(Filter::default(), Form::Text);
    assert!(text.contains("1: \"Grüße\" from bob@example.net <q@example.net>"), "{text}");
}

#[test]
fn json_holds_what_the_hash_covers() {
    let place = Place::new("json", "");
    place.live(async |store| a_morning(store).await);
    let text = place.report(Filter::default(), Form::Json);
    let mut before = [0; HASH_BYTES];
    for line in text.lines() {
        let value: serde_json::Value = serde_json::from_str(line).expect("JSON");
        let entry = &line[line.find("\"entry\":").expect("an entry") + 8..line.len() - 1];
        let hash = crate::store::audit::link(&before, entry);
        assert_eq!(value["hash"], crate::server::control::words::hex(&hash));
        before = hash;
    }
    assert_eq!(text.lines().count(), 3);
}

#[test]
fn a_changed_log_is_found_out() {
    let place = Place::new("verify", "");
    place.live(async |store| a_morning(store).await);
    let (outcome, text) = place.verify(None);
    assert_eq!(outcome, Outcome::Done, "{text}");
    assert!(text.starts_with("3 entries, all as they were written\n"), "{text}");
    let hash = text.split("the hash ").nth(1).and_then(|rest| rest.lines().next()).expect("a hash");
    assert_eq!(place.verify(Some(hash)).0, Outcome::Done);
    assert_eq!(place.verify(Some("00")).0, Outcome::Refused);
    let broken = |statement: &str, why: &str| {
        let other = Place::new("broken", "");
        other.live(async |store| a_morning(store).await);
        other.sql(statement);
        assert_eq!(
            other.verify(None),
            (Outcome::Refused, format!("the audit log is broken: {why}\n"))
        );
    };
    let renamed = "UPDATE audit SET entry = replace(entry, 'anna', 'ben') WHERE id = 2";
    broken(renamed, "entry 2 is not as it was written");
    broken("DELETE FROM audit WHERE id = 1", "entry 1 is missing");
    broken("DELETE FROM audit WHERE id > 1", "the entries 2 to 3 are missing");
}

#[test]
fn without_daemon_and_store_it_says_so() {
    let place = Place::new("nothing", "");
    let (outcome, text) = place.verify(None);
    assert_eq!(outcome, Outcome::Refused);
    assert!(text.contains("the daemon is not running"), "{text}");
    assert!(!place.0.join("data").exists(), "nothing is made");
}

#[test]
fn what_users_name_cannot_be_taken_for_what_the_log_says() {
    let place = Place::new("names", "");
    place.live(async |store| {
        let (root, odd) = (created(store, "").await, "Done; by\u{202e} ben (from 10.0.0.1)");
        let folder = created(store, odd).await;
        let anna = Presence::new(Login::new("anna"), "s1".into(), [192, 0, 2, 7].into());
        anna.call_client("mutt; session s9");
        let actor = Actor::Session(Arc::new(anna));
        for change in [
            Change::MailboxRenamed { mailbox: folder, folder: Folder::new("a\"b") },
            Change::MailboxDeleted { mailbox: root },
        ] {
            let transaction = Transaction { actor: actor.clone(), changes: vec![change] };
            store.commit(transaction).await.expect("commits");
        }
    });
    let told = place.report(Filter::default(), Form::Text);
    assert!(told.contains("\"Done; by\u{fffd} ben (from 10.0.0.1)\" → \"a\\\"b\""), "{told}");
    assert!(told.contains("(from 192.0.2.7; client \"mutt; session s9\"; session s1)"), "{told}");
}

#[test]
fn a_store_of_an_older_layout_is_read_by_no_one_but_the_daemon() {
    let place = Place::new("older", "");
    place.live(async |store| a_morning(store).await);
    let present = place.layout();
    place.sql("PRAGMA user_version = 1");
    let (outcome, told) = place.verify(None);
    assert_eq!(outcome, Outcome::Refused);
    assert!(told.contains("the daemon brings an older one up to date"), "{told}");
    place.sql(&format!("PRAGMA user_version = {present}"));
    assert_eq!(place.verify(None).0, Outcome::Done);
}
