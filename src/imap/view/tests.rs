//! Several sessions work on one mailbox at random. Each client keeps a model built from untagged
//! responses only; in the end all models agree with the store.

use std::collections::BTreeSet;

use proptest::prelude::*;

use crate::imap::rig::{Client, Rig};
use crate::mail::flag::SeenMode;

/// What a client believes of one message; what it was not told is unknown.
#[derive(Clone, Debug, Default)]
struct Belief {
    uid: Option<u32>,
    flags: Option<BTreeSet<String>>,
    modseq: Option<u64>,
}

/// What a client has enabled.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Kind {
    Plain,
    Condstore,
    Qresync,
}

/// A client that believes what it is told, and checks each response against that.
struct Modelled {
    client: Client,
    kind: Kind,
    messages: Vec<Belief>,
    /// HIGHESTMODSEQ, as RFC 7162 §6 lets a client compute it.
    highest_modseq: u64,
    uid_validity: String,
    /// The connection is lost, and nothing but the above is left.
    away: bool,
}

impl Modelled {
    fn open(rig: &Rig, login: &str, kind: Kind) -> Modelled {
        let client = rig.client(login);
        let (messages, uid_validity) = (Vec::new(), String::new());
        let mut modelled =
            Modelled { client, kind, messages, highest_modseq: 0, uid_validity, away: false };
        let parameters = if kind == Kind::Condstore { " (CONDSTORE)" } else { "" };
        if kind == Kind::Qresync {
            modelled.send(rig, "ENABLE QRESYNC");
        }
        modelled.send(rig, &format!("SELECT Shared/Support{parameters}"));
        modelled.send(rig, "FETCH 1:* (UID FLAGS)");
        modelled
    }

    /// Comes back after the connection was lost: what it knows, and what it is told, must be all.
    fn come_back(&mut self, rig: &Rig) {
        self.away = false;
        rig.send(&mut self.client, "ENABLE QRESYNC");
        let (epoch, highest) = (&self.uid_validity, self.highest_modseq);
        let command = format!("SELECT Shared/Support (QRESYNC ({epoch} {highest}))");
        let answer = rig.send(&mut self.client, &command);
        let gone = answer.lines().filter_map(|line| line.strip_prefix("* VANISHED (EARLIER) "));
        let gone: Vec<u32> = gone.flat_map(members).collect();
        self.messages.retain(|message| !message.uid.is_some_and(|uid| gone.contains(&uid)));
        for line in answer.lines() {
            self.believe(line);
        }
        self.remember_modseq(&answer);
        self.learn_uids(rig);
    }

    fn send(&mut self, rig: &Rig, command: &str) -> String {
        let answer = rig.send(&mut self.client, command);
        for line in answer.lines() {
            self.believe(line);
        }
        let held = ["FETCH", "STORE", "SEARCH"].iter().any(|verb| command.starts_with(verb));
        let tells_gone = answer.contains("EXPUNGE\r\n") || answer.contains("* VANISHED");
        assert!(!held || !tells_gone, "{command}: {answer}");
        self.remember_modseq(&answer);
        self.learn_uids(rig);
        answer
    }

    /// A client that is told UIDs asks for those of new messages at once.
    fn learn_uids(&mut self, rig: &Rig) {
        let unknown = self.messages.iter().position(|message| message.uid.is_none());
        if let Some(first) = unknown.filter(|_| self.kind == Kind::Qresync) {
            self.send(rig, &format!("FETCH {}:* (UID FLAGS)", first + 1));
        }
    }

