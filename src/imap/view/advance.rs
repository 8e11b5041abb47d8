//! From what the client believes to what is: the untagged responses in between, and nothing more.
//! Whether EXPUNGE may go out is the command table's word, not ours. RFC 3501 §7.4.1

use std::sync::Arc;

use super::wishes::Scope;
use super::{Condstore, Message, OwnSeen, Selection, View, present, unasked};
use crate::imap::flags::{self, Changeable};
use crate::imap::output::Output;
use crate::imap::search::contexts;
use crate::imap::wire::number;
use crate::imap::{Context, Numbering, Refusal, Selected, virtual_mailbox};
use crate::mail::flag::{KeywordSet, SystemFlags};
use crate::mail::id::Uid;
use crate::mail::uid_set::UidSet;
use crate::store::mirror;
use crate::store::overlay::Overlay;
use crate::store::snapshot::Snapshot;

/// Most ranges in one VANISHED: a line stays below 8 KiB.
const VANISHED_RANGES_MAX: usize = 350;

/// Whether EXPUNGE may be sent now. RFC 9051 §7.5.1
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Expunge {
    /// The client does not use a sequence number that this would shift.
    Allowed,
    /// It may: what is gone stays a message until later.
    Held,
}

impl Expunge {
    /// Allowed where both allow it.
    pub fn and(self, other: Expunge) -> Expunge {
        if self == Expunge::Allowed { other } else { self }
    }
}

/// What this session has just done itself, so that the client is told as it expects, and once.
#[derive(Clone, Debug)]
pub struct Own {
    /// To which messages.
    pub uids: UidSet,
    /// What they should look like now, if nobody else changed them.
    pub edit: Edit,
    /// What is said about them.
    pub shown: Shown,
    /// Whether their responses carry the UID.
    pub numbering: Numbering,
}

/// What is said about messages which this session has changed.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Shown {
    /// The flags of each, changed or not. RFC 3501 §6.4.6
    Always,
    /// Nothing but the mod-sequence, where the client wants it. RFC 7162 §3.1.3
    Silent,
    /// Nothing: the command shows them itself.
    Never,
}

/// A change of flags: what `Change::FlagsSet` and `Change::SeenSet` do, for the client's side.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct Edit {
    /// Flags that are set.
    pub set: SystemFlags,
    /// Flags that are cleared.
    pub clear: SystemFlags,
    /// Keywords that are set.
    pub set_keywords: Vec<String>,
    /// Keywords that are cleared.
    pub clear_keywords: ClearKeywords,
}

/// Which keywords are cleared.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub enum ClearKeywords {
    /// None.
    #[default]
    None,
    /// These.
    These(Vec<String>),
    /// All but those that are set.
    Others,
}

/// Tells the client what is new in its mailbox.
pub async fn updates(
    context: &Context,
    selected: &mut Selected,
    out: &mut Output<'_>,
    expunge: Expunge,
) -> Result<(), Refusal> {
    updates_with(context, selected, out, (expunge, None)).await?;
    selected.view.tell_how_far(out);
    Ok(())
}

/// As `updates`, between commands: what is held back is not mentioned again.
pub async fn updates_unasked(
    context: &Context,
    selected: &mut Selected,
    out: &mut Output<'_>,
    expunge: Expunge,
) -> Result<(), Refusal> {
    let before = selected.view.told.clone();
    updates_with(context, selected, out, (expunge, None)).await?;
    if !Arc::ptr_eq(&before, &selected.view.told) {
        selected.view.tell_how_far(out);
    }
    Ok(())
}

