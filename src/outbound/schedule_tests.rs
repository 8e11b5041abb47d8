//! When a message is tried again, given up, and told of.

use std::sync::Arc;

use super::*;
use crate::mail::account::Account;
use crate::mail::address::Address;
use crate::mail::id::Login;
use crate::mail::transport::Body;

const HOUR: i64 = 3600;

fn envelope() -> QueuedEnvelope {
    QueuedEnvelope {
        id: "x1".into(),
        reverse_path: Address::parse("anna@example.org"),
        sender: Some(Account::User(Login::new("anna"))),
        envid: None,
        ret: None,
        body: Body::SevenBit,
        smtputf8: false,
        queued_at: at(0),
        expires_at: at(5 * 24 * HOUR),
    }
}

fn at(seconds: i64) -> Timestamp {
    Timestamp::from_seconds(seconds)
}

fn moment(seconds: i64) -> Moment {
    Moment { now: at(seconds), entropy: 0 }
}

fn recipient(notify: Option<Notify>) -> QueuedRecipient {
    QueuedRecipient {
        number: 0,
        address: Address::new("bob", "example.net"),
        upstream: None,
        notify,
        orcpt: None,
        progress: Progress::new(at(0)),
    }
}

fn told(text: &str) -> Told {
    let (by, status) = ("mx.example.net".into(), "4.2.0".into());
    Told { by, status, text: text.into(), is_reply: true, dsn: false }
}

fn judge(notify: Option<Notify>, fate: Fate, seconds: i64) -> Judgement {
    let (envelope, recipient) = (envelope(), recipient(notify));
    let policy = Policy::default();
    Case { envelope: &envelope, recipient: &recipient, policy: &policy }
        .judge(fate, moment(seconds))
}

const NEVER: Notify = Notify { success: false, failure: false, delay: false };

#[test]
fn waits_double_up_to_their_limit_with_a_fifth_of_jitter() {
    let policy = Policy::default();
    let wait =
        |failures, entropy| policy.next(failures, Moment { now: at(1000), entropy }).0 - at(1000).0;
    let shortest: Vec<i64> = (1..=8).map(|failures| wait(failures, 0) / 1_000_000).collect();
    assert_eq!(shortest, [240, 480, 960, 1920, 3840, 7680, 11_520, 11_520]);
    let spread = 60_000_000;
    assert_eq!(wait(1, 2 * spread - 1), 360_000_000 - 1, "just below a fifth more");
    assert_eq!(wait(1, 2 * spread), wait(1, 0));
    assert_eq!(wait(u32::MAX, 0), wait(8, 0));
}

#[test]
fn a_deferred_recipient_waits_and_is_told_of_after_four_hours_once() {
    let told = told("450 4.2.0 later");
    let early = judge(None, Fate::Deferred(told.clone()), 4 * HOUR - 1);
    let RecipientUpdate::Waits(progress) = &early.update else { panic!("{early:?}") };
    assert_eq!(progress.attempts, 1);
    assert_eq!(progress.last_reply.as_deref(), Some("mx.example.net: 450 4.2.0 later"));
    assert_eq!((progress.delay_told, early.report), (false, None));

    let late = judge(None, Fate::Deferred(told.clone()), 4 * HOUR);
    assert_eq!(late.report, Some((Action::Delayed, told.clone())));
    let RecipientUpdate::Waits(progress) = late.update else { panic!("it waits") };
    assert!(progress.delay_told);

    let (envelope, policy) = (envelope(), Policy::default());
    let again = QueuedRecipient { progress, ..recipient(None) };
    let case = Case { envelope: &envelope, recipient: &again, policy: &policy };
    assert_eq!(case.judge(Fate::Deferred(told), moment(8 * HOUR)).report, None);
    assert_eq!(case.deadline(), envelope.expires_at);
}

