//! ENABLE: extensions that change responses for the rest of the connection. RFC 5161 §3.1

use super::Call;
use crate::imap::{Completion, Refusal};

/// ENABLE. What is unknown or switched off is left out of ENABLED without a word: mutt asks for
/// UTF8=ACCEPT unseen.
pub fn run(call: &mut Call<'_, '_>) -> Result<Completion, Refusal> {
    let mut condstore = false;
    loop {
        let name = call.arguments.atom()?;
        condstore |= name.eq_ignore_ascii_case("CONDSTORE");
        if !call.arguments.take(b' ') || call.arguments.rest().iter().all(|b| *b == b' ') {
            break;
        }
    }
    call.arguments.end()?;
    if condstore && call.context.capabilities.has("CONDSTORE") {
        call.session.condstore = true;
        call.out.line(format_args!("* ENABLED CONDSTORE"));
    } else {
        call.out.line(format_args!("* ENABLED"));
    }
    Ok(Completion::ok("Enabled"))
}
