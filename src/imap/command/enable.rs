//! ENABLE: extensions that change responses for the rest of the connection. RFC 5161 §3.1

use super::Call;
use crate::imap::{Completion, Refusal, Session};

/// What a client can enable: a capability, and what it changes.
type Extension = (&'static str, fn(&mut Session));

const KNOWN: [Extension; 2] = [
    ("CONDSTORE", |session| session.condstore = true),
    // RFC 7162 §3.2.3: it enables CONDSTORE as well
    ("QRESYNC", |session| (session.condstore, session.qresync) = (true, true)),
];

/// ENABLE. What is unknown or switched off is left out of ENABLED without a word: mutt asks for
/// UTF8=ACCEPT unseen.
pub fn run(call: &mut Call<'_, '_>) -> Result<Completion, Refusal> {
    let mut asked = Vec::new();
    loop {
        asked.push(call.arguments.atom()?);
        if !call.arguments.take(b' ') || call.arguments.rest().iter().all(|b| *b == b' ') {
            break;
        }
    }
    call.arguments.end()?;
    let mut enabled = String::new();
    for (name, enable) in KNOWN {
        let is_asked = asked.iter().any(|word| word.eq_ignore_ascii_case(name));
        if is_asked && call.context.capabilities.has(name) {
            enable(call.session);
            enabled.push(' ');
            enabled.push_str(name);
        }
    }
    call.out.line(format_args!("* ENABLED{enabled}"));
    Ok(Completion::ok("Enabled"))
}
