//! What the log says, byte by byte: nodes of one form read each other's. Where this test fails,
//! `DELTA_FORM` has to become another one; `UPDATE=1` writes the new bytes then.

use std::collections::BTreeMap;
use std::sync::Arc;

use super::super::delta::Delta;
use crate::mail::account::{Account, Folder};
use crate::mail::address::Address;
use crate::mail::flag::{KeywordSet, SystemFlags};
use crate::mail::id::{
    BlobId, Login, MailboxId, ModSeq, QueueId, ThreadId, Timestamp, TraceId, Uid, UidValidity,
};
use crate::mail::transport::{Body, Notify, Ret};
use crate::store::audit::{EntryId, Tip};
use crate::store::encode;
use crate::store::mirror::Origin;
use crate::store::nodes::{Ask, Done, Duty, Published, Verb, Which};
use crate::store::overlay::Block;
use crate::store::queue::{Owed, OwedOutcome, Progress, Queued, QueuedEnvelope, QueuedRecipient};
use crate::store::snapshot::Entry;
use crate::store::state::{Changed, Counters, Held, State};
use crate::store::{Mailbox, StoreError, Usage};

const GOLDEN: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/src/store/postgres/tests/delta.hex");

fn entry(uid: u32) -> Entry {
    let mut keywords = KeywordSet::default();
    keywords.insert(200);
    Entry {
        uid: Uid(uid),
        modseq: ModSeq(1 << 40),
        blob: BlobId(12),
        trace: TraceId(13),
        thread: ThreadId(-14),
        size_bytes: 70_000,
        trace_bytes: 300,
        internal_date: Timestamp(-5),
        saved: Timestamp(1_790_000_000_000_000),
        flags: SystemFlags::FLAGGED,
        keywords,
    }
}

fn recipient(number: u32) -> QueuedRecipient {
    let owed = Owed {
        outcome: OwedOutcome::Failed,
        by: "mx".into(),
        status: "5.1.1".into(),
        text: "nobody".into(),
        is_reply: true,
    };
    QueuedRecipient {
        number,
        address: Address::new("bob", "example.net"),
        upstream: Some("smtp://old:25".into()),
        notify: Some(Notify { success: true, failure: false, delay: true }),
        orcpt: Some("rfc822;bob".into()),
        progress: Progress {
            attempts: 3,
            next_attempt: Timestamp(99),
            last_reply: Some("451 later".into()),
            delay_told: true,
            held: true,
            owed: Some(Box::new(owed)),
        },
    }
}

fn queued() -> Arc<Queued> {
    let envelope = QueuedEnvelope {
        id: "q1".into(),
        reverse_path: Some(Address::new("anna", "example.org")),
        sender: Some(Account::User(Login::new("anna"))),
        envid: Some("e1".into()),
        ret: Some(Ret::Headers),
        body: Body::EightBitMime,
        smtputf8: true,
        queued_at: Timestamp(1),
        expires_at: Timestamp(2),
    };
    let recipients = vec![recipient(0)];
    let (blob, trace) = (BlobId(12), TraceId(13));
    let envelope = Arc::new(envelope);
    Arc::new(Queued { id: QueueId(7), blob, trace, size_bytes: 4_000, envelope, recipients })
}

fn asks() -> Arc<BTreeMap<i64, Ask>> {
    let done = Done { messages: 1, recipients: 2, busy: 3 };
    let ask = |id, verb, (which, answer)| Ask { id, at: Timestamp(5), verb, which, answer };
    let asks = [
        ask(1, Verb::Retry, (Which::All, None)),
        ask(2, Verb::Hold, (Which::One(QueueId(7)), Some(Ok(done)))),
        ask(3, Verb::Release, (Which::All, Some(Err("no".into())))),
        ask(4, Verb::Drop, (Which::All, None)),
    ];
    Arc::new(asks.into_iter().map(|ask| (ask.id, ask)).collect())
}

/// Something in each place that a delta has.
fn full() -> Changed {
    let mut changed = Changed::default();
    let (anna, ben) = (Login::new("anna"), Login::new("ben"));
    let accounts = [
        Account::User(anna.clone()),
        Account::Inbox("Support".into()),
        Account::Channel("Ben Sales".into()),
    ];
    let folder = Folder::new("Work/2026");
    for (number, account) in (1..).zip(&accounts) {
        let (id, uid_validity) = (MailboxId(number), UidValidity(1_790_000_000));
        let (account, folder) = (account.clone(), folder.clone());
        let name = (account.clone(), folder.clone());
        let mut held = Held::empty(Mailbox { id, account, folder, uid_validity });
        (held.uid_next, held.highest_modseq) = (Uid(9), ModSeq(1 << 40));
        held.usage = Usage { messages: 8, bytes: 1 << 33 };
        changed.mailboxes.insert(id, Some(held));
        changed.names.insert(name, Some(id));
    }
    changed.mailboxes.insert(MailboxId(4), None);
    changed.names.insert((accounts[0].clone(), Folder::root()), None);
    changed.counters = Some(Counters {
        mailbox: 4,
        blob: 12,
        trace: 13,
        thread: 14,
        queue: 7,
        uid_validity: 1_790_000_000,
    });
    changed.audit = Some(Tip { id: EntryId(77), hash: [7; 32] });
    changed.directory = Some(Arc::new(Published {
        text: "[[user]]".into(),
        at: Timestamp(6),
        host: "one".into(),
        salts: [9; 32],
    }));
    changed.tenures = Duty::ALL.into_iter().zip([11, -12, 13]).collect();
    changed.asks = Some(asks());
    rows(&mut changed, (&anna, &ben), &accounts[1]);
    changed
}

