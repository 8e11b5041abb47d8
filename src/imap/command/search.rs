//! SEARCH and UID SEARCH. RFC 3501 §6.4.4

use super::Call;
use crate::imap::search::answer::{WithModSeq, write_esearch, write_search};
use crate::imap::search::evaluate::find;
use crate::imap::search::key::Key;
use crate::imap::search::parse::Request;
use crate::imap::view::Expunge;
use crate::imap::{Completion, Refusal, Selected};

/// SEARCH and UID SEARCH.
pub async fn run(call: &mut Call<'_, '_>, selected: &mut Selected) -> Result<Completion, Refusal> {
    let request = Request::parse(&mut call.arguments, &selected.view, call.context.store.now())?;
    let mut modseq = WithModSeq::No;
    if request.key.any(&|key| matches!(key, Key::ModSeq(_))) {
        modseq = WithModSeq::Yes;
        super::enable_condstore(call, selected);
    }
    let hits = find(&*call.context.store, &selected.view, &request.key).await?;
    let form = (call.numbering, modseq);
    match request.returns {
        Some(returns) => write_esearch(&hits, (call.tag, returns), form, call.out),
        None => write_search(&hits, form, call.out).await?,
    }
    let done = Completion::ok("Searched");
    Ok(if request.expunge == Expunge::Held { done.holding_expunge() } else { done })
}
