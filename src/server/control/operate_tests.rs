//! `away`, `restore` and `break-glass` as the daemon carries them out.

use std::path::Path;

use super::words::{Asked, BreakGlass, How, Restore};
use super::*;
use crate::directory::file;
use crate::mail::account::{Account, Folder, FolderRole};
use crate::mail::flag::{FlagList, SeenMode};
use crate::mail::id::{Login, Timestamp, Uid};
use crate::mail::message;
use crate::server::folders;
use crate::server::queue::fake::{World, deferred};
use crate::store::audit::{Entry, EntryId};
use crate::store::change::{Actor, Bytes, Change, Delivered, NewMessage, Transaction, Transfer};

const DIRECTORY: &str = r#"
[[domain]]
name = "example.org"
[[user]]
login = "anna"
name = "Anna"
password = "HASH"
[[user]]
login = "ben"
name = "Ben Muster"
password = "HASH"
away = "2030-01-01"
[[user]]
login = "erik"
name = "Erik"
role = "super-admin"
password = "HASH"
[[user]]
login = "sam"
name = "Sam"
role = "super-admin"
password = "HASH"
[[inbox]]
name = "Support"
addresses = ["support@example.org"]
"#;

/// The desk beside a world whose store it shares.
struct Office {
    desk: Desk,
    _world: World,
}

impl Office {
    async fn new() -> Office {
        let world = World::new(deferred()).await;
        let text = DIRECTORY.replace("HASH", crate::directory::password::NOBODY);
        let directory = file::parse(&text, Path::new("directory.toml")).expect("valid");
        folders::ensure(&*world.store, &directory).await.expect("made");
        let desk = Desk {
            store: world.store.clone(),
            queue: world.handle.clone(),
            directory: watch::channel(Arc::new(directory)).1,
            hostname: "mail.example.org".into(),
            subjects: Subjects::Hidden,
        };
        Office { desk, _world: world }
    }

    async fn ask(&self, asked: Asked) -> Vec<Line> {
        let mut answer = answer::Answer::to(&self.desk, Request::Asked(Box::new(asked)));
        let mut lines = Vec::new();
        while let Some(some) = answer.next(&self.desk).await {
            lines.extend(some);
        }
        lines
    }

    /// What is said, or why not.
    async fn says(&self, asked: Asked) -> Result<Vec<String>, String> {
        let mut said = Vec::new();
        for line in self.ask(asked).await {
            match line {
                Line::Said(text) => said.push(text),
                Line::Over => return Ok(said),
                Line::Error(why) => return Err(why),
                other => panic!("{other:?}"),
            }
        }
        panic!("it ends with nothing");
    }

    async fn commit(&self, by: &str, changes: Vec<Change>) {
        let actor = Actor::User(Login::new(by));
        self.desk.store.commit(Transaction { actor, changes }).await.expect("commits");
    }

    fn folder(&self, account: &Account, folder: Folder) -> crate::mail::id::MailboxId {
        self.desk.store.find(account, &folder).expect("there").id
    }

    async fn count(&self, account: &Account, folder: Folder) -> usize {
        let snapshot = self.desk.store.snapshot(self.folder(account, folder)).await;
        snapshot.expect("there").len()
    }

    async fn deeds(&self) -> Vec<String> {
        let records = self.desk.store.audited(EntryId(1), Timestamp(0), usize::MAX).await;
        let entries = records.expect("answers").into_iter();
        entries.filter_map(|r| Some(Entry::parse(&r.text)?.deed.to_string())).collect()
    }

    fn later(&self, secs: i64) -> Timestamp {
        Timestamp(self.desk.store.now().0 + secs * 1_000_000)
    }
}

fn support() -> Account {
    Account::Inbox("Support".into())
}

fn mail(mailbox: crate::mail::id::MailboxId, id: &str) -> Change {
    let text = format!("From: c@customer.example\r\nMessage-ID: <{id}>\r\n\r\n{id}\r\n");
    Change::Delivered(Box::new(Delivered {
        mailbox,
        message: NewMessage {
            hash: *blake3::hash(text.as_bytes()).as_bytes(),
            parsed: Arc::new(message::parse(text.as_bytes())),
            bytes: Bytes::Memory(Arc::new(text.into_bytes())),
        },
        trace: Vec::new(),
        flags: FlagList::default(),
        seen_by: Vec::new(),
        internal_date: Timestamp(0),
        thread: None,
        duplicate_key: None,
    }))
}

fn moved(from: crate::mail::id::MailboxId, to: crate::mail::id::MailboxId, uid: u32) -> Change {
    let (seen, uids) = (SeenMode::PerUser, [Uid(uid)].into_iter().collect());
    let user = Login::new("anna");
    Change::Moved(Transfer { from, from_seen: seen, uids, to, to_seen: seen, user })
}

#[tokio::test(start_paused = true)]
async fn somebody_is_away_at_once_and_back() {
    let office = Office::new().await;
    let away = |user: &str, until| Asked::Away { user: Login::new(user), until };
    let said = office.says(away("anna", Some(office.later(3600)))).await.expect("done");
    assert!(said[0].starts_with("anna is away until 20"), "{said:?}");
    let listed = office.says(Asked::Absences).await.expect("done");
    assert!(listed[0].starts_with("anna until ") && listed.len() == 2, "{listed:?}");
    assert_eq!(listed[1], "ben through 2030-01-01, by the directory");
    assert_eq!(office.says(away("anna", None)).await, Ok(vec!["anna is back".into()]));
    let ben = office.says(away("ben", None)).await.expect("done");
    assert_eq!(ben, ["ben is still away by the directory: change it there"]);
    assert!(office.says(away("nobody", None)).await.is_err());
    let past = office.says(away("anna", Some(office.later(0)))).await;
    assert_eq!(past, Err("that day has passed".into()));
    assert_eq!(office.deeds().await, ["away", "back"]);
}