fn rows(changed: &mut Changed, (anna, ben): (&Login, &Login), inbox: &Account) {
    let (rows, one) = (&mut changed.rows, MailboxId(1));
    rows.instances = [((one, Uid(1)), None), ((one, Uid(8)), Some(entry(8)))].into();
    let origin = Origin { mailbox: MailboxId(2), uid: Uid(300) };
    let shown = MailboxId(3);
    rows.mirrored = [((shown, Uid(2)), None), ((shown, Uid(3)), Some((entry(3), origin)))].into();
    let block = Block { seen: u64::MAX - 1, runs: vec![(1, 0), (63, 1 << 40)] };
    rows.blocks = [((one, anna.clone(), 4), Arc::new(block))].into();
    rows.keywords = vec![(one, 0, "$Later".into()), (one, 1, "Müll".into())];
    let name = |user: &Login| (user.clone(), inbox.clone(), Folder::root());
    rows.subscriptions = [(name(anna), true), (name(ben), false)].into();
    rows.metadata = [
        ((None, None, "/shared/comment".to_owned()), None),
        ((Some(ben.clone()), Some(one), "/private/comment".to_owned()), Some(b"x\0y"[..].into())),
    ]
    .into();
    let grant = |user: &Login| (inbox.clone(), user.clone());
    rows.grants = [(grant(anna), Some("lrs".to_owned())), (grant(ben), None)].into();
    rows.turns = [(grant(anna), 500)].into();
    rows.queued = [(QueueId(6), None), (QueueId(7), Some(queued()))].into();
    rows.queued_recipients =
        [((QueueId(7), 0), Some(recipient(0))), ((QueueId(7), 1), None)].into();
    rows.absences = [(anna.clone(), Some(Timestamp(8))), (ben.clone(), None)].into();
    let opening = |user: &Login, of: &Login| (user.clone(), of.clone());
    rows.openings = [(opening(anna, ben), Some(Timestamp(9))), (opening(ben, anna), None)].into();
}

fn hex(bytes: &[u8]) -> String {
    let digits: Vec<String> = bytes.iter().map(|byte| format!("{byte:02x}")).collect();
    digits.chunks(48).map(|line| line.concat() + "\n").collect()
}

fn golden() -> Vec<u8> {
    let golden = std::fs::read(GOLDEN).expect("beside this file");
    let digits: Vec<u8> = golden.into_iter().filter(u8::is_ascii_hexdigit).collect();
    let digit = |byte: u8| char::from(byte).to_digit(16).expect("a digit") as u8;
    digits.chunks(2).map(|pair| digit(pair[0]) << 4 | digit(pair[1])).collect()
}

#[test]
fn a_delta_is_written_as_nodes_of_this_form_write_it() {
    let bytes = encode::to_bytes(&Delta::of(&full())).expect("encodes");
    if std::env::var_os("UPDATE").is_some() {
        std::fs::write(GOLDEN, hex(&bytes)).expect("written");
        return;
    }
    assert_eq!(hex(&bytes), hex(&golden()), "another form needs another DELTA_FORM");
}

#[test]
fn what_is_read_says_all_that_was_written() {
    let delta: Delta = encode::from_bytes(&golden()).expect("decodes");
    assert_eq!(encode::to_bytes(&delta).expect("encodes"), golden());
    let (read, written) = (delta.onto(&State::default()), full());
    assert_eq!(read.names, written.names);
    assert_eq!((read.counters, read.audit), (written.counters, written.audit));
    assert_eq!((&read.tenures, &read.asks), (&written.tenures, &written.asks));
    assert_eq!(read.directory, written.directory);
    assert_eq!(read.mailboxes.len(), written.mailboxes.len());
    let held = |changed: &Changed, id| changed.mailboxes[&MailboxId(id)].clone().expect("one");
    let (shown, held, before) = (held(&read, 3), held(&read, 1), held(&written, 1));
    assert_eq!((held.uid_next, held.usage), (before.uid_next, before.usage));
    assert_eq!(held.keywords.len(), 2);
    let snapshot = &held.loaded().expect("made here").snapshot;
    assert_eq!(snapshot.by_uid(Uid(8)), Some(&entry(8)));
    let snapshot = &shown.loaded().expect("made here").snapshot;
    assert_eq!(snapshot.by_uid(Uid(3)), Some(&entry(3)));
    let origin = snapshot.mirror.as_ref().expect("one").origin(Uid(3));
    assert_eq!(origin, Some(Origin { mailbox: MailboxId(2), uid: Uid(300) }));
    assert_eq!(read.queue[&QueueId(7)].as_ref().expect("queued").recipients, [recipient(0)]);
    assert_eq!(read.grants.expect("some").len(), 1);
    assert_eq!(read.absences.expect("some").len(), 1);
    assert_eq!(read.openings.expect("some").len(), 1);
    assert_eq!((read.turns.len(), read.subscriptions.len(), read.metadata.len()), (1, 2, 2));
}

#[test]
fn what_is_cut_short_or_goes_on_is_no_delta() {
    let whole = golden();
    let read = |bytes: &[u8]| encode::from_bytes::<Delta>(bytes);
    assert!(read(&whole).is_ok());
    for length in 0..whole.len() {
        assert!(matches!(read(&whole[..length]), Err(StoreError::Corrupt(_))), "{length}");
    }
    let more = [&whole[..], &[0]].concat();
    assert!(matches!(read(&more), Err(StoreError::Corrupt(_))));
}
