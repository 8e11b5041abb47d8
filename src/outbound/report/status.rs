//! The part of a report for programs. RFC 3464 §2, RFC 6533 §4.1

use super::{About, Affected, address, folded};
use crate::mail::date;
use crate::outbound::schedule::Action;
use crate::smtp::client::Told;

/// Content-Type, and fields: a group for the message, one for each recipient.
pub(super) fn write(
    about: &About<'_>,
    action: Action,
    affected: &[Affected<'_>],
) -> (&'static str, String) {
    let envelope = about.envelope;
    let mut out = String::new();
    if let Some(envid) = &envelope.envid {
        line(&mut out, "Original-Envelope-Id", &address::envelope_id(envid));
    }
    line(&mut out, "Reporting-MTA", &format!("dns; {}", about.hostname));
    line(&mut out, "Arrival-Date", &date::rfc5322(envelope.queued_at));
    for affected in affected {
        out.push_str("\r\n");
        recipient(&mut out, about, (action, affected));
    }
    let kind = match out.is_ascii() {
        true => "message/delivery-status",
        false => "message/global-delivery-status; charset=utf-8",
    };
    (kind, out)
}

/// RFC 3464 §2.3
fn recipient(out: &mut String, about: &About<'_>, (action, affected): (Action, &Affected<'_>)) {
    let Affected { recipient, told } = affected;
    if let Some(orcpt) = &recipient.orcpt {
        line(out, "Original-Recipient", &address::original(orcpt));
    }
    line(out, "Final-Recipient", &address::of(&recipient.address));
    let (word, class) = match action {
        Action::Failed => ("failed", &['5', '4'][..]),
        Action::Delayed => ("delayed", &['4'][..]),
        Action::Relayed => ("relayed", &['2'][..]),
        Action::Delivered => ("delivered", &['2'][..]),
    };
    line(out, "Action", word);
    line(out, "Status", &status(told, class));
    if !told.by.is_empty() {
        line(out, "Remote-MTA", &format!("dns; {}", address::ascii(&told.by)));
    }
    let kind = if told.is_reply { "smtp" } else { "x-postfach" };
    line(out, "Diagnostic-Code", &format!("{kind}; {}", address::ascii(&told.text)));
    line(out, "Last-Attempt-Date", &date::rfc5322(about.moment.now));
    line(out, "Final-Log-ID", &address::printable(&about.envelope.id));
    if action == Action::Delayed {
        line(out, "Will-Retry-Until", &date::rfc5322(about.envelope.expires_at));
    }
}

/// The server's own code where it is one and of a fitting class. RFC 3464 §2.3.4
fn status(told: &Told, classes: &[char]) -> String {
    let numbers: Vec<&str> = told.status.split('.').collect();
    let digits = |n: &&str| (1..=3).contains(&n.len()) && n.bytes().all(|b| b.is_ascii_digit());
    let fits = numbers.len() == 3
        && numbers.iter().all(digits)
        && classes.iter().any(|class| numbers[0].chars().eq([*class]));
    let class = classes.first().copied().unwrap_or('5');
    if fits { told.status.clone() } else { format!("{class}.0.0") }
}

fn line(out: &mut String, name: &str, value: &str) {
    out.push_str(&folded(&format!("{name}: {value}")));
    out.push_str("\r\n");
}
