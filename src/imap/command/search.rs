//! SEARCH and UID SEARCH. RFC 3501 §6.4.4

use super::Call;
use crate::imap::search::answer::{WithModSeq, write_esearch, write_search};
use crate::imap::search::evaluate::find;
use crate::imap::search::key::Key;
use crate::imap::search::parse::{Request, Returns};
use crate::imap::view::Expunge;
use crate::imap::{Completion, Refusal, Selected};

/// SEARCH and UID SEARCH.
pub async fn run(call: &mut Call<'_, '_>, selected: &mut Selected) -> Result<Completion, Refusal> {
    check_charset(call)?;
    let request = Request::parse(&mut call.arguments, &selected.view, call.context.store.now())?;
    let mut modseq = WithModSeq::No;
    if request.key.any(&|key| matches!(key, Key::ModSeq(_))) {
        modseq = WithModSeq::Yes;
        super::enable_condstore(call, selected);
    }
    let hits = find(&*call.context.store, &selected.view, &request.key).await?;
    let form = (call.numbering, modseq);
    // RFC 9051 §6.4.4: as if RETURN (ALL) stood there
    let all = || Returns { all: true, ..Returns::default() };
    let returns = request.returns.or_else(|| call.session.rev2.then(all));
    match returns {
        Some(returns) => write_esearch(&hits, (call.tag, returns), form, call.out),
        None => write_search(&hits, form, call.out).await?,
    }
    let done = Completion::ok("Searched");
    Ok(if request.expunge == Expunge::Held { done.holding_expunge() } else { done })
}

/// Behind ENABLE UTF8=ACCEPT everything is UTF-8, and CHARSET could only contradict that.
/// RFC 6855 §3
fn check_charset(call: &Call<'_, '_>) -> Result<(), Refusal> {
    let mut ahead = call.arguments.clone();
    if ahead.take_word("RETURN (") {
        let _ = ahead.take_while("options", |byte| byte != b')');
        let _ = (ahead.take(b')'), ahead.take(b' '));
    }
    match call.session.utf8 && ahead.clone().take_word("CHARSET ") {
        true => Err(ahead.expected("no CHARSET behind ENABLE UTF8=ACCEPT")),
        false => Ok(()),
    }
}