/// As `updates`, with what this session has just done itself.
pub async fn updates_with(
    context: &Context,
    selected: &mut Selected,
    out: &mut Output<'_>,
    (expunge, own): (Expunge, Option<&Own>),
) -> Result<(), Refusal> {
    let (store, mailbox) = (&context.store, selected.mailbox.id);
    let view = &selected.view;
    if let Some(sources) = &selected.sources {
        let refresh = virtual_mailbox::refresh(&selected.mailbox, &view.user, sources.clone());
        mirror::bring_forward(&**store, refresh).await?;
    }
    let (mut snapshot, mut overlay) = present(&**store, mailbox, &view.user).await?;
    let same = Arc::ptr_eq(&snapshot, &view.told) && Arc::ptr_eq(&view.told, &view.believed);
    let same = same && Arc::ptr_eq(&overlay, &view.overlay) && !view.is_behind();
    if same && own.is_none() {
        return Ok(());
    }
    let mut first_recent = None;
    let is_told = view.scope() != Scope::Nothing;
    let claims = view.claims == super::Claims::Recent && is_told;
    if claims && snapshot.uid_next > view.believed.uid_next {
        first_recent = Some(store.claim_recent(mailbox, &view.user));
        // what came between the first snapshot and the claim would be recent nowhere
        (snapshot, overlay) = present(&**store, mailbox, &view.user).await?;
    }
    let changeable = selected.changeable();
    let present = Present { snapshot, overlay, first_recent, changeable };
    let news = selected.view.advance(present, (expunge, own), out).await?;
    unasked::show((&**store, context.object_ids), selected, &news, out).await
}

/// Messages of which something was to be told.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub(super) struct News {
    /// They have changed or come.
    pub(super) touched: UidSet,
    /// They have been announced just now.
    pub(super) added: UidSet,
}

impl Selected {
    /// Which flags the user may change here, now.
    pub fn changeable(&self) -> Changeable {
        if self.examined { Changeable::nothing() } else { Changeable::by(self.rights) }
    }
}

/// A mailbox as it is now, for one user.
pub(super) struct Present {
    pub(super) snapshot: Arc<Snapshot>,
    pub(super) overlay: Arc<Overlay>,
    /// What `claim_recent` said, if it was asked.
    pub(super) first_recent: Option<Uid>,
    pub(super) changeable: Changeable,
}

impl View {
    /// Writes what lies between the client's belief and `present`, and believes that from now on.
    pub(super) async fn advance(
        &mut self,
        present: Present,
        (expunge, own): (Expunge, Option<&Own>),
        out: &mut Output<'_>,
    ) -> Result<News, Refusal> {
        let new = present.snapshot;
        if self.told.keywords.len() != new.keywords.len() {
            flags::write_known(out.buffer(), &new.keywords);
            flags::write_permanent(out.buffer(), present.changeable, &new.keywords);
        }
        let difference = Snapshot::difference(&self.believed, &new);
        let (scope, was_held) = (self.scope(), !Arc::ptr_eq(&self.told, &self.believed));
        let mut before = self.clone();
        (before.told, before.overlay) = self.flags_told();
        let touched = before.touched((&new, &present.overlay), scope, own);
        let mut news = News { touched: touched.iter().copied().collect(), ..News::default() };
        let may_go = expunge == Expunge::Allowed || difference.expunged.is_empty();
        if may_go && scope != Scope::Nothing {
            if !self.contexts().is_empty() {
                contexts::tell_gone(self, &difference.expunged, out);
            }
            news.added = difference.added.iter().copied().collect();
            news.touched = news.touched.union(&news.added);
            self.tell_expunged(&difference.expunged, out).await?;
            self.believed = new.clone();
            self.tell_added(difference.added.len(), present.first_recent, out);
        } else if let Some(first) = present.first_recent.filter(|first| *first < new.uid_next) {
            // claimed for messages that are announced later: they must not be forgotten then
            self.recent.insert_range(first, Uid(new.uid_next.0 - 1));
        }
        self.told = new;
        self.overlay = present.overlay;
        self.tell_flags(&before, &touched, own, out).await?;
        self.tell_caught_up(was_held, out);
        Ok(news)
    }