    /// At each tagged response. RFC 7162 §6
    fn remember_modseq(&mut self, answer: &str) {
        let numbers = |label: &'static str, end: char| {
            let found = answer.split(label).skip(1).filter_map(move |rest| rest.split(end).next());
            found.map(|number| number.parse::<u64>().expect("a number"))
        };
        let fetched = numbers("MODSEQ (", ')').max().unwrap_or(0).max(self.highest_modseq);
        self.highest_modseq = numbers("[HIGHESTMODSEQ ", ']').last().unwrap_or(fetched);
    }

    fn believe(&mut self, line: &str) {
        if let Some(rest) = line.strip_prefix("* OK [UIDVALIDITY ") {
            self.uid_validity = rest.split(']').next().expect("a number").to_owned();
        }
        if let Some(set) = line.strip_prefix("* VANISHED ").filter(|set| !set.starts_with('(')) {
            for uid in members(set) {
                let at = self.messages.iter().position(|message| message.uid == Some(uid));
                self.messages.remove(at.expect("only what the client knows"));
            }
        }
        let mut words = line.splitn(4, ' ');
        let (Some("*"), Some(number)) = (words.next(), words.next()) else { return };
        let Ok(number) = number.parse::<usize>() else { return };
        match words.next() {
            Some("EXISTS") => {
                assert!(number >= self.messages.len(), "EXISTS may not shrink: {line}");
                self.messages.resize_with(number, Belief::default);
            }
            Some("EXPUNGE") => {
                assert_ne!(self.kind, Kind::Qresync, "{line}");
                self.messages.remove(number - 1);
            }
            Some("FETCH") => self.fetched(number, words.next().expect("data")),
            _ => (),
        }
    }

    fn fetched(&mut self, number: usize, data: &str) {
        let belief = &mut self.messages[number - 1];
        let behind = |label: &str| data.split_once(label).map(|(_, rest)| rest);
        let until =
            |text: &str, end: &[char]| text.split(end).next().unwrap_or_default().to_owned();
        if let Some(uid) = behind("UID ") {
            let uid = until(uid, &[' ', ')']).parse().expect("a UID");
            assert!(belief.uid.is_none_or(|known| known == uid), "the UID of {number} changed");
            belief.uid = Some(uid);
        }
        if let Some(flags) = behind("FLAGS (") {
            let flags = until(flags, &[')']);
            let flags = flags.split_whitespace().filter(|flag| *flag != "\\Recent");
            belief.flags = Some(flags.map(String::from).collect());
        }
        if let Some(modseq) = behind("MODSEQ (") {
            belief.modseq = Some(until(modseq, &[')']).parse().expect("a number"));
        }
    }

    /// A silent change is believed without a word from the server.
    fn expect(&mut self, number: usize, sign: char, flag: &str) {
        let Some(flags) = self.messages.get_mut(number - 1).and_then(|m| m.flags.as_mut()) else {
            return;
        };
        match sign {
            '+' => {
                flags.insert(flag.to_owned());
            }
            '-' => {
                flags.remove(flag);
            }
            _ => *flags = BTreeSet::from([flag.to_owned()]),
        }
    }
}

/// The numbers of a set.
pub(super) fn members(set: &str) -> Vec<u32> {
    let number = |text: &str| text.parse::<u32>().expect("a number");
    let range = |range: &str| {
        let (low, high) = range.split_once(':').unwrap_or((range, range));
        number(low)..=number(high)
    };
    set.split(',').flat_map(range).collect()
}

#[derive(Clone, Debug)]
enum Step {
    /// The connection is lost, or comes back.
    Away,
    Deliver,
    Noop,
    Expunge,
    Search,
    FetchAll,
    Read(u8),
    Store {
        at: u8,
        sign: char,
        flag: &'static str,
        silent: bool,
        by_uid: bool,
    },
    Move(u8),
    Copy(u8),
}

fn step() -> impl Strategy<Value = Step> {
    let flag = prop::sample::select(vec![
        "\\Seen",
        "\\Deleted",
        "\\Flagged",
        "\\Answered",
        "$Label1",
        "Later",
    ]);
    let sign = prop::sample::select(vec!['+', '-', '=']);
    prop_oneof![
        2 => Just(Step::Away),
        2 => Just(Step::Deliver),
        3 => Just(Step::Noop),
        2 => Just(Step::Expunge),
        1 => Just(Step::Search),
        2 => Just(Step::FetchAll),
        2 => any::<u8>().prop_map(Step::Read),
        8 => (any::<u8>(), sign, flag, any::<bool>(), any::<bool>()).prop_map(
            |(at, sign, flag, silent, by_uid)| Step::Store { at, sign, flag, silent, by_uid }
        ),
        1 => any::<u8>().prop_map(Step::Move),
        1 => any::<u8>().prop_map(Step::Copy),
    ]
}

