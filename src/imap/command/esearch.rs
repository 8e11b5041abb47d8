//! ESEARCH: one search in many mailboxes, none of them selected for it. What the user may not read
//! is left out as if it were not there, and before anything is counted. RFC 7377

use std::collections::HashSet;

use super::search::{Kept, Shows};
use super::{Call, search};
use crate::imap::names::{self, Named};
use crate::imap::search::answer::{WithModSeq, write_results};
use crate::imap::search::contexts::tag_correlator;
use crate::imap::search::evaluate::Hit;
use crate::imap::search::key::Key;
use crate::imap::search::parse::Program;
use crate::imap::search::returns::{Returns, Searching};
use crate::imap::sources::{Scope, Source};
use crate::imap::view::{Claims, View};
use crate::imap::wire::lex::Cursor;
use crate::imap::wire::utf7;
use crate::imap::{Completion, Numbering, Refusal, Selected, seen_mode, virtual_mailbox};
use crate::mail::id::MailboxId;

/// Most mailboxes that one command searches. RFC 7377 §2.4
pub const MAILBOXES_MAX: usize = 1_000;
/// Most source options of one command.
pub const SOURCES_MAX: usize = 64;

/// ESEARCH. RFC 7377 §2
pub async fn run(
    call: &mut Call<'_, '_>,
    mut selected: Option<&mut Selected>,
) -> Result<Completion, Refusal> {
    let sources = match call.arguments.take_word("IN ") {
        true => sources(&mut call.arguments)?,
        false => vec![Source::Selected],
    };
    if sources.contains(&Source::Selected) && selected.is_none() {
        return Err(Refusal::Bad("select a mailbox first".into()));
    }
    let only_selected = sources == [Source::Selected];
    let searching = if only_selected { Searching::Search } else { Searching::Mailboxes };
    let capabilities = &call.context.capabilities;
    let mut shows = None;
    let returns = Returns::parse(&mut call.arguments, (searching, capabilities), &mut shows)?;
    search::check_charset(call)?;
    let returns = returns.unwrap_or(Returns { all: true, ..Returns::default() });
    search::check_tag(call, selected.as_deref(), returns)?;
    let found = all(call, selected.as_deref_mut(), (&sources, returns, shows)).await;
    if let Some(selected) = selected {
        search::saved_nothing(selected, Some(returns), &found);
    }
    found.map(|program| search::completion("Searched", &program))
}

/// Searches one mailbox after the other; answers the program, of which all are alike but for what
/// names mean in a mailbox.
async fn all(
    call: &mut Call<'_, '_>,
    mut selected: Option<&mut Selected>,
    (sources, returns, shows): (&[Source], Returns, Shows),
) -> Result<Program, Refusal> {
    // what is wrong is wrong though there is no mailbox to search
    let nothing = View::of_nothing();
    let program = Program::parse(&mut call.arguments.clone(), &nothing, call.context)?;
    search::rated(call, &nothing, (&program, returns.relevancy)).await?;
    if program.key.any(&|key| matches!(key, Key::ModSeq(_))) {
        call.session.condstore = true;
    }
    let mailboxes = matching(call, selected.as_deref(), sources);
    if mailboxes.len() > MAILBOXES_MAX {
        return Err(Refusal::no("LIMIT", "Too many mailboxes, name fewer"));
    }
    let mut watched = false;
    for named in mailboxes {
        let is_selected = |s: &&mut Selected| s.mailbox.id == named.mailbox.id;
        match selected.as_deref_mut().filter(is_selected) {
            Some(selected) => {
                in_selected(call, selected, (&named, returns, shows.clone())).await?;
                watched = true;
            }
            None => in_another(call, &named, returns).await?,
        }
        call.out.flush_if_full().await?;
    }
    if returns.update && !watched {
        let tag = utf7::quoted(call.tag);
        call.out.line(format_args!("* NO [NOUPDATE {tag}] The selected mailbox is not searched"));
    }
    Ok(program)
}

/// The mailbox that the client has before it, as it believes it to be.
async fn in_selected(
    call: &mut Call<'_, '_>,
    selected: &mut Selected,
    (named, returns, shows): (&Named, Returns, Shows),
) -> Result<(), Refusal> {
    let (mut arguments, context) = (call.arguments.clone(), call.context);
    let program = Program::parse(&mut arguments, &selected.view, context)?;
    let hits = search::rated(call, &selected.view, (&program, returns.relevancy)).await?;
    let correlator = correlator(call, named);
    tell(call, (&correlator, &hits), (returns, &program));
    if returns.save {
        selected.view.save(search::uids(&returns.shown(&hits)));
    }
    if returns.update {
        let kept = Kept { correlator, by: Numbering::Uid, order: None, shows };
        search::watch(call, selected, (&hits, &program), kept);
    }
    Ok(())
}

