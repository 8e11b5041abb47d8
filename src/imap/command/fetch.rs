//! FETCH and UID FETCH. Answers from the snapshot where it can, from stored facts in batches where
//! it must, and reads messages only for their bodies. RFC 3501 §6.4.5

use std::io::Write;

use super::share::{Share, shares};
use super::{Call, resync};
use crate::imap::date;
use crate::imap::fetch::body::{Source, gone, is_from_fields, needs_structure};
use crate::imap::fetch::item::{Item, Patience, Request};
use crate::imap::fetch::modifiers::Modifiers;
use crate::imap::fetch::preview;
use crate::imap::fetch::read_ahead::ReadAhead;
use crate::imap::fetch::write::{Beyond, Extensions, envelope, structure};
use crate::imap::object_id::{self, EmailId};
use crate::imap::output::Output;
use crate::imap::view::{Edit, Expunge, Message, Own, Selection, SequenceSet, Shown, updates_with};
use crate::imap::wire::number;
use crate::imap::wire::utf7::Spelling;
use crate::imap::{Completion, Numbering, Refusal, Selected, flags};
use crate::mail::flag::{FlagList, SeenMode, SystemFlags};
use crate::mail::id::{BlobId, Login};
use crate::mail::uid_set::UidSet;
use crate::store::change::{Change, FlagOperation};
use crate::store::{Facts, FactsWanted};

/// So many messages' facts are asked for at once.
const FACTS_BATCH: usize = 500;
/// So many messages are marked as read by one commit.
const SEEN_BATCH: usize = 50;

/// FETCH and UID FETCH.
pub async fn run(call: &mut Call<'_, '_>, selected: &mut Selected) -> Result<Completion, Refusal> {
    let set = SequenceSet::parse(&mut call.arguments)?;
    call.arguments.space()?;
    let start = call.arguments.clone();
    let mut request = Request::parse(&mut call.arguments)?;
    check_modifiers(call, &request)?;
    if request.capabilities().any(|capability| !call.context.capabilities.has(capability)) {
        return Err(start.expected("nothing of a capability that is switched off"));
    }
    if request.items.contains(&Item::ModSeq) {
        super::enable_condstore(call, selected);
    }
    if call.numbering == Numbering::Uid && !request.items.contains(&Item::Uid) {
        // RFC 3501 §6.4.8; in front, where all servers have it
        request.items.insert(0, Item::Uid);
    }
    let mut selection = selected.view.select(&set, call.numbering)?;
    if let Some(partial) = request.modifiers.partial {
        selection = selection.slice(partial.range(selection.len()));
    }
    if let Some(since) = request.modifiers.changed_since {
        if request.modifiers.vanished.is_some() {
            let uids = selected.view.named_uids(&set);
            resync::tell_vanished(call, &selected.view, (since, &uids)).await?;
        }
        selection = selected.view.changed_since(&selection, since);
    }
    let wanted = facts_wanted(&request);
    let marks_seen = request.marks_seen() && may_mark_seen(selected);
    let batch = if marks_seen { SEEN_BATCH } else { FACTS_BATCH };
    let beyond = match call.session.spelling() {
        Spelling::Utf8 => Beyond::Shown,
        Spelling::Utf7 => Beyond::Encoded,
    };
    // what is gone from a virtual mailbox is not shown: it may be forbidden now
    let is_lost = selected.sources.is_some() && call.numbering == Numbering::Sequence;
    let mut failure = (is_lost && selected.view.has_lost(&selection)).then(gone);
    for piece in selection.pieces(batch) {
        let seen =
            if marks_seen { mark_seen(call, selected, &piece).await? } else { UidSet::new() };
        let answer = Answer { request: &request, selected, beyond, newly_seen: &seen };
        answer.write_all(call, &piece, (wanted, &mut failure)).await?;
    }
    match failure {
        None => Ok(Completion::ok("Fetched")),
        Some(refusal) => Err(refusal),
    }
}

/// VANISHED and PARTIAL are for UID FETCH. RFC 7162 §3.2.6, RFC 9394 §3.3
fn check_modifiers(call: &Call<'_, '_>, request: &Request) -> Result<(), Refusal> {
    let Modifiers { vanished, partial, .. } = request.modifiers;
    if call.numbering != Numbering::Uid && (vanished.is_some() || partial.is_some()) {
        return Err(Refusal::Bad("VANISHED and PARTIAL are for UID FETCH only".into()));
    }
    if vanished.is_some() && !call.session.qresync {
        return Err(Refusal::Bad("VANISHED needs ENABLE QRESYNC before".into()));
    }
    if partial.is_some() && !call.context.capabilities.has("PARTIAL") {
        return Err(Refusal::Bad("PARTIAL is switched off".into()));
    }
    Ok(())
}

