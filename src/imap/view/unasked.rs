//! Behind EXISTS: new messages that are shown without a FETCH, and what they mean for searches that
//! are kept up to date. RFC 5465 §5.2, §7, RFC 5267 §4.3

use super::advance::News;
use crate::imap::fetch::answer::Answer;
use crate::imap::fetch::item::Request;
use crate::imap::fetch::write::Beyond;
use crate::imap::object_id::ObjectIds;
use crate::imap::output::Output;
use crate::imap::search::contexts;
use crate::imap::{Refusal, Selected};
use crate::mail::uid_set::UidSet;
use crate::store::Store;

/// Tells searches what has changed and shows new messages, each once: where a search shows it, in
/// front of the search's own response, else behind all of them. RFC 5465 §5.2, §7
pub(super) async fn show(
    (store, ids): (&dyn Store, ObjectIds),
    selected: &mut Selected,
    news: &News,
    out: &mut Output<'_>,
) -> Result<(), Refusal> {
    let mut unasked = selected.view.shown_unasked(&news.added);
    if !selected.view.contexts().is_empty() && !news.touched.is_empty() {
        let mut shown = unasked.as_ref().map_or_else(|| news.added.clone(), |u| u.uids.clone());
        let mut contexts = selected.view.take_contexts();
        let requests = contexts.iter().filter_map(|context| context.shows.as_deref());
        let wanted = unasked.as_ref().and_then(|unasked| unasked.request.as_ref());
        let request = Request::together(requests.chain(wanted));
        let mut told = Ok(());
        for context in &mut contexts {
            told =
                one((store, ids), (selected, context), (&request, &mut shown), (news, out)).await;
            if told.is_err() {
                break;
            }
        }
        contexts.retain(|context| !context.is_too_long(out));
        selected.view.put_contexts(contexts);
        told?;
        unasked.iter_mut().for_each(|unasked| unasked.uids = shown.clone());
    }
    let Some(unasked) = unasked.filter(|unasked| !unasked.uids.is_empty()) else { return Ok(()) };
    match &unasked.request {
        Some(request) => {
            write((store, ids), selected, (request, unasked.beyond, &unasked.uids), out).await
        }
        None => Ok(()),
    }
}

/// Brings one search up to date; takes what it shows out of what is still to be shown.
async fn one(
    (store, ids): (&dyn Store, ObjectIds),
    (selected, context): (&Selected, &mut contexts::Context),
    (request, left): (&Request, &mut UidSet),
    (news, out): (&News, &mut Output<'_>),
) -> Result<(), Refusal> {
    let difference = context.difference(store, &selected.view, &news.touched).await?;
    if context.shows.is_some() {
        let uids = difference.new.intersection(left);
        write((store, ids), selected, (request, context.beyond, &uids), out).await?;
        *left = left.without(&uids);
    }
    context.advance(store, &selected.view, (difference, out)).await
}

/// A message that is gone again, or cannot be read, is left out.
async fn write(
    (store, ids): (&dyn Store, ObjectIds),
    selected: &Selected,
    (request, beyond, uids): (&Request, Beyond, &UidSet),
    out: &mut Output<'_>,
) -> Result<(), Refusal> {
    let selection = selected.view.with_uids(uids);
    let request = request.in_condstore(selected.view.condstore());
    let newly_seen = &UidSet::new();
    let answer = Answer { request: &request, selected, beyond, ids, newly_seen };
    answer.write_all((store, out), &selection, &mut None).await
}
