//! The audit log: what is told of, that it cannot be changed unnoticed, and what refers to it.

use std::collections::BTreeMap;

use super::queue::new_queued;
use super::*;
use crate::mail::account::FolderRole;
use crate::store::audit::{Chain, Deed, Entry, EntryId, MESSAGES_PER_ENTRY_MAX, Note, Record};
use crate::store::change::{AccessKnown, Grant, Opening};

const EVER: Timestamp = Timestamp(i64::MIN);

impl Bench {
    pub(in crate::store) async fn records(&self) -> Vec<Record> {
        self.store.audited(EntryId(1), EVER, usize::MAX).await.expect("answers")
    }

    async fn by(&self, actor: Actor, changes: Vec<Change>) -> Result<Vec<Outcome>, StoreError> {
        let receipt = self.store.commit(Transaction { actor, changes }).await;
        receipt.map(|receipt| receipt.outcomes)
    }

    /// `assign anna "" → "\Assigned/ben" ben 1,2` for each entry.
    async fn told(&self) -> Vec<String> {
        self.records().await.iter().map(line).collect()
    }

    /// The chain holds, to its end.
    pub(in crate::store) async fn verify(&self) {
        let mut chain = Chain::default();
        for record in self.records().await {
            assert_eq!(chain.take(&record), Ok(()));
            assert_eq!(Entry::parse(&record.text).map(|entry| entry.at), Some(record.at));
        }
        assert_eq!(chain.end(&self.store.audit_tip()), Ok(()));
    }
}

fn line(record: &Record) -> String {
    let entry = Entry::parse(&record.text).expect("an entry");
    let mut line = entry.deed.to_string();
    let by = entry.user().map(|user| user.to_string());
    line.push_str(&format!(" by {}", by.unwrap_or_else(|| format!("{:?}", entry.by))));
    let words = [
        entry.account.map(|account| format!("in {account}")),
        entry.from.map(|from| format!("from {from:?}")),
        entry.to.map(|to| format!("to {to:?}")),
        entry.about.map(|about| format!("about {about}")),
        entry.detail.map(|detail| format!("({detail})")),
    ];
    words.into_iter().flatten().for_each(|word| line.push_str(&format!(" {word}")));
    let messages: Vec<String> = entry.messages.iter().map(ToString::to_string).collect();
    line.push_str(&format!(" {}", messages.join(",")));
    line.trim_end().to_owned()
}

fn anna() -> Actor {
    Actor::User(login("anna"))
}

fn moved(from: MailboxId, to: MailboxId, set: &str) -> Change {
    Change::Moved(transfer((from, SeenMode::PerUser), (to, SeenMode::PerUser), set))
}

/// The inbox, ben's folder, Done and Trash.
async fn support(bench: &Bench) -> [MailboxId; 4] {
    let role = |role: FolderRole| role.path().to_owned();
    let assigned = Folder::assigned(&login("ben")).path().to_owned();
    let mut ids = [MailboxId(0); 4];
    let paths = [String::new(), assigned, role(FolderRole::Done), role(FolderRole::Trash)];
    for (id, path) in ids.iter_mut().zip(&paths) {
        *id = bench.create(&inbox("Support"), path).await;
    }
    ids
}

pub(super) async fn what_is_done_in_an_inbox_is_told(bench: &Bench) {
    let [root, ben, done, trash] = support(bench).await;
    let arrival = vec![delivery(root, "one"), delivery(root, "two")];
    bench.by(Actor::Delivery, arrival).await.expect("commits");
    assert_eq!(bench.told().await, [""; 0], "strangers' mail has come, and no more");
    let steps = [
        (anna(), moved(root, ben, "1:2")),
        (anna(), moved(ben, done, "1")),
        (anna(), moved(ben, root, "2")),
        (Actor::Delivery, moved(done, ben, "1")),
        (anna(), moved(ben, trash, "3")),
        (anna(), moved(trash, root, "1")),
        (Actor::System, Change::Expunged { mailbox: root, uids: uids("1:9") }),
        (Actor::Delivery, delivery(ben, "three")),
        (anna(), moved(root, ben, "1:9")),
    ];
    for (actor, change) in steps {
        bench.by(actor, vec![change]).await.expect("commits");
    }
    let assigned = "\\\\Assigned/ben";
    let expected = [
        format!("assign by anna in inbox Support from \"\" to \"{assigned}\" about ben 1,2"),
        format!("close by anna in inbox Support from \"{assigned}\" to \"\\\\Done\" about ben 1"),
        format!("unassign by anna in inbox Support from \"{assigned}\" to \"\" about ben 2"),
        format!(
            "reopen by Delivery in inbox Support from \"\\\\Done\" to \"{assigned}\" about ben 1"
        ),
        format!("delete by anna in inbox Support from \"{assigned}\" to \"\\\\Trash\" about ben 1"),
        "restore by anna in inbox Support from \"\\\\Trash\" to \"\" 1".to_owned(),
        "expunge by Daemon in inbox Support from \"\" 2,1".to_owned(),
        format!("assign by Delivery in inbox Support to \"{assigned}\" about ben 3"),
    ];
    assert_eq!(bench.told().await, expected, "and nothing is told of what did nothing");
    bench.verify().await;
}