fn facts_wanted(request: &Request) -> FactsWanted {
    let any = |test: fn(&Item) -> bool| request.items.iter().any(test);
    FactsWanted {
        envelope: any(|item| *item == Item::Envelope),
        structure: any(|item| match item {
            Item::Body | Item::BodyStructure => true,
            Item::Section(section) => needs_structure(section),
            _ => false,
        }),
        fields: any(|item| matches!(item, Item::Section(s) if is_from_fields(s))),
        preview: any(|item| matches!(item, Item::Preview(_))),
        ..FactsWanted::default()
    }
}

fn may_mark_seen(selected: &Selected) -> bool {
    selected.changeable().system.contains(SystemFlags::SEEN)
}

/// Sets \Seen on the messages of `piece` that have it not; answers which these were.
async fn mark_seen(
    call: &mut Call<'_, '_>,
    selected: &mut Selected,
    piece: &Selection,
) -> Result<UidSet, Refusal> {
    let unseen = |m: &Message<'_>| !m.flags.contains(SystemFlags::SEEN);
    let uids: UidSet = selected.view.messages(piece).filter(unseen).map(|m| m.entry.uid).collect();
    if uids.is_empty() {
        return Ok(uids);
    }
    let user = &call.session.user;
    let shares = shares(call, selected, &uids);
    let changes = shares.into_iter().filter(|share| share.rights.has('s'));
    let changes = changes.map(|share| seen_change(share, user)).collect();
    if call.commit(changes).await.is_err() {
        // reading goes on when the disk is full
        return Ok(UidSet::new());
    }
    let edit = Edit { set: SystemFlags::SEEN, ..Edit::default() };
    let numbering = call.numbering;
    let own = Own { uids: uids.clone(), edit, shown: Shown::Never, numbering };
    updates_with(call.context, selected, call.out, (Expunge::Held, Some(&own))).await?;
    Ok(uids)
}

fn seen_change(share: Share, user: &Login) -> Change {
    let (mailbox, uids) = (share.mailbox.id, share.uids);
    match share.seen {
        SeenMode::PerUser => {
            Change::SeenSet { mailbox, user: user.clone(), uids, seen: true, unchanged_since: None }
        }
        SeenMode::Shared => Change::FlagsSet {
            mailbox,
            uids,
            operation: FlagOperation::Add,
            flags: FlagList { system: SystemFlags::SEEN, keywords: Vec::new() },
            unchanged_since: None,
            viewer: None,
        },
    }
}

/// How messages are answered.
struct Answer<'a> {
    request: &'a Request,
    selected: &'a Selected,
    /// Whether the client has enabled UTF-8.
    beyond: Beyond,
    /// Messages whose \Seen this command has just set: their flags are shown too.
    newly_seen: &'a UidSet,
}

