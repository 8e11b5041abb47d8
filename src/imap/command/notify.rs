//! NOTIFY: what a client is told without asking, of the selected mailbox and of others.
//! RFC 5465 §3.1

use super::Call;
use crate::imap::notify::Notify;
use crate::imap::notify::request::{Interest, Request, ShowsModSeq, Status};
use crate::imap::{Completion, Refusal, Selected};

/// NOTIFY. What the selected mailbox has accumulated is told before the tagged answer, as by NOOP.
pub async fn run(
    call: &mut Call<'_, '_>,
    mut selected: Option<&mut Selected>,
) -> Result<Completion, Refusal> {
    let (status, interest) = match call.arguments.take_word("SET ") {
        true => {
            let request = Request::parse(&mut call.arguments, &call.context.capabilities)?;
            if request.shows_modseq == ShowsModSeq::Yes {
                call.session.condstore = true;
            }
            (request.status, request.interest)
        }
        false if call.arguments.take_word("NONE") => {
            call.arguments.end()?;
            (Status::Omitted, Interest::nothing())
        }
        false => return Err(call.arguments.expected("SET or NONE")),
    };
    let mut notify = match call.session.notify.take() {
        Some(notify) => notify,
        None => Box::new(Notify::new(call.context, call.session)),
    };
    let who = (call.context, &*call.session, selected.as_deref());
    let asked = notify.ask(interest, who);
    let told = match asked {
        Ok(()) => notify.tell_first(who, status, call.out).await,
        Err(refusal) => Err(refusal),
    };
    call.session.notify = Some(notify);
    if let Some(selected) = &mut selected {
        selected.heed(call.session);
    }
    told?;
    Ok(Completion::ok("What is asked for is told"))
}
