//! SEARCH, SORT, THREAD, each by UID too, and CANCELUPDATE. RFC 3501 §6.4.4, RFC 5256 §3,
//! RFC 5267 §4.3.5

use std::sync::Arc;

use super::Call;
use crate::imap::fetch::item::Request;
use crate::imap::output::Output;
use crate::imap::search::answer::{WithModSeq, write_esearch, write_numbers};
use crate::imap::search::contexts::{CONTEXTS_MAX, Context, ORDERED_MAX, Order, tag_correlator};
use crate::imap::search::evaluate::{Hit, find};
use crate::imap::search::key::Key;
use crate::imap::search::parse::Program;
use crate::imap::search::returns::{Returns, Searching};
use crate::imap::search::sort::Criterion;
use crate::imap::search::{relevancy, sort, threads};
use crate::imap::view::{Expunge, View};
use crate::imap::wire::utf7;
use crate::imap::{Completion, Numbering, Refusal, Selected};
use crate::mail::id::Uid;
use crate::mail::uid_set::UidSet;

/// SEARCH and UID SEARCH.
pub async fn run(call: &mut Call<'_, '_>, selected: &mut Selected) -> Result<Completion, Refusal> {
    let mut shows = None;
    let returns = returns(call, selected, (Searching::Search, &mut shows))?;
    let searched = search(call, selected, (returns, shows)).await;
    saved_nothing(selected, returns, &searched);
    let program = searched?;
    Ok(completion("Searched", &program))
}

async fn search(
    call: &mut Call<'_, '_>,
    selected: &mut Selected,
    (returns, shows): (Option<Returns>, Shows),
) -> Result<Program, Refusal> {
    check_charset(call)?;
    let program = Program::parse(&mut call.arguments, &selected.view, call.context)?;
    let is_rated = returns.is_some_and(|returns| returns.relevancy);
    let modseq = with_modseq(call, selected, &program);
    let hits = rated(call, &selected.view, (&program, is_rated)).await?;
    let form = (call.numbering, modseq);
    // RFC 9051 §6.4.4: as if RETURN (ALL) stood there
    let all = || Returns { all: true, ..Returns::default() };
    match returns.or_else(|| call.session.rev2.then(all)) {
        Some(returns) => {
            answer(call, selected, (&hits, returns), form);
            if returns.update {
                let correlator = tag_correlator(call.tag);
                let kept = Kept { correlator, by: call.numbering, order: None, shows };
                watch(call, selected, (&hits, &program), kept);
            }
        }
        None => write_numbers("SEARCH", &hits, form, call.out).await?,
    }
    Ok(program)
}

/// SORT and UID SORT. RFC 5256 §3, with RETURN: RFC 5267 §3
pub async fn sort(call: &mut Call<'_, '_>, selected: &mut Selected) -> Result<Completion, Refusal> {
    let mut shows = None;
    let returns = match call.context.capabilities.has("ESORT") {
        true => returns(call, selected, (Searching::Sort, &mut shows))?,
        false => None,
    };
    let searched = sort_program(call, selected, (returns, shows)).await;
    saved_nothing(selected, returns, &searched);
    let program = searched?;
    Ok(completion("Sorted", &program))
}

async fn sort_program(
    call: &mut Call<'_, '_>,
    selected: &mut Selected,
    (returns, shows): (Option<Returns>, Shows),
) -> Result<Program, Refusal> {
    let criteria = sort::criteria(&mut call.arguments, &call.context.capabilities)?;
    call.arguments.space()?;
    let (arguments, context) = (&mut call.arguments, call.context);
    let program = Program::parse_behind_charset(arguments, &selected.view, context)?;
    let is_rated = returns.is_some_and(|returns| returns.relevancy)
        || criteria.iter().any(Criterion::is_relevancy);
    let modseq = with_modseq(call, selected, &program);
    let hits = rated(call, &selected.view, (&program, is_rated)).await?;
    let store = &*call.context.store;
    let hits = sort::sorted(store, &selected.view, &hits, &criteria).await?;
    let form = (call.numbering, modseq);
    match returns {
        Some(returns) => {
            answer(call, selected, (&hits, returns), form);
            if returns.update {
                let uids = hits.iter().map(|hit| Uid(hit.uid)).collect();
                let order = Some(Order { criteria: criteria.into(), uids });
                let (correlator, by) = (tag_correlator(call.tag), call.numbering);
                let kept = Kept { correlator, by, order, shows };
                watch(call, selected, (&hits, &program), kept);
            }
        }
        None => write_numbers("SORT", &hits, form, call.out).await?,
    }
    Ok(program)
}