pub(super) async fn an_entry_names_each_conversation_once(bench: &Bench) {
    let [root, ben, ..] = support(bench).await;
    let mut of_first = delivered(root, "two");
    bench.deliver(root, "one").await;
    of_first.thread = Some(bench.entry(root, 1).await.thread);
    bench.one(Change::Delivered(Box::new(of_first))).await;
    bench.deliver(root, "three").await;
    bench.by(anna(), vec![moved(root, ben, "1:3")]).await.expect("commits");
    let entry = Entry::parse(&bench.records().await[0].text).expect("an entry");
    let other = bench.entry(ben, 3).await.thread;
    let first = bench.entry(ben, 1).await.thread;
    assert_eq!((entry.messages.len(), entry.conversations), (3, vec![first.0, other.0]));
}

pub(super) async fn what_is_sent_is_told_once(bench: &Bench) {
    let sent = bench.create(&inbox("Support"), FolderRole::Sent.path()).await;
    let root = bench.create(&inbox("Sales"), "").await;
    let own = bench.create(&personal("ben"), "").await;
    let queued = || Change::Queued(Box::new(new_queued("answer", &["bob"])));
    let all = vec![delivery(root, "answer"), delivery(own, "answer"), delivery(sent, "answer")];
    bench.by(anna(), [all, vec![queued()]].concat()).await.expect("commits");
    bench.by(anna(), vec![queued()]).await.expect("commits");
    bench.by(Actor::Delivery, vec![queued()]).await.expect("commits");
    let mut note = delivered(root, "inside");
    note.flags = keywords(&["$note"]);
    let mut append = delivered(sent, "draft");
    append.trace.clear();
    let more = [note, append].map(|delivered| Change::Delivered(Box::new(delivered)));
    bench.by(anna(), more.to_vec()).await.expect("commits");
    let expected = [
        "deliver by anna in inbox Sales to \"\" 1",
        "send by anna in inbox Support to \"\\\\Sent\" 1",
        "send by anna in inbox Support 1",
        "note by anna in inbox Sales to \"\" 2",
        "append by anna in inbox Support to \"\\\\Sent\" 3",
    ];
    assert_eq!(bench.told().await, expected);
}

pub(super) async fn personal_mail_is_told_only_where_somebody_else_is_at_work(bench: &Bench) {
    let (one, two) = (
        bench.create(&personal("anna"), "").await,
        bench.create(&personal("anna"), "Archive").await,
    );
    let root = bench.create(&inbox("Support"), "").await;
    let mut own = delivered(one, "own");
    own.trace.clear();
    let own = || Change::Delivered(Box::new(own.clone()));
    let folder = Change::MailboxCreated { account: personal("anna"), folder: Folder::new("x") };
    let changes = vec![own(), own(), own(), moved(one, two, "1"), folder];
    bench.by(anna(), changes).await.expect("commits");
    bench.by(anna(), vec![Change::Expunged { mailbox: two, uids: uids("1") }]).await.expect("ok");
    assert_eq!(bench.told().await, [""; 0]);
    bench.by(anna(), vec![moved(one, root, "2")]).await.expect("commits");
    let copy = Change::Copied(transfer((root, SeenMode::PerUser), (one, SeenMode::Shared), "1"));
    bench.by(anna(), vec![copy]).await.expect("commits");
    let other = Actor::User(login("carla"));
    let looked = Change::Copied(transfer((one, SeenMode::Shared), (two, SeenMode::Shared), "3"));
    bench.by(other, vec![looked]).await.expect("commits");
    let expected = [
        "move by anna in inbox Support to \"\" (from mailbox anna) 1",
        "copy by anna in inbox Support from \"\" (to mailbox anna) 1",
        "copy by carla in mailbox anna from \"\" to \"Archive\" 1",
    ];
    assert_eq!(bench.told().await, expected);
}

