//! The queue as text.

use std::io::{self, Write};

use crate::mail::date;
use crate::mail::id::Timestamp;
use crate::server::control::words::{Message, Recipient};

/// All messages, and what they come to.
pub(super) fn list(messages: &[Message], now_secs: i64, out: &mut dyn Write) -> io::Result<()> {
    if messages.is_empty() {
        return writeln!(out, "the queue is empty");
    }
    writeln!(out, "{:>8} {:>7} {:>8}  SENDER", "ID", "AGE", "SIZE")?;
    for message in messages {
        let age = duration(now_secs - message.queued_at_secs);
        let size = bytes(message.size_bytes);
        writeln!(out, "{:>8} {age:>7} {size:>8}  {}", message.id, sender(message))?;
        for recipient in &message.recipients {
            let state = state(recipient, now_secs);
            writeln!(out, "{:>25}  {} ({state})", "", visible(&recipient.address))?;
            if let Some(reply) = &recipient.last_reply {
                writeln!(out, "{:>29}{}", "", visible(reply))?;
            }
        }
    }
    let recipients = messages.iter().map(|message| message.recipients.len()).sum();
    let size = bytes(messages.iter().map(|message| message.size_bytes).sum());
    let messages = count(messages.len(), "message");
    writeln!(out, "{messages}, {}, {size}", count(recipients, "recipient"))
}

/// One message in full.
pub(super) fn show(message: &Message, now_secs: i64, out: &mut dyn Write) -> io::Result<()> {
    let time = |secs| date::rfc5322(Timestamp::from_seconds(secs));
    writeln!(out, "id        {}", message.id)?;
    writeln!(out, "in log    {}", visible(&message.name))?;
    writeln!(out, "sender    {}", sender(message))?;
    let account = message.account.as_deref().unwrap_or("none: it was relayed");
    writeln!(out, "account   {}", visible(account))?;
    writeln!(out, "size      {} bytes", message.size_bytes)?;
    let age = duration(now_secs - message.queued_at_secs);
    writeln!(out, "queued    {} ({age} ago)", time(message.queued_at_secs))?;
    let left = duration(message.expires_at_secs - now_secs);
    writeln!(out, "given up  {} (in {left})", time(message.expires_at_secs))?;
    for recipient in &message.recipients {
        writeln!(out, "to        {}", visible(&recipient.address))?;
        if let Some(upstream) = &recipient.upstream {
            writeln!(out, "          over {}", visible(upstream))?;
        }
        writeln!(out, "          {}", state(recipient, now_secs))?;
        if let Some(reply) = &recipient.last_reply {
            writeln!(out, "          {}", visible(reply))?;
        }
    }
    Ok(())
}

fn sender(message: &Message) -> String {
    match message.sender.as_str() {
        "" => "<> (a report)".into(),
        sender => visible(sender),
    }
}

fn state(recipient: &Recipient, now_secs: i64) -> String {
    let attempts = match recipient.attempts {
        0 => "not tried yet".into(),
        n => count(n as usize, "attempt"),
    };
    let next = match (recipient.held, recipient.next_attempt_secs - now_secs) {
        (true, _) => "held".into(),
        (false, ..=0) => "due now".into(),
        (false, secs) => format!("next in {}", duration(secs)),
    };
    format!("{attempts}, {next}")
}

/// `1 message`, `2 messages`.
pub(in crate::admin) fn count(number: usize, what: &str) -> String {
    match number {
        1 => format!("1 {what}"),
        n => format!("{n} {what}s"),
    }
}

/// Two units at most: `3d 4h`, `5m`.
fn duration(secs: i64) -> String {
    let secs = secs.max(0);
    match (secs / 86_400, secs / 3600 % 24, secs / 60 % 60) {
        (0, 0, 0) => format!("{secs}s"),
        (0, 0, minutes) => format!("{minutes}m"),
        (0, hours, minutes) => format!("{hours}h {minutes}m"),
        (days, hours, _) => format!("{days}d {hours}h"),
    }
}

fn bytes(bytes: u64) -> String {
    match bytes {
        0..10_240 => format!("{bytes}B"),
        10_240..10_485_760 => format!("{}K", bytes / 1024),
        _ => format!("{}M", bytes / 1_048_576),
    }
}

/// What came from outside must not steer the terminal, nor show in another order than it stands.
pub(in crate::admin) fn visible(text: &str) -> String {
    text.chars().map(|c| if c.is_control() || is_unseen(c) { '\u{fffd}' } else { c }).collect()
}

/// Marks of direction, of invisible joining, line and paragraph separators: characters that show
/// nothing themselves.
fn is_unseen(c: char) -> bool {
    matches!(
        c,
        '\u{ad}' | '\u{61c}' | '\u{180e}' | '\u{200b}'..='\u{200f}' | '\u{2028}'..='\u{202e}'
            | '\u{2060}'..='\u{206f}' | '\u{feff}' | '\u{fff9}'..='\u{fffb}'
            | '\u{e0000}'..='\u{e007f}'
    )
}
