//! GETQUOTA and GETQUOTAROOT: how much may be kept, and how much is. RFC 9208 §4.1

use super::Call;
use crate::directory::rights;
use crate::imap::names::resolve;
use crate::imap::wire::utf7::quoted_unless_atom;
use crate::imap::{Completion, Refusal, quota};
use crate::mail::account::Account;

/// GETQUOTA. What others keep is told to who may read it. RFC 9208 §8
pub fn get_quota(call: &mut Call<'_, '_>) -> Result<Completion, Refusal> {
    let root = call.arguments.astring()?;
    call.arguments.end()?;
    let root = String::from_utf8_lossy(&root).into_owned();
    let (directory, user) = (&call.session.directory, &call.session.user);
    let account = quota::account(directory, &root);
    let account = account.filter(|account| rights(directory, user, account).has('r'));
    let unknown = || Refusal::no("NONEXISTENT", "There is no such quota root");
    tell(call, (&root, &account.ok_or_else(unknown)?));
    Ok(Completion::ok("Quota told"))
}

/// GETQUOTAROOT; the mailbox need not be there yet. Needs `r`, for the counts are of its messages.
/// RFC 9208 §6
pub fn get_quota_root(call: &mut Call<'_, '_>) -> Result<Completion, Refusal> {
    let name = call.last_mailbox_name()?;
    let found = resolve(call.context, call.session, &name);
    let found = found.ok_or_else(Refusal::no_such_mailbox)?;
    if !found.rights.has('r') {
        return Err(Refusal::no_permission("You may not read this mailbox"));
    }
    let shown = call.session.spelled(&name);
    match quota::root(&call.session.directory, &found.account) {
        Some(root) => {
            let written = quoted_unless_atom(&root);
            call.out.line(format_args!("* QUOTAROOT {shown} {written}"));
            tell(call, (&root, &found.account));
        }
        None => call.out.line(format_args!("* QUOTAROOT {shown}")),
    }
    Ok(Completion::ok("Quota root told"))
}

fn tell(call: &mut Call<'_, '_>, (root, account): (&str, &Account)) {
    let limits = call.session.directory.quota(account);
    let resources = quota::written(limits, call.context.store.usage(account));
    call.out.line(format_args!("* QUOTA {} ({resources})", quoted_unless_atom(root)));
}