    /// The flags of messages that have changed while the client was away. RFC 7162 §3.2.5.1
    pub async fn tell_changed(
        &self,
        selection: &Selection,
        out: &mut Output<'_>,
    ) -> Result<(), Refusal> {
        for message in self.messages(selection) {
            self.write_flags(&message, Say { flags: true, uid: true, modseq: true }, out.buffer());
            out.flush_if_full().await?;
        }
        Ok(())
    }

    /// The messages of which something may have to be said, ascending.
    fn touched(
        &self,
        (new, overlay): (&Arc<Snapshot>, &Overlay),
        scope: Scope,
        own: Option<&Own>,
    ) -> Vec<Uid> {
        let mut uids = Vec::new();
        if scope == Scope::Everything {
            let difference = Snapshot::difference(&self.told, new);
            uids = difference.changed;
            // announced while no flags were told
            uids.extend(difference.added.into_iter().filter(|uid| self.number(*uid).is_some()));
            uids.extend(Overlay::changed_uids(&self.overlay, overlay));
        }
        if let Some(own) = own.filter(|own| own.shown != Shown::Never) {
            uids.extend(own.uids.iter());
        }
        uids.sort_unstable();
        uids.dedup();
        uids
    }

    /// While expunged messages are held back, a client that remembers the highest mod-sequence of
    /// what it was told would never hear of them on another connection. RFC 7162 §3.2
    fn tell_how_far(&self, out: &mut Output<'_>) {
        if self.condstore.is_on() && !Arc::ptr_eq(&self.told, &self.believed) {
            let highest = self.told_up_to().0;
            out.line(format_args!("* OK [HIGHESTMODSEQ {highest}] What is gone is told later"));
        }
    }

    /// What was held back is told: from now on the client has everything again.
    fn tell_caught_up(&self, was_held: bool, out: &mut Output<'_>) {
        if self.condstore.is_on() && was_held && Arc::ptr_eq(&self.told, &self.believed) {
            let highest = self.told_up_to().0;
            out.line(format_args!("* OK [HIGHESTMODSEQ {highest}] Everything is told"));
        }
    }

    /// The UIDs at once, or each by its number, from the last to the first, so that no EXPUNGE
    /// shifts the number of the next.
    async fn tell_expunged(&self, uids: &UidSet, out: &mut Output<'_>) -> Result<(), Refusal> {
        if self.condstore == Condstore::Qresync {
            return write_vanished(uids, Vanished::Now, out).await;
        }
        for &(low, high) in uids.ranges().iter().rev() {
            for number in (low..=high).rev().filter_map(|uid| self.number(Uid(uid))) {
                out.push(b"* ");
                number::write(out.buffer(), u64::from(number));
                out.push(b" EXPUNGE\r\n");
                out.flush_if_full().await?;
            }
        }
        Ok(())
    }

    fn tell_added(&mut self, count: usize, first_recent: Option<Uid>, out: &mut Output<'_>) {
        if count == 0 {
            return;
        }
        if let Some(first) = first_recent {
            self.add_recent(first, self.believed.len() - count);
        }
        out.line(format_args!("* {} EXISTS", self.exists()));
        if self.claims != super::Claims::Unknown {
            out.line(format_args!("* {} RECENT", self.recent()));
        }
    }

    async fn tell_flags(
        &self,
        before: &View,
        touched: &[Uid],
        own: Option<&Own>,
        out: &mut Output<'_>,
    ) -> Result<(), Refusal> {
        let (mut was, mut is) = (OwnSeen::new(&before.overlay), OwnSeen::new(&self.overlay));
        for uid in touched {
            let Some(number) = self.number(*uid) else { continue };
            // a message that was announced just now: the client will ask for its flags
            if before.number(*uid).is_none() {
                continue;
            }
            let Some(entry) = self.told.by_uid(*uid) else { continue };
            let new = self.message(number, entry, &mut is);
            let own = own.filter(|own| own.uids.contains(*uid));
            let old = before.told.by_uid(*uid).map(|old| before.message(number, old, &mut was));
            let say = match old {
                Some(old) => self.what_to_say((&old, &new), own),
                None => Say { flags: true, uid: true, modseq: self.condstore.is_on() },
            };
            self.write_flags(&new, say, out.buffer());
            out.flush_if_full().await?;
        }
        Ok(())
    }