/// What is found in a mailbox, with scores where they are asked for: those are of fuzzy matches
/// only. RFC 6203 §4
pub(super) async fn rated(
    call: &Call<'_, '_>,
    view: &View,
    (program, is_rated): (&Program, bool),
) -> Result<Vec<Hit>, Refusal> {
    if is_rated && !program.key.is_fuzzy() {
        return Err(Refusal::Bad("expected FUZZY among the keys, for there to be scores".into()));
    }
    let store = &*call.context.store;
    let mut hits = find(store, view, &program.key).await?;
    if is_rated {
        relevancy::rate(store, view, &program.key, &mut hits).await?;
    }
    Ok(hits)
}

/// THREAD and UID THREAD. RFC 5256 §3
pub async fn thread(
    call: &mut Call<'_, '_>,
    selected: &mut Selected,
) -> Result<Completion, Refusal> {
    let start = call.arguments.clone();
    let algorithm = format!("THREAD={}", call.arguments.atom()?.to_ascii_uppercase());
    let is_references = algorithm == "THREAD=REFERENCES";
    if !is_references && algorithm != "THREAD=ORDEREDSUBJECT"
        || !call.context.capabilities.has(&algorithm)
    {
        return Err(start.expected("a threading algorithm that is offered"));
    }
    call.arguments.space()?;
    let (arguments, context) = (&mut call.arguments, call.context);
    let program = Program::parse_behind_charset(arguments, &selected.view, context)?;
    with_modseq(call, selected, &program);
    let store = &*call.context.store;
    let hits = find(store, &selected.view, &program.key).await?;
    let by = call.numbering;
    let name = |hit: &Hit| if by == Numbering::Uid { hit.uid } else { hit.number };
    let messages = sort::threadables(store, &selected.view, &hits, name).await?;
    write_threads(&messages, is_references, call.out);
    Ok(completion("Threaded", &program))
}

/// `* THREAD (2)(3 6 (4 23)(44 7 96))`
fn write_threads(messages: &[threads::Threadable], is_references: bool, out: &mut Output<'_>) {
    let forest = match is_references {
        true => threads::by_references(messages),
        false => threads::by_subject(messages),
    };
    out.push(if messages.is_empty() { b"* THREAD" } else { b"* THREAD " });
    forest.write(out.buffer());
    out.push(b"\r\n");
}

/// CANCELUPDATE. RFC 5267 §4.3.5
pub fn cancel_update(
    call: &mut Call<'_, '_>,
    selected: &mut Selected,
) -> Result<Completion, Refusal> {
    let mut tags = Vec::new();
    loop {
        tags.push(call.arguments.quoted()?);
        if !call.arguments.take(b' ') || call.arguments.rest().iter().all(|b| *b == b' ') {
            break;
        }
    }
    call.arguments.end()?;
    let mut contexts = selected.view.take_contexts();
    contexts.retain(|context| !tags.iter().any(|tag| tag == context.tag.as_bytes()));
    selected.view.put_contexts(contexts);
    Ok(Completion::ok("No further updates"))
}

/// What UPDATE shows of new messages. RFC 5465 §7
pub(super) type Shows = Option<Arc<Request>>;

/// The RETURN options.
fn returns(
    call: &mut Call<'_, '_>,
    selected: &Selected,
    (searching, shows): (Searching, &mut Shows),
) -> Result<Option<Returns>, Refusal> {
    let capabilities = &call.context.capabilities;
    let returns = Returns::parse(&mut call.arguments, (searching, capabilities), shows)?;
    check_tag(call, Some(selected), returns.unwrap_or_default())?;
    Ok(returns)
}