pub(super) async fn who_is_given_what_is_told(bench: &Bench) {
    let grant = |rights: Option<&str>| {
        let (account, user) = (inbox("Support"), login("ben"));
        Change::Granted(Grant { account, user, rights: rights.map(str::to_owned) })
    };
    let sam = || Actor::User(login("sam"));
    for rights in [Some("lrs"), Some(""), None] {
        bench.by(sam(), vec![grant(rights)]).await.expect("commits");
    }
    let rights: BTreeMap<Login, String> =
        [("anna", "lrs"), ("ben", "lr")].map(|(user, rights)| (login(user), rights.into())).into();
    let told = [("anna", "lrs", ""), ("ben", "lr", "lrs"), ("dora", "", "lrs")];
    let told = told.map(|(user, now, before)| (login(user), now.into(), before.into()));
    let known = AccessKnown { account: inbox("Support"), rights, told: told.to_vec() };
    bench.by(Actor::System, vec![Change::AccessKnown(known.clone())]).await.expect("commits");
    let kept = bench.store.access_known().await.expect("answers");
    assert_eq!(kept, BTreeMap::from([(known.account, known.rights)]));
    let expected = [
        "grant by sam in inbox Support about ben (lrs)",
        "revoke by sam in inbox Support about ben",
        "grant by sam in inbox Support about ben (as declared)",
        "grant by Daemon in inbox Support about anna (lrs)",
        "grant by Daemon in inbox Support about ben (lr, was lrs)",
        "revoke by Daemon in inbox Support about dora (was lrs)",
    ];
    assert_eq!(bench.told().await, expected);
}

pub(super) async fn folders_that_users_make_and_remove_are_told(bench: &Bench) {
    let account = inbox("Support");
    let made = Change::MailboxCreated { account: account.clone(), folder: Folder::new("VIP") };
    let made = bench.by(anna(), vec![made]).await.expect("commits");
    let [Outcome::Created(mailbox)] = made[..] else { panic!("not made: {made:?}") };
    bench.deliver(mailbox, "one").await;
    let renamed = Change::MailboxRenamed { mailbox, folder: Folder::new("Old") };
    bench.by(anna(), vec![renamed, Change::MailboxDeleted { mailbox }]).await.expect("commits");
    let expected = [
        "create-folder by anna in inbox Support to \"VIP\"",
        "rename-folder by anna in inbox Support from \"VIP\" to \"Old\"",
        "delete-folder by anna in inbox Support from \"Old\" 1",
    ];
    assert_eq!(bench.told().await, expected);
}

pub(super) async fn a_note_says_who_did_it_and_when(bench: &Bench) {
    let earlier = Some((anna().by(), Timestamp(7)));
    let note = Note { earlier, detail: Some("imap".into()), ..Note::new(Deed::Login) };
    let noted = Change::Noted(Box::new(note));
    let read = Change::Noted(Box::new(Note { about: Some(login("ben")), ..Note::new(Deed::Read) }));
    bench.by(Actor::System, vec![noted, read]).await.expect("commits");
    assert_eq!(bench.told().await, ["login by anna (imap)", "read by Daemon about ben"]);
    let records = bench.records().await;
    assert_eq!((records[0].at, records[1].at), (Timestamp(7), bench.store.now()));
}

pub(super) async fn what_is_not_committed_is_not_told(bench: &Bench) {
    let [root, ben, ..] = support(bench).await;
    bench.deliver(root, "one").await;
    let gone = Change::Expunged { mailbox: MailboxId(4711), uids: uids("1") };
    let failed = bench.by(anna(), vec![moved(root, ben, "1"), gone]).await;
    assert_eq!(failed, Err(StoreError::Gone));
    assert_eq!(bench.told().await, [""; 0]);
    bench.by(anna(), vec![moved(root, ben, "1")]).await.expect("commits");
    assert_eq!(bench.records().await.len(), 1);
    bench.verify().await;
}

pub(super) async fn an_entry_names_a_thousand_messages_and_no_more(bench: &Bench) {
    let [root, ben, _, trash] = support(bench).await;
    bench.deliver_many(root, MESSAGES_PER_ENTRY_MAX as u32 + 1).await;
    bench.by(anna(), vec![moved(root, ben, "1:1000")]).await.expect("commits");
    bench.by(anna(), vec![moved(root, ben, "1001")]).await.expect("commits");
    assert_eq!(bench.records().await.len(), 2);
    bench.by(anna(), vec![moved(ben, trash, "1:*")]).await.expect("commits");
    let counts = bench.records().await;
    let counts = counts.iter().map(|r| Entry::parse(&r.text).expect("an entry").messages.len());
    assert_eq!(counts.collect::<Vec<_>>(), [1000, 1, 1000, 1]);
    let trashed = bench.store.trashed(trash).await.expect("answers");
    let of = |uid| trashed.get(&Uid(uid)).copied();
    assert_eq!((of(1), of(1000), of(1001)), (Some(EntryId(3)), Some(EntryId(3)), Some(EntryId(4))));
}

