//! ENABLE: extensions that change responses for the rest of the connection. RFC 5161 §3.1

use super::Call;
use crate::imap::notify::Notify;
use crate::imap::{Completion, Context, Refusal, Selected, Session};

/// What a client can enable: a capability, and what it changes.
type Extension = (&'static str, fn(&Context, &mut Session));

const KNOWN: [Extension; 5] = [
    ("CONDSTORE", |_, session| session.condstore = true),
    // RFC 7162 §3.2.3: it enables CONDSTORE as well
    ("QRESYNC", |_, session| (session.condstore, session.qresync) = (true, true)),
    (UTF8, |_, session| session.utf8 = true),
    (REV2, |_, session| session.rev2 = true),
    ("METADATA", tell_of_metadata),
];

/// RFC 5464 §4.4
fn tell_of_metadata(context: &Context, session: &mut Session) {
    let notify = session.notify.take();
    let mut notify = notify.unwrap_or_else(|| Box::new(Notify::new(context, session)));
    notify.enable_metadata(context);
    session.notify = Some(notify);
}

const UTF8: &str = "UTF8=ACCEPT";
const REV2: &str = "IMAP4rev2";

/// ENABLE. What is unknown or switched off is left out of ENABLED without a word: mutt asks for
/// UTF8=ACCEPT unseen.
///
/// What changes how names and new messages are told is for before a mailbox is selected; the others
/// are let through behind that, because clients send them. RFC 6855 §3, RFC 9051 §6.3.1
pub fn run(call: &mut Call<'_, '_>, selected: Option<&Selected>) -> Result<Completion, Refusal> {
    let start = call.arguments.clone();
    let mut asked = Vec::new();
    loop {
        asked.push(call.arguments.atom()?);
        if !call.arguments.take(b' ') || call.arguments.rest().iter().all(|b| *b == b' ') {
            break;
        }
    }
    call.arguments.end()?;
    let is_late = |name: &&str| [UTF8, REV2].iter().any(|late| late.eq_ignore_ascii_case(name));
    if selected.is_some() && asked.iter().any(is_late) {
        return Err(start.expected("no mailbox selected, for UTF8=ACCEPT or IMAP4rev2"));
    }
    let mut enabled = String::new();
    for (name, enable) in KNOWN {
        let is_asked = asked.iter().any(|word| word.eq_ignore_ascii_case(name));
        if is_asked && call.context.capabilities.has(name) {
            enable(call.context, call.session);
            enabled.push(' ');
            enabled.push_str(name);
        }
    }
    call.out.line(format_args!("* ENABLED{enabled}"));
    Ok(Completion::ok("Enabled"))
}