fn run(rig: &Rig, client: &mut Modelled, step: &Step) {
    let count = client.messages.len();
    let number = |at: u8| usize::from(at) % count.max(1) + 1;
    match step {
        Step::Away if client.away => client.come_back(rig),
        Step::Away => client.away = client.kind == Kind::Qresync,
        Step::Deliver => rig.deliver("Subject: new\r\n\r\nbody\r\n"),
        _ if client.away => (),
        Step::Noop => drop(client.send(rig, "NOOP")),
        Step::Expunge => drop(client.send(rig, "EXPUNGE")),
        Step::Search => drop(client.send(rig, "SEARCH UNSEEN SUBJECT new")),
        Step::FetchAll => drop(client.send(rig, "FETCH 1:* (UID FLAGS MODSEQ)")),
        _ if count == 0 => (),
        Step::Read(at) => drop(client.send(rig, &format!("FETCH {} BODY[]", number(*at)))),
        Step::Move(at) => {
            drop(client.send(rig, &format!("MOVE {} Shared/Support/Done", number(*at))))
        }
        Step::Copy(at) => drop(client.send(rig, &format!("COPY {} Shared/Support", number(*at)))),
        Step::Store { at, sign, flag, silent, by_uid } => {
            let number = number(*at);
            let named = client.messages[number - 1].uid.filter(|_| *by_uid);
            let prefix = if named.is_some() { "UID " } else { "" };
            let named = named.unwrap_or(number as u32);
            let operation = match sign {
                '=' => "FLAGS".to_owned(),
                sign => format!("{sign}FLAGS"),
            };
            let suffix = if *silent { ".SILENT" } else { "" };
            if *silent {
                client.expect(number, *sign, flag);
            }
            client.send(rig, &format!("{prefix}STORE {named} {operation}{suffix} ({flag})"));
        }
    }
}

/// All that a client believes is what a new session of the same user is told.
fn agree(rig: &Rig, modelled: &mut Modelled, login: &str) {
    if modelled.away {
        modelled.come_back(rig);
    }
    modelled.send(rig, "NOOP");
    let mut fresh = Modelled::open(rig, login, Kind::Condstore);
    fresh.send(rig, "FETCH 1:* (UID FLAGS MODSEQ)");
    assert_eq!(modelled.messages.len(), fresh.messages.len());
    for (number, (old, new)) in modelled.messages.iter().zip(&fresh.messages).enumerate() {
        assert!(old.uid.is_none() || old.uid == new.uid, "{number}: {old:?} {new:?}");
        assert!(old.flags.is_none() || old.flags == new.flags, "{number}: {old:?} {new:?}");
    }
}

fn agree_on_modseq(rig: &Rig, modelled: &Modelled, login: &str) {
    let mut fresh = Modelled::open(rig, login, Kind::Condstore);
    fresh.send(rig, "FETCH 1:* (UID FLAGS MODSEQ)");
    for (old, new) in modelled.messages.iter().zip(&fresh.messages) {
        assert!(old.modseq.is_none() || old.modseq == new.modseq, "{old:?} {new:?}");
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 96, ..ProptestConfig::default() })]

    #[test]
    fn every_client_ends_up_with_what_the_store_has(
        steps in prop::collection::vec((0usize..5, step()), 1..80),
        shared in any::<bool>(),
    ) {
        let rig = Rig::with_seen(if shared { SeenMode::Shared } else { SeenMode::PerUser });
        rig.fill(5);
        let who = [
            ("anna", Kind::Plain),
            ("anna", Kind::Condstore),
            ("ben", Kind::Plain),
            ("ben", Kind::Qresync),
            ("anna", Kind::Qresync),
        ];
        let mut clients = who.map(|(login, kind)| Modelled::open(&rig, login, kind));
        for (at, step) in &steps {
            run(&rig, &mut clients[*at], step);
        }
        for (client, (login, kind)) in clients.iter_mut().zip(who) {
            agree(&rig, client, login);
            if kind != Kind::Plain {
                agree_on_modseq(&rig, client, login);
            }
        }
    }
}