pub(super) async fn a_trash_knows_by_which_entry_each_message_came(bench: &Bench) {
    let [root, ben, _, trash] = support(bench).await;
    let own = bench.create(&personal("anna"), FolderRole::Trash.path()).await;
    bench.deliver_many(root, 4).await;
    let mine = bench.create(&personal("anna"), "").await;
    bench.deliver(mine, "mine").await;
    let changes = vec![moved(root, trash, "1:2"), moved(root, ben, "3"), moved(mine, own, "1")];
    bench.by(anna(), changes).await.expect("commits");
    bench.by(anna(), vec![moved(ben, trash, "1")]).await.expect("commits");
    let trashed = async |id| bench.store.trashed(id).await.expect("answers");
    let entries = |pairs: &[(u32, i64)]| {
        pairs.iter().map(|(uid, id)| (Uid(*uid), EntryId(*id))).collect::<BTreeMap<_, _>>()
    };
    assert_eq!(trashed(trash).await, entries(&[(1, 1), (2, 1), (3, 3)]));
    assert!(trashed(own).await.is_empty(), "a team's only");
    bench.by(anna(), vec![moved(trash, root, "1")]).await.expect("commits");
    bench.expunge(trash, "3").await;
    assert_eq!(trashed(trash).await, entries(&[(2, 1)]));
}

pub(super) async fn who_is_away_is_known_and_told(bench: &Bench) {
    let away = |user: &str, until: Option<i64>| {
        let until = until.map(|seconds| Timestamp::from_seconds(START + seconds));
        Change::AwaySet { user: login(user), until }
    };
    let all = vec![away("anna", Some(60)), away("ben", Some(90)), away("ben", Some(90))];
    bench.by(Actor::Operator, all).await.expect("commits");
    bench.by(Actor::Operator, vec![away("anna", None), away("dora", None)]).await.expect("commits");
    let until = Timestamp::from_seconds(START + 90);
    assert_eq!(*bench.store.absences(), BTreeMap::from([(login("ben"), until)]));
    let expected = [
        "away by Operator about anna (until 2026-09-21T14:14:20Z)",
        "away by Operator about ben (until 2026-09-21T14:14:50Z)",
        "back by Operator about anna",
    ];
    assert_eq!(bench.told().await, expected);
}

pub(super) async fn an_open_mailbox_is_known_watched_and_told(bench: &Bench) {
    let mut watch = bench.store.watch_mailboxes();
    let opening = |seconds| Opening {
        user: login("erik"),
        of: login("ben"),
        until: Timestamp::from_seconds(START + seconds),
    };
    let broken = |seconds| {
        let (opening, reason) = (opening(seconds), "he left".to_owned());
        Change::GlassBroken { opening, reason }
    };
    bench.by(Actor::Operator, vec![broken(60)]).await.expect("commits");
    bench.by(Actor::Operator, vec![broken(90)]).await.expect("commits");
    assert!(watch.has_changed().expect("open"));
    watch.mark_unchanged();
    assert_eq!(*bench.store.openings(), [opening(90)]);
    let mended = || Change::GlassMended { user: login("erik"), of: login("ben") };
    bench.by(Actor::System, vec![mended()]).await.expect("commits");
    bench.by(Actor::System, vec![mended()]).await.expect("commits");
    assert!(watch.has_changed().expect("open"));
    assert!(bench.store.openings().is_empty());
    let expected = [
        "break-glass by Operator in mailbox ben about erik (until 2026-09-21T14:14:20Z: he left)",
        "break-glass by Operator in mailbox ben about erik (until 2026-09-21T14:14:50Z: he left)",
        "break-glass-end by Daemon in mailbox ben about erik",
    ];
    assert_eq!(bench.told().await, expected);
}

pub(super) async fn the_log_is_read_in_pieces(bench: &Bench) {
    let second = |n: i64| Timestamp::from_seconds(START + n);
    for n in 1..=5 {
        bench.clock.set(second(n));
        bench.one(Change::Noted(Box::new(Note::new(Deed::Read)))).await;
    }
    let ids = async |first, since, max| -> Vec<i64> {
        let records = bench.store.audited(EntryId(first), since, max).await.expect("answers");
        records.iter().map(|record| record.id.0).collect()
    };
    assert_eq!(ids(1, EVER, 2).await, [1, 2]);
    assert_eq!(ids(3, EVER, 9).await, [3, 4, 5]);
    assert_eq!(ids(1, second(4), 9).await, [4, 5]);
    assert_eq!(ids(6, EVER, 9).await, [0; 0]);
    assert_eq!(bench.store.audit_tip().id, EntryId(5));
}