    fn what_to_say(&self, (old, new): (&Message<'_>, &Message<'_>), own: Option<&Own>) -> Say {
        let condstore = self.condstore.is_on();
        let modseq = condstore && old.modseq != new.modseq;
        let differs = old.flags != new.flags || old.entry.keywords != new.entry.keywords;
        let Some(own) = own else {
            return Say { flags: differs || modseq, uid: true, modseq };
        };
        // RFC 7162 §3.2.4
        let uid = own.numbering == Numbering::Uid || condstore;
        let foreign = !own.edit.explains(old, new, &self.told.keywords);
        match own.shown {
            Shown::Always => Say { flags: true, uid, modseq: condstore },
            Shown::Silent => Say { flags: foreign, uid, modseq },
            Shown::Never => Say { flags: foreign, uid, modseq: modseq && foreign },
        }
    }

    fn write_flags(&self, message: &Message<'_>, say: Say, out: &mut Vec<u8>) {
        if !say.flags && !say.modseq {
            return;
        }
        out.extend_from_slice(b"* ");
        number::write(out, u64::from(message.number));
        out.extend_from_slice(b" FETCH (");
        if say.uid {
            out.extend_from_slice(b"UID ");
            number::write(out, u64::from(message.entry.uid.0));
            out.push(b' ');
        }
        if say.flags {
            let keywords = (&message.entry.keywords, &self.told.keywords[..]);
            flags::write(out, message.flags, message.recent, keywords);
        }
        if say.modseq {
            out.extend_from_slice(if say.flags { b" MODSEQ (" } else { b"MODSEQ (" });
            number::write(out, message.modseq.0);
            out.push(b')');
        }
        out.extend_from_slice(b")\r\n");
    }
}

/// When messages went. RFC 7162 §3.2.10
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Vanished {
    /// Before the client was here: sequence numbers stay as they are.
    Earlier,
    /// Now: those behind them move up.
    Now,
}

/// Writes VANISHED, in as many lines as it needs.
pub async fn write_vanished(
    uids: &UidSet,
    when: Vanished,
    out: &mut Output<'_>,
) -> Result<(), Refusal> {
    let earlier = if when == Vanished::Earlier { "(EARLIER) " } else { "" };
    for some in uids.pieces(VANISHED_RANGES_MAX) {
        out.line(format_args!("* VANISHED {earlier}{some}"));
        out.flush_if_full().await?;
    }
    Ok(())
}

/// What an untagged FETCH shows; without flags and mod-sequence there is none.
#[derive(Clone, Copy)]
struct Say {
    flags: bool,
    uid: bool,
    modseq: bool,
}

impl Edit {
    /// Whether this edit, and nothing else, makes `new` of `old`.
    fn explains(&self, old: &Message<'_>, new: &Message<'_>, names: &[Arc<str>]) -> bool {
        let flags = (old.flags & !self.clear) | self.set;
        let set = flags::numbered(&self.set_keywords, names);
        let clear = match &self.clear_keywords {
            ClearKeywords::None => KeywordSet::default(),
            ClearKeywords::These(these) => flags::numbered(these, names),
            ClearKeywords::Others => KeywordSet([u64::MAX; 4]),
        };
        let mut keywords = old.entry.keywords;
        for (n, word) in keywords.0.iter_mut().enumerate() {
            *word = (*word & !clear.0[n]) | set.0[n];
        }
        flags == new.flags && keywords == new.entry.keywords
    }
}