async fn in_another(
    call: &mut Call<'_, '_>,
    named: &Named,
    returns: Returns,
) -> Result<(), Refusal> {
    let seen = seen_mode(&call.session.directory, &named.mailbox.account);
    let user = call.session.user.clone();
    // it may be deleted at this moment
    if virtual_mailbox::freshen(call.context, call.session, &named.mailbox).await.is_err() {
        return Ok(());
    }
    let view = View::open(call.context, named.mailbox.id, &user, (seen, Claims::Nothing)).await;
    // it may be deleted at this moment
    let Ok(view) = view else { return Ok(()) };
    let program = Program::parse(&mut call.arguments.clone(), &view, call.context)?;
    let hits = search::rated(call, &view, (&program, returns.relevancy)).await?;
    if !hits.is_empty() {
        call.tell_reading(&named.mailbox).await?;
    }
    let correlator = correlator(call, named);
    tell(call, (&correlator, &hits), (returns, &program));
    Ok(())
}

/// `TAG "tag1" MAILBOX "folder1" UIDVALIDITY 1`. RFC 7377 §2.1
fn correlator(call: &Call<'_, '_>, named: &Named) -> String {
    let (name, epoch) = (call.session.spelled(&named.name), named.mailbox.uid_validity.0);
    format!("{} MAILBOX {name} UIDVALIDITY {epoch}", tag_correlator(call.tag))
}

/// Nothing is said of a mailbox in which nothing is found. RFC 7377 §2.1
fn tell(
    call: &mut Call<'_, '_>,
    (correlator, hits): (&str, &[Hit]),
    (returns, program): (Returns, &Program),
) {
    if hits.is_empty() || !returns.answers() {
        return;
    }
    let has_modseq = program.key.any(&|key| matches!(key, Key::ModSeq(_)));
    let modseq = if has_modseq { WithModSeq::Yes } else { WithModSeq::No };
    call.out.push(format!("* ESEARCH ({correlator}) UID").as_bytes());
    write_results(hits, returns, (Numbering::Uid, modseq), call.out.buffer());
    call.out.push(b"\r\n");
}

/// The mailboxes of all sources that the user may see and read, each once.
fn matching(call: &Call<'_, '_>, selected: Option<&Selected>, sources: &[Source]) -> Vec<Named> {
    let choices = call.context.store.subscriptions(&call.session.user);
    let scope = Scope { selected: selected.map(|s| s.mailbox.id), choices: &choices };
    let mut known: HashSet<MailboxId> = HashSet::new();
    let mut all = names::tree(call.context, call.session);
    all.retain(|named| {
        named.rights.has('r')
            && sources.iter().any(|source| scope.has(source, (&named.name, Some(&named.mailbox))))
            && known.insert(named.mailbox.id)
    });
    all
}

/// `(mailboxes "folder1" subtree "folder2") `. RFC 7377 §4 `esearch-source-opts`
fn sources(cursor: &mut Cursor<'_>) -> Result<Vec<Source>, Refusal> {
    if !cursor.take(b'(') {
        return Err(cursor.expected("sources in parentheses"));
    }
    let mut sources = Vec::new();
    loop {
        sources.push(Source::parse(cursor)?);
        if sources.len() > SOURCES_MAX {
            return Err(cursor.expected("at most 64 sources"));
        }
        if cursor.take(b')') {
            break;
        }
        cursor.space()?;
    }
    cursor.space()?;
    sources.dedup();
    Ok(sources)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parsed(text: &str) -> Result<Vec<Source>, Refusal> {
        sources(&mut Cursor::new(text.as_bytes()))
    }

    #[test]
    fn sources_are_read_up_to_their_number() {
        let two = parsed("(mailboxes (inbox \"a b\") SUBTREE x) ").expect("two");
        let names = vec!["INBOX".to_owned(), "a b".to_owned()];
        assert_eq!(two, [Source::Mailboxes(names), Source::Subtree(vec!["x".to_owned()])]);
        let many = |count: usize| {
            let some = (0..count).map(|n| format!("subtree {n}")).collect::<Vec<_>>();
            format!("({}) ", some.join(" "))
        };
        assert!(parsed(&many(SOURCES_MAX)).is_ok());
        assert!(parsed(&many(SOURCES_MAX + 1)).is_err());
        let wrong = [
            "selected",
            "()",
            "(selected-delayed) ",
            "(subtree) ",
            "(mailboxes ()) ",
            "(personal)",
        ];
        for wrong in wrong {
            assert!(parsed(wrong).is_err(), "{wrong}");
        }
    }
}