impl Answer<'_> {
    /// A message that cannot be read does not keep the others back: the first failure is told at
    /// the end.
    async fn write_all(
        &self,
        call: &mut Call<'_, '_>,
        piece: &Selection,
        (wanted, failure): (FactsWanted, &mut Option<Refusal>),
    ) -> Result<(), Refusal> {
        if wanted == FactsWanted::default() && !self.has_sections() {
            for message in self.selected.view.messages(piece) {
                self.begin(&message, call.out);
                self.simple_items(&message, &Facts::default(), call.out);
                call.out.push(b")\r\n");
            }
            return Ok(call.out.flush_if_full().await?);
        }
        let store = &*call.context.store;
        let blobs: Vec<BlobId> = self.selected.view.messages(piece).map(|m| m.entry.blob).collect();
        let mut facts = match wanted == FactsWanted::default() {
            true => vec![Facts::default(); blobs.len()],
            false => store.facts(&blobs, wanted).await?,
        };
        self.complete_previews(call, &mut facts, &blobs).await;
        let entries = self.selected.view.messages(piece).map(|m| m.entry);
        let mut ahead = ReadAhead::new(store, self.request, entries);
        for (message, facts) in self.selected.view.messages(piece).zip(&facts) {
            let whole = ahead.next().await;
            let is_patient = self.request.items.contains(&Item::Preview(Patience::Patient));
            if is_gone(facts, wanted) || is_patient && facts.preview.is_none() {
                failure.get_or_insert_with(gone);
                continue;
            }
            self.begin(&message, call.out);
            self.simple_items(&message, facts, call.out);
            let source = Source::new(store, message.entry, facts).with_whole(whole);
            if let Err(refusal) = self.sections(&source, call.out).await? {
                failure.get_or_insert(refusal);
            }
            call.out.push(b")\r\n");
            call.out.flush_if_full().await?;
        }
        Ok(())
    }

    /// A message of which no preview can be read is as one that is gone, which is told below.
    async fn complete_previews(&self, call: &Call<'_, '_>, facts: &mut [Facts], blobs: &[BlobId]) {
        let patience = self.request.items.iter().find_map(|item| match item {
            Item::Preview(patience) => Some(*patience),
            _ => None,
        });
        let Some(patience) = patience else { return };
        for (facts, blob) in facts.iter_mut().zip(blobs) {
            let _ = preview::complete(&*call.context.store, (*blob, facts), patience).await;
        }
    }

    fn has_sections(&self) -> bool {
        self.request.items.iter().any(|item| matches!(item, Item::Section(_)))
    }

    fn begin(&self, message: &Message<'_>, out: &mut Output<'_>) {
        out.push(b"* ");
        number::write(out.buffer(), u64::from(message.number));
        out.push(b" FETCH (");
    }

    /// All items but sections, in the order asked for.
    fn simple_items(&self, message: &Message<'_>, facts: &Facts, out: &mut Output<'_>) {
        let out = out.buffer();
        let mut separator: &[u8] = b"";
        let items = &self.request.items;
        let newly = self.newly_seen.contains(message.entry.uid);
        let shows_flags = newly && !items.contains(&Item::Flags);
        // RFC 7162 §3.2.4
        let condstore = newly && self.selected.view.condstore().is_on();
        let shows_uid = condstore && !items.contains(&Item::Uid);
        let shows_modseq = condstore && !items.contains(&Item::ModSeq);
        let added =
            [(shows_uid, Item::Uid), (shows_flags, Item::Flags), (shows_modseq, Item::ModSeq)];
        let added = added.iter().filter(|(shown, _)| *shown).map(|(_, item)| item);
        for item in items.iter().chain(added) {
            if matches!(item, Item::Section(_)) {
                continue;
            }
            out.extend_from_slice(separator);
            separator = b" ";
            self.simple_item(item, (message, facts), out);
        }
        if separator == b" " && self.has_sections() {
            out.push(b' ');
        }
    }

    fn simple_item(&self, item: &Item, (m, facts): (&Message<'_>, &Facts), out: &mut Vec<u8>) {
        match item {
            Item::Flags => {
                let names = &self.selected.view.told().keywords;
                flags::write(out, m.flags, m.recent, (&m.entry.keywords, names));
            }
            Item::Uid => labelled_number(out, b"UID ", u64::from(m.entry.uid.0)),
            Item::Size => labelled_number(out, b"RFC822.SIZE ", u64::from(m.entry.size_bytes)),
            Item::ModSeq => {
                labelled_number(out, b"MODSEQ (", m.modseq.0);
                out.push(b')');
            }
            Item::EmailId => {
                // writing to memory cannot fail
                let _ = write!(out, "EMAILID ({})", EmailId::of(m.entry));
            }
            Item::ThreadId => {
                let _ = write!(out, "THREADID ({})", object_id::thread(m.entry.thread));
            }
            Item::SaveDate => {
                out.extend_from_slice(b"SAVEDATE ");
                date::write_date_time(out, m.entry.saved);
            }
            Item::InternalDate => {
                out.extend_from_slice(b"INTERNALDATE ");
                date::write_date_time(out, m.entry.internal_date);
            }
            Item::Envelope => {
                out.extend_from_slice(b"ENVELOPE ");
                if let Some(facts) = &facts.envelope {
                    envelope(out, facts, self.beyond);
                }
            }
            Item::Body | Item::BodyStructure => {
                let (label, extensions): (&[u8], _) = match item {
                    Item::Body => (b"BODY ", Extensions::Omitted),
                    _ => (b"BODYSTRUCTURE ", Extensions::Shown),
                };
                out.extend_from_slice(label);
                if let Some(part) = &facts.structure {
                    structure(out, part, (extensions, self.beyond));
                }
            }
            Item::Preview(_) => preview::write(out, facts.preview.as_deref()),
            Item::Section(_) => (),
        }
    }

    /// Writes the sections. The outer error ends the connection, the inner one is told at the end.
    async fn sections(
        &self,
        source: &Source<'_>,
        out: &mut Output<'_>,
    ) -> Result<Result<(), Refusal>, Refusal> {
        let mut answer = Ok(());
        let mut separator: &[u8] = b"";
        for item in &self.request.items {
            let Item::Section(section) = item else { continue };
            out.push(separator);
            separator = b" ";
            match source.write(section, out).await {
                Ok(()) => (),
                Err(Refusal::Disconnected) => return Err(Refusal::Disconnected),
                Err(refusal) => answer = Err(refusal),
            }
        }
        Ok(answer)
    }
}

fn labelled_number(out: &mut Vec<u8>, label: &[u8], value: u64) {
    out.extend_from_slice(label);
    number::write(out, value);
}

/// Whether a message's facts could not be read because another session has expunged it.
fn is_gone(facts: &Facts, wanted: FactsWanted) -> bool {
    wanted.envelope && facts.envelope.is_none() || wanted.structure && facts.structure.is_none()
}