#[test]
fn what_is_expunged_stays_readable_until_it_may_be_told() {
    let rig = Rig::new();
    rig.fill(3);
    let (mut anna, mut ben) = (rig.client("anna"), rig.client("ben"));
    rig.send(&mut anna, "SELECT Shared/Support");
    rig.send(&mut ben, "SELECT Shared/Support");
    rig.send(&mut ben, "STORE 2 +FLAGS (\\Deleted)");
    rig.send(&mut ben, "EXPUNGE");
    rig.deliver("Subject: later\r\n\r\n");
    let held = rig.send(&mut anna, "FETCH 1:* (UID ENVELOPE)");
    assert!(held.contains("* 2 FETCH (UID 2 ENVELOPE"), "{held}");
    assert!(!held.contains("EXPUNGE") && !held.contains("EXISTS"), "{held}");
    let flagged = rig.send(&mut anna, "STORE 1:3 +FLAGS.SILENT (\\Flagged)");
    assert!(flagged.contains("a OK [EXPUNGEISSUED]"), "{flagged}");
    let told = rig.send(&mut anna, "NOOP");
    assert_eq!(told, "* 2 EXPUNGE\r\n* 3 EXISTS\r\n* 3 RECENT\r\na OK Nothing to do\r\n");
}

#[test]
fn a_new_keyword_changes_the_flags_of_the_mailbox() {
    let rig = Rig::new();
    rig.fill(2);
    let (mut anna, mut ben) = (rig.client("anna"), rig.client("ben"));
    rig.send(&mut anna, "SELECT Shared/Support");
    rig.send(&mut ben, "SELECT Shared/Support");
    rig.send(&mut ben, "STORE 1 +FLAGS ($Label1)");
    let told = rig.send(&mut anna, "NOOP");
    assert!(told.contains("* FLAGS (\\Answered \\Flagged \\Deleted \\Seen \\Draft $Label1)\r\n"));
    assert!(told.contains("* OK [PERMANENTFLAGS ("), "{told}");
    assert!(told.contains("* 1 FETCH (UID 1 FLAGS (\\Recent $Label1))"), "{told}");
}

#[test]
fn recent_is_claimed_by_the_first_session_that_selects() {
    let rig = Rig::new();
    rig.fill(2);
    let (mut first, mut second) = (rig.client("anna"), rig.client("anna"));
    assert!(rig.send(&mut first, "EXAMINE Shared/Support").contains("* 2 RECENT"));
    assert!(rig.send(&mut first, "SELECT Shared/Support").contains("* 2 RECENT"));
    assert!(rig.send(&mut second, "SELECT Shared/Support").contains("* 0 RECENT"));
    rig.deliver("Subject: new\r\n\r\n");
    assert!(rig.send(&mut second, "NOOP").contains("* 3 EXISTS\r\n* 1 RECENT"));
    assert!(rig.send(&mut first, "NOOP").contains("* 3 EXISTS\r\n* 2 RECENT"));
    assert!(rig.send(&mut second, "FETCH 1:3 FLAGS").contains("* 3 FETCH (FLAGS (\\Recent))"));
    let mut other = rig.client("ben");
    assert!(rig.send(&mut other, "SELECT Shared/Support").contains("* 3 RECENT"));
}

#[test]
fn an_own_change_is_told_once_and_one_of_another_user_as_well() {
    let rig = Rig::new();
    rig.fill(1);
    let (mut anna, mut ben) = (rig.client("anna"), rig.client("ben"));
    rig.send(&mut anna, "SELECT Shared/Support");
    rig.send(&mut ben, "SELECT Shared/Support");
    rig.send(&mut anna, "NOOP");
    let own = rig.send(&mut anna, "STORE 1 +FLAGS (\\Flagged)");
    assert_eq!(own.matches("FETCH").count(), 1, "{own}");
    let silent = rig.send(&mut anna, "STORE 1 +FLAGS.SILENT (\\Answered)");
    assert_eq!(silent, "a OK Stored\r\n");
    let told = rig.send(&mut ben, "NOOP");
    assert!(told.contains("FLAGS (\\Answered \\Flagged \\Recent)"), "{told}");
    // a silent change does not hide what another session did to the same message
    rig.send(&mut ben, "STORE 1 +FLAGS (\\Deleted)");
    let silent = rig.send(&mut anna, "STORE 1 -FLAGS.SILENT (\\Answered)");
    assert!(silent.contains("* 1 FETCH (FLAGS (\\Flagged \\Deleted"), "{silent}");
}

#[test]
fn an_idle_view_is_a_few_pointers() {
    assert!(std::mem::size_of::<super::View>() <= 80, "{}", std::mem::size_of::<super::View>());
}