/// anna has deleted one mail that was open and one of ben's, sam one that was done.
async fn deleted(office: &Office) {
    let root = office.folder(&support(), Folder::root());
    let trash = office.folder(&support(), Folder::role(FolderRole::Trash));
    let bens = office.folder(&support(), Folder::assigned(&Login::new("ben")));
    let done = office.folder(&support(), Folder::role(FolderRole::Done));
    let mails = [mail(root, "1@c"), mail(bens, "2@c"), mail(done, "3@c")];
    office.commit("anna", mails.to_vec()).await;
    office.commit("anna", vec![moved(root, trash, 1), moved(bens, trash, 1)]).await;
    office.commit("sam", vec![moved(done, trash, 1)]).await;
}

fn restore() -> Restore {
    Restore {
        account: Account::Inbox("support".into()),
        since: None,
        deleted_by: None,
        message_id: None,
        how: How::ForReal,
    }
}

#[tokio::test(start_paused = true)]
async fn what_was_deleted_goes_back_to_where_it_was() {
    let office = Office::new().await;
    deleted(&office).await;
    let dry = Asked::Restore(Restore { how: How::Dry, ..restore() });
    let said = office.says(dry).await.expect("told");
    assert_eq!(said[3], "3 messages would be restored; nothing was changed");
    assert!(said[0].contains("by anna: → open"), "{said:?}");
    assert_eq!(office.count(&support(), Folder::role(FolderRole::Trash)).await, 3);
    let by = Some(Login::new("sam"));
    let sams = Asked::Restore(Restore { deleted_by: by, ..restore() });
    let said = office.says(sams).await.expect("done");
    assert!(said[0].contains("by sam: → Done") && said[1] == "1 message restored", "{said:?}");
    let one = Asked::Restore(Restore { message_id: Some("2@c".into()), ..restore() });
    let said = office.says(one).await.expect("done");
    assert!(said[0].ends_with("by anna: → Assigned/ben"), "{said:?}");
    let late = Asked::Restore(Restore { since: Some(office.later(60)), ..restore() });
    assert_eq!(office.says(late).await, Ok(vec!["0 messages restored".into()]));
    assert_eq!(office.says(Asked::Restore(restore())).await.map(|said| said.len()), Ok(2));
    for folder in [Folder::root(), Folder::assigned(&Login::new("ben"))] {
        assert_eq!(office.count(&support(), folder).await, 1);
    }
    let unknown = Restore { account: Account::Inbox("Absent".into()), ..restore() };
    let unknown = office.says(Asked::Restore(unknown)).await;
    assert_eq!(unknown, Err("there is no inbox Absent".into()));
    let restored = office.deeds().await.iter().filter(|deed| *deed == "restore").count();
    assert_eq!(restored, 3);
}

#[tokio::test(start_paused = true)]
async fn a_mailbox_is_opened_and_owner_and_super_admins_are_told() {
    let office = Office::new().await;
    let glass = |user: &str, of: &str, reason: &str, secs| {
        let (user, of, reason) = (Login::new(user), Login::new(of), reason.to_owned());
        Asked::BreakGlass(BreakGlass { user, of, reason, secs })
    };
    let said = office.says(glass("erik", "ben", "Ben ist fort", 3600)).await.expect("opened");
    assert_eq!(said[0], "erik sees the mailbox of ben under Other Users/ben, to read only");
    let openings = office.desk.store.openings();
    assert_eq!((openings.len(), openings[0].until), (1, office.later(3600)));
    for (told, count) in [("ben", 1), ("erik", 1), ("sam", 1), ("anna", 0)] {
        let account = Account::User(Login::new(told));
        assert_eq!(office.count(&account, Folder::root()).await, count, "{told}");
    }
    let ben = office.folder(&Account::User(Login::new("ben")), Folder::root());
    let entry = office.desk.store.snapshot(ben).await.expect("there").nth(0).cloned();
    let body = office.desk.store.body(entry.expect("told").blob, 0..9999).await.expect("there");
    let body = String::from_utf8(body).expect("text");
    let parsed = message::parse(body.as_bytes());
    assert!(parsed.envelope.subject.is_some() && !parsed.envelope.from.is_empty(), "{body}");
    assert!(body.contains("mailbox of ben (Ben Muster) is open to erik (Erik)"), "{body}");
    assert!(body.contains("\r\n  Ben ist fort\r\n"), "{body}");
    assert_eq!(office.deeds().await, ["break-glass"]);
    let long = "x".repeat(glass::REASON_BYTES_MAX + 1);
    let refused = [
        glass("anna", "ben", "why", 60),
        glass("nobody", "ben", "why", 60),
        glass("erik", "nobody", "why", 60),
        glass("erik", "erik", "why", 60),
        glass("erik", "ben", " ", 60),
        glass("erik", "ben", &long, 60),
        glass("erik", "ben", "two\nlines", 60),
        glass("erik", "ben", "why", 0),
        glass("erik", "ben", "why", glass::OPEN_SECS_MAX + 1),
    ];
    for asked in refused {
        assert!(office.says(asked.clone()).await.is_err(), "{asked:?}");
    }
    let most = glass("erik", "ben", &long[1..], glass::OPEN_SECS_MAX);
    assert!(office.says(most).await.is_ok());
    assert_eq!(office.desk.store.openings().len(), 1, "a new end replaces the old one");
}