#[test]
fn a_message_is_given_up_when_it_expires_and_not_before() {
    let end = 5 * 24 * HOUR;
    let before = judge(None, Fate::Deferred(told("450 later")), end - 1);
    let RecipientUpdate::Waits(progress) = before.update else { panic!("it waits") };
    assert_eq!(progress.next_attempt, at(end), "the last attempt is made at the end");
    let after = judge(None, Fate::Deferred(told("450 later")), end);
    assert_eq!(after.update, RecipientUpdate::Done);
    let (action, why) = after.report.expect("a report");
    assert_eq!(
        (action, why.status.as_str(), why.text.as_str()),
        (Action::Failed, "4.4.7", "450 later")
    );
}

#[test]
fn notify_decides_what_the_sender_is_told() {
    let only = |success, failure, delay| Some(Notify { success, failure, delay });
    let late = 4 * HOUR;
    let rows = [
        (None, [None, Some(Action::Failed), Some(Action::Delayed)]),
        (Some(NEVER), [None, None, None]),
        (only(true, false, false), [Some(Action::Relayed), None, None]),
        (only(false, true, false), [None, Some(Action::Failed), None]),
        (only(false, false, true), [None, None, Some(Action::Delayed)]),
    ];
    for (notify, expected) in rows {
        let fates = [Fate::Delivered, Fate::Failed, Fate::Deferred];
        let reports = fates.map(|fate| judge(notify, fate(told("text")), late).report);
        assert_eq!(reports.map(|report| report.map(|(action, _)| action)), expected, "{notify:?}");
    }
}

#[test]
fn a_server_that_reports_itself_spares_us_the_report_of_success() {
    let notify = Some(Notify { success: true, failure: true, delay: false });
    let reported = judge(notify, Fate::Delivered(Told { dsn: true, ..told("250") }), 1);
    assert_eq!(reported, Judgement { update: RecipientUpdate::Done, report: None });
}

#[test]
fn mail_without_a_reverse_path_is_never_reported() {
    let envelope = QueuedEnvelope { reverse_path: None, ..envelope() };
    let recipient = recipient(Some(Notify { success: true, failure: true, delay: true }));
    let policy = Policy::default();
    let case = Case { envelope: &envelope, recipient: &recipient, policy: &policy };
    for fate in [Fate::Delivered, Fate::Failed, Fate::Deferred] {
        assert_eq!(case.judge(fate(told("text")), moment(100 * HOUR)).report, None);
    }
    assert_eq!(case.deadline(), envelope.expires_at);
}

#[test]
fn an_overdue_recipient_is_told_of_without_counting_an_attempt() {
    let (envelope, policy) = (envelope(), Policy::default());
    let waiting = recipient(None);
    let case = Case { envelope: &envelope, recipient: &waiting, policy: &policy };
    assert_eq!(case.deadline(), at(4 * HOUR));
    let judgement = case.overdue(told("no answer"), at(4 * HOUR));
    let RecipientUpdate::Waits(progress) = judgement.update else { panic!("it waits") };
    assert_eq!((progress.attempts, progress.delay_told), (0, true));
    assert_eq!(judgement.report.map(|(action, _)| action), Some(Action::Delayed));
    let judgement = case.overdue(told("no answer"), envelope.expires_at);
    assert_eq!(judgement.update, RecipientUpdate::Done);
}

#[test]
fn what_was_said_is_kept_on_one_line_within_its_limit() {
    let long = format!("450\r\n{}", "ä".repeat(LAST_REPLY_BYTES_MAX));
    let kept = last_reply(&Told { by: String::new(), ..told(&long) });
    assert!(kept.len() <= LAST_REPLY_BYTES_MAX && kept.len() > LAST_REPLY_BYTES_MAX - 2);
    assert!(kept.starts_with("450  ää"));
    let exact = "x".repeat(LAST_REPLY_BYTES_MAX);
    assert_eq!(last_reply(&Told { by: String::new(), ..told(&exact) }), exact);
}

#[test]
fn a_hold_outlives_an_attempt() {
    let mut held = recipient(None);
    held.progress.held = true;
    let (envelope, policy) = (Arc::new(envelope()), Policy::default());
    let case = Case { envelope: &envelope, recipient: &held, policy: &policy };
    let judgement = case.judge(Fate::Deferred(told("450")), moment(1));
    assert!(matches!(judgement.update, RecipientUpdate::Waits(progress) if progress.held));
}
