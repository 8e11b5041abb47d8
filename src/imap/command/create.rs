//! CREATE: a mailbox, and those above it that are missing. RFC 3501 §6.3.3

use super::Call;
use crate::imap::annotation::{self, SPECIAL_USE};
use crate::imap::names::{self, DELIMITER, Resolved};
use crate::imap::{Completion, Refusal, wire::utf7};
use crate::mail::account::{Folder, FolderRole};
use crate::mail::fold;
use crate::store::change::{About, Change, Outcome};

/// Most special uses in one command.
pub(super) const USES_MAX: usize = 16;

/// CREATE. Needs `k` on the parent; the rights of an account are those of all its folders.
/// RFC 4314 §4
pub async fn run(call: &mut Call<'_, '_>) -> Result<Completion, Refusal> {
    let name = utf7::mailbox(&mut call.arguments)?;
    let uses = parameters(call)?;
    call.arguments.end()?;
    // a delimiter at the end only says that names will be made below. RFC 3501 §6.3.3
    let name = name.strip_suffix(DELIMITER).unwrap_or(&name);
    let target = names::resolve(call.context, call.session, name).ok_or_else(cannot)?;
    if target.mailbox.is_some() {
        return Err(Refusal::no("ALREADYEXISTS", "A mailbox of that name exists"));
    }
    check_may_stand(&target)?;
    let mut changes = creations(call, &target);
    if let Some(value) = special_use(&target, &uses)? {
        changes.push(Change::MetadataSet {
            user: Some(call.session.user.clone()),
            about: About::Folder(target.account.clone(), target.folder.clone()),
            entry: SPECIAL_USE.to_owned(),
            value: Some(value.into_bytes().into()),
        });
    }
    let receipt = call.commit(changes).await?;
    if fold::composed(name).is_some() {
        call.tell_other_name(name, (&target.account, &target.folder));
    }
    let is_created = |outcome: &&Outcome| matches!(outcome, Outcome::Created(_));
    Ok(created(call, receipt.outcomes.iter().rev().find(is_created)))
}

/// The last one that was made is the one that was asked for. RFC 8474 §4.1
fn created(call: &Call<'_, '_>, outcome: Option<&Outcome>) -> Completion {
    match outcome {
        Some(Outcome::Created(id)) if call.context.capabilities.has("OBJECTID") => {
            let code = format!("MAILBOXID ({})", call.context.object_ids.mailbox(*id));
            Completion::with_code(code, "Created")
        }
        _ => Completion::ok("Created"),
    }
}

/// ` (USE (…))`: what the mailbox is to be used for. RFC 6154 §6
fn parameters(call: &mut Call<'_, '_>) -> Result<Vec<String>, Refusal> {
    let cursor = &mut call.arguments;
    let is_on = call.context.capabilities.has("CREATE-SPECIAL-USE");
    if !is_on || !cursor.rest().starts_with(b" (") {
        return Ok(Vec::new());
    }
    cursor.space()?;
    cursor.take(b'(');
    if !cursor.take_word("USE (") {
        return Err(cursor.expected("USE and a list of special uses"));
    }
    let mut uses = Vec::new();
    while !cursor.take(b')') {
        if !uses.is_empty() {
            cursor.space()?;
        }
        if !cursor.take(b'\\') {
            return Err(cursor.expected("a special use"));
        }
        uses.push(format!("\\{}", cursor.atom()?));
        if uses.len() > USES_MAX {
            return Err(cursor.expected("at most 16 special uses"));
        }
    }
    match cursor.take(b')') {
        true => Ok(uses),
        false => Err(cursor.expected("a closing parenthesis")),
    }
}

/// The uses as they are noted; `None`: there are none. A second mailbox of one use is possible, but
/// the server goes on to file in its own. RFC 6154 §3
fn special_use(target: &Resolved, uses: &[String]) -> Result<Option<String>, Refusal> {
    if uses.is_empty() {
        return Ok(None);
    }
    let known: Option<Vec<&str>> =
        uses.iter().map(|name| annotation::special_use(name.as_bytes())).collect();
    match known.filter(|_| annotation::may_have_use(&target.account, &target.folder)) {
        Some(known) => Ok(Some(known.join(" "))),
        None => Err(annotation::no_such_use()),
    }
}

/// The one answer for names under which nothing can be made: of no account, or of one that the user
/// does not see.
pub(super) fn cannot() -> Refusal {
    Refusal::no("CANNOT", "No mailbox can be made under that name")
}

/// Whether the user may make a folder there.
pub(super) fn check_may_stand(target: &Resolved) -> Result<(), Refusal> {
    if !target.rights.has('k') {
        return Err(Refusal::no_permission("You may not create mailboxes there"));
    }
    let first = target.folder.path().split(DELIMITER).next();
    if target.folder.has_role() || first == Some(FolderRole::Assigned.path()) {
        return Err(Refusal::no("CANNOT", "The folders of members are made by the server"));
    }
    // a byte order mark, which nobody could see. RFC 9051 §5.1
    if target.folder.path().contains('\u{feff}') {
        return Err(cannot());
    }
    if first.is_some_and(|first| Folder::new(first).virtual_role().is_some()) {
        return Err(Refusal::no("CANNOT", "A virtual mailbox has no others below it"));
    }
    Ok(())
}

/// The mailbox and the missing ones above it, from the top.
fn creations(call: &Call<'_, '_>, target: &Resolved) -> Vec<Change> {
    let create = |folder| Change::MailboxCreated { account: target.account.clone(), folder };
    let mut changes = missing_parents(call, target);
    changes.push(create(target.folder.clone()));
    changes
}

/// The mailboxes above the target that do not exist, from the top.
pub(super) fn missing_parents(call: &Call<'_, '_>, target: &Resolved) -> Vec<Change> {
    let path = target.folder.path();
    let parents = path.match_indices(DELIMITER).map(|(at, _)| &path[..at]);
    parents
        // INBOX is the root's name, not a folder's
        .filter(|parent| *parent != names::INBOX)
        .map(Folder::new)
        .filter(|folder| call.context.store.find(&target.account, folder).is_none())
        .map(|folder| Change::MailboxCreated { account: target.account.clone(), folder })
        .collect()
}