/// UPDATE is about the selected mailbox, and told by its tag. RFC 5267 §4.3, RFC 7377 §2.2
pub(super) fn check_tag(
    call: &Call<'_, '_>,
    selected: Option<&Selected>,
    returns: Returns,
) -> Result<(), Refusal> {
    let taken = |s: &Selected| s.view.contexts().iter().any(|context| context.tag == call.tag);
    match selected {
        _ if !returns.update => Ok(()),
        None => Err(Refusal::Bad("select a mailbox before UPDATE".into())),
        Some(selected) if taken(selected) => {
            Err(Refusal::Bad("this tag has a search that is kept up to date already".into()))
        }
        Some(_) => Ok(()),
    }
}

/// MODSEQ among the keys enables CONDSTORE. RFC 7162 §3.1
fn with_modseq(call: &mut Call<'_, '_>, selected: &mut Selected, program: &Program) -> WithModSeq {
    if !program.key.any(&|key| matches!(key, Key::ModSeq(_))) {
        return WithModSeq::No;
    }
    super::enable_condstore(call, selected);
    WithModSeq::Yes
}

/// Writes what RETURN asks for, and saves what SAVE says.
fn answer(
    call: &mut Call<'_, '_>,
    selected: &mut Selected,
    (hits, returns): (&[Hit], Returns),
    form: (Numbering, WithModSeq),
) {
    if returns.answers() {
        write_esearch(hits, (call.tag, returns), form, call.out);
    }
    if returns.save {
        selected.view.save(uids(&returns.shown(hits)));
    }
}

/// A SEARCH with SAVE that is refused empties `$`; one that is not understood leaves it.
/// RFC 5182 §2.1
pub(super) fn saved_nothing(
    selected: &mut Selected,
    returns: Option<Returns>,
    searched: &Result<Program, Refusal>,
) {
    if matches!(searched, Err(Refusal::No { .. })) && returns.is_some_and(|returns| returns.save) {
        selected.view.save(UidSet::new());
    }
}

/// A search that is kept up to date, as far as its kind of command says.
pub(super) struct Kept {
    /// What its answers begin with.
    pub(super) correlator: String,
    /// How its results are named.
    pub(super) by: Numbering,
    /// Of a SORT, their order.
    pub(super) order: Option<Order>,
    /// What is shown of new messages.
    pub(super) shows: Shows,
}

/// From now on the client is told what becomes of these results. RFC 5267 §4.3
pub(super) fn watch(
    call: &mut Call<'_, '_>,
    selected: &mut Selected,
    (hits, program): (&[Hit], &Program),
    kept: Kept,
) {
    let Kept { correlator, by, order, shows } = kept;
    let mut contexts = selected.view.take_contexts();
    let is_long = order.as_ref().is_some_and(|order| order.uids.len() > ORDERED_MAX);
    let is_rated =
        order.as_ref().is_some_and(|order| order.criteria.iter().any(Criterion::is_relevancy));
    let why = match is_long {
        _ if is_rated => Some("An order by relevancy is not kept up to date"),
        true => Some("There are too many results to be kept in order"),
        false if contexts.len() >= CONTEXTS_MAX => Some("Too many searches are kept up to date"),
        false => None,
    };
    if let Some(why) = why {
        let tag = utf7::quoted(call.tag);
        call.out.line(format_args!("* NO [NOUPDATE {tag}] {why}"));
    } else {
        let key = program.key.clone().lasting(&selected.view);
        let (tag, found) = (call.tag.to_owned(), uids(hits));
        let beyond = call.session.beyond();
        contexts.push(Context { tag, correlator, by, key, found, order, shows, beyond });
    }
    selected.view.put_contexts(contexts);
}

pub(super) fn uids(hits: &[Hit]) -> UidSet {
    hits.iter().map(|hit| Uid(hit.uid)).collect()
}

pub(super) fn completion(text: &'static str, program: &Program) -> Completion {
    match program.expunge {
        Expunge::Held => Completion::ok(text).holding_expunge(),
        Expunge::Allowed => Completion::ok(text),
    }
}

/// Behind ENABLE UTF8=ACCEPT everything is UTF-8, and CHARSET could only contradict that.
/// RFC 6855 §3
pub(super) fn check_charset(call: &Call<'_, '_>) -> Result<(), Refusal> {
    match call.session.utf8 && call.arguments.clone().take_word("CHARSET ") {
        true => Err(call.arguments.expected("no CHARSET behind ENABLE UTF8=ACCEPT")),
        false => Ok(()),
    }
}
