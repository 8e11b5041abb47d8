//! The part of a report for people: who was not reached, what their server said, and what is to be
//! done.

use super::address::printable;
use super::{About, Affected};
use crate::mail::date;
use crate::outbound::schedule::Action;

/// Where lines end.
const COLUMNS: usize = 74;
const SECS_PER_HOUR: i64 = 3600;

/// What the sender can do, by the first status code that begins so. RFC 3463 §3
const ADVICE: &[(&str, &str)] = &[
    ("4.4.7", "Send it again later, or reach them another way."),
    ("5.1.2", "Check the part behind the @ for a typing mistake, and send it again."),
    ("5.1.10", "This domain takes no mail at all: ask for another address."),
    ("5.1.", "Check the address for a typing mistake, and send it again."),
    ("5.2.2", "Their mailbox is full: send it again later, or tell them another way."),
    ("5.2.3", "It is too large for them: send it without attachments, or in parts."),
    ("5.2.", "Their mailbox takes no mail at the moment: reach them another way."),
    ("5.3.4", "It is too large for them: send it without attachments, or in parts."),
    ("5.4.4", "Check the part behind the @ for a typing mistake, and send it again."),
    ("5.4.6", "Their mail is sent in a circle: tell the administrator of the address."),
    ("5.6.", "Their server cannot take what the message holds: send it in another form."),
    ("5.7.", "Their server refuses it by its own rules: what it said may tell which."),
];

const OTHERWISE: &str = "What was said may tell why; else ask them another way.";

/// The text.
pub(super) fn write(about: &About<'_>, action: Action, affected: &[Affected<'_>]) -> String {
    let mut out = format!("This is the mail system of {}.\r\n\r\n", about.hostname);
    out.push_str(opening(action, affected.len()));
    out.push_str("\r\n");
    for Affected { recipient, told } in affected {
        out.push_str(&format!("\r\n    <{}>\r\n", printable(&recipient.address.to_string())));
        let said = match told.is_reply {
            true => format!("{} said: {}", told.by, told.text),
            false if told.by.is_empty() => told.text.clone(),
            false => format!("{}: {}", told.by, told.text),
        };
        wrap(&mut out, &said);
        if action == Action::Failed {
            wrap(&mut out, &advice(about, &told.status));
        }
    }
    out.push_str("\r\n");
    out.push_str(&closing(about, action));
    out
}

fn opening(action: Action, recipients: usize) -> &'static str {
    match (action, recipients) {
        (Action::Failed, 1) => "Your message could not be delivered to this address:",
        (Action::Failed, _) => "Your message could not be delivered to these addresses:",
        (Action::Delayed, 1) => "Your message has not been delivered to this address yet:",
        (Action::Delayed, _) => "Your message has not been delivered to these addresses yet:",
        (Action::Relayed, 1) => "Your message was taken by the server of this address:",
        (Action::Relayed, _) => "Your message was taken by the servers of these addresses:",
        (Action::Delivered, 1) => "Your message was delivered to this address:",
        (Action::Delivered, _) => "Your message was delivered to these addresses:",
    }
}

fn advice(about: &About<'_>, status: &str) -> String {
    let row = ADVICE
        .iter()
        .find(|(code, _)| status == *code || (code.ends_with('.') && status.starts_with(code)));
    let advice = row.map_or(OTHERWISE, |(_, advice)| advice);
    if status != "4.4.7" {
        return advice.to_owned();
    }
    let envelope = about.envelope;
    let hours = (about.moment.now.seconds() - envelope.queued_at.seconds()) / SECS_PER_HOUR;
    let how_long = match (hours / 24, hours) {
        (0, 0..=1) => "for a while".to_owned(),
        (0 | 1, hours) => format!("for {hours} hours"),
        (days, _) => format!("for {days} days"),
    };
    format!("It was tried {how_long} and is given up now. {advice}")
}

fn closing(about: &About<'_>, action: Action) -> String {
    match action {
        Action::Failed => "The message, or its header, is attached.\r\n".into(),
        Action::Delayed => format!(
            "Nothing is to be done: it is tried again until\r\n{}.\r\n\
             If it cannot be delivered by then, you will be told.\r\n",
            date::rfc5322(about.envelope.expires_at)
        ),
        Action::Relayed => "That server does not tell when it has delivered a message, so this \
                            is the last\r\nyou hear of it from us, unless it sends a report of \
                            its own.\r\n"
            .into(),
        Action::Delivered => "Whether it has been read is not told by this report.\r\n".into(),
    }
}

/// Indented, broken between words.
fn wrap(out: &mut String, text: &str) {
    const INDENT: &str = "        ";
    let mut columns = 0;
    for word in printable(text).split_whitespace() {
        let width = word.chars().count();
        if columns > 0 && columns + 1 + width <= COLUMNS {
            out.push(' ');
            columns += 1 + width;
        } else {
            out.push_str(if columns > 0 { "\r\n" } else { "" });
            out.push_str(INDENT);
            columns = INDENT.len() + width;
        }
        out.push_str(word);
    }
    out.push_str(if columns > 0 { "\r\n" } else { "" });
}
