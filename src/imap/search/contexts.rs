//! Searches whose client wants to know what becomes of their results. Looks only at messages that
//! have come, changed or gone. RFC 5267 §4.3

use super::answer::write_set;
use super::evaluate::find_among;
use super::key::Key;
use crate::imap::output::Output;
use crate::imap::view::View;
use crate::imap::wire::utf7;
use crate::imap::{Numbering, Refusal};
use crate::mail::id::Uid;
use crate::mail::uid_set::UidSet;
use crate::store::Store;

/// Most of them in one session. RFC 5267 §4.3.1
pub const CONTEXTS_MAX: usize = 16;

/// One search.
#[derive(Clone, Debug)]
pub struct Context {
    /// The tag of its command.
    pub tag: String,
    /// What its answers begin with.
    pub correlator: String,
    /// How its results are named.
    pub by: Numbering,
    /// What it looks for, without sequence numbers.
    pub key: Key,
    /// What the client knows of its results.
    pub found: UidSet,
}

/// Results that are about to be expunged: told before, as long as their numbers hold.
pub fn tell_gone(view: &mut View, expunged: &UidSet, out: &mut Output<'_>) {
    let mut contexts = view.take_contexts();
    for context in &mut contexts {
        let gone = context.found.intersection(expunged);
        if !gone.is_empty() {
            context.tell("REMOVEFROM", view, &gone, out);
            context.found = context.found.without(&gone);
        }
    }
    view.put_contexts(contexts);
}

/// Messages that have come or changed, and are told: results among them may have become none, and
/// others results.
pub async fn refresh(
    store: &dyn Store,
    view: &mut View,
    touched: &UidSet,
    out: &mut Output<'_>,
) -> Result<(), Refusal> {
    let mut contexts = view.take_contexts();
    for context in &mut contexts {
        let told = context.refresh(store, view, touched, out).await;
        if let Err(refusal) = told {
            view.put_contexts(contexts);
            return Err(refusal);
        }
    }
    view.put_contexts(contexts);
    Ok(())
}

/// `TAG "B01"`. RFC 4466 §2.6.2 `search-correlator`
pub fn tag_correlator(tag: &str) -> String {
    format!("TAG {}", utf7::quoted(tag))
}

impl Context {
    async fn refresh(
        &mut self,
        store: &dyn Store,
        view: &View,
        touched: &UidSet,
        out: &mut Output<'_>,
    ) -> Result<(), Refusal> {
        let among = view.with_uids(touched);
        let hits = find_among(store, view, &self.key, &among).await?;
        let now: UidSet = hits.iter().map(|hit| Uid(hit.uid)).collect();
        let before = self.found.intersection(touched);
        let (gone, new) = (before.without(&now), now.without(&before));
        if !gone.is_empty() {
            self.tell("REMOVEFROM", view, &gone, out);
        }
        if !new.is_empty() {
            self.tell("ADDTO", view, &new, out);
        }
        let rest = self.found.without(&gone);
        self.found = UidSet::of_ranges([rest.ranges(), new.ranges()].concat());
        Ok(())
    }

    /// `* ESEARCH (TAG "B01") UID ADDTO (0 32768:32769)`; 0: wherever they belong.
    fn tell(&self, what: &str, view: &View, uids: &UidSet, out: &mut Output<'_>) {
        let uid = if self.by == Numbering::Uid { " UID" } else { "" };
        out.push(format!("* ESEARCH ({}){uid} {what} (0 ", self.correlator).as_bytes());
        let named = view.named(uids, self.by);
        write_set(named.iter().map(|uid| uid.0), out.buffer());
        out.push(b")\r\n");
    }
}
