//! GETACL, MYRIGHTS and LISTRIGHTS: who may do what. RFC 4314 §3
//!
//! Rights are those of an account; all its mailboxes answer alike.

use super::Call;
use crate::directory::{Directory, Rights, Role, rights};
use crate::imap::wire::utf7::{self, quoted_unless_atom};
use crate::imap::{Completion, Refusal};
use crate::mail::account::Account;
use crate::mail::id::Login;

/// All rights that exist here, in the order of RFC 4314 §2.1.
const LETTERS: &str = "lrswipkxtea";

/// GETACL. Needs `a`. RFC 4314 §3.3
pub async fn get_acl(call: &mut Call<'_, '_>) -> Result<Completion, Refusal> {
    let name = call.last_mailbox_name()?;
    let (found, _) = call.find(&name)?;
    if !found.rights.has('a') {
        return Err(Refusal::no_permission("You may not see who has access"));
    }
    call.out.push(format!("* ACL {}", call.session.spelled(&name)).as_bytes());
    for login in call.session.directory.users.keys() {
        let held = rights(&call.session.directory, login, &found.account);
        if !held.is_none() {
            let login = quoted_unless_atom(login.as_str());
            call.out.push(format!(" {login} {}", with_virtual(held)).as_bytes());
        }
        call.out.flush_if_full().await?;
    }
    call.out.push(b"\r\n");
    Ok(Completion::ok("Access listed"))
}

/// MYRIGHTS. RFC 4314 §3.5
pub fn my_rights(call: &mut Call<'_, '_>) -> Result<Completion, Refusal> {
    let name = call.last_mailbox_name()?;
    let (found, _) = call.find(&name)?;
    let name = call.session.spelled(&name);
    write_my_rights(call, &name, found.rights);
    Ok(Completion::ok("Rights listed"))
}

/// Writes the response of MYRIGHTS, which LIST has too, of a name as it is spelled to the client.
/// RFC 8440
pub(super) fn write_my_rights(call: &mut Call<'_, '_>, name: &str, held: Rights) {
    call.out.line(format_args!("* MYRIGHTS {name} {}", with_virtual(held)));
}

/// LISTRIGHTS: what a user has in any case, and what can be given to them. Each right is checked by
/// itself, so none are tied. Needs `a`. RFC 4314 §3.4
pub fn list_rights(call: &mut Call<'_, '_>) -> Result<Completion, Refusal> {
    let name = utf7::mailbox(&mut call.arguments)?;
    call.arguments.space()?;
    let identifier = call.arguments.astring()?;
    call.arguments.end()?;
    let (found, _) = call.find(&name)?;
    if !found.rights.has('a') {
        return Err(Refusal::no_permission("You may not see who has access"));
    }
    let login = known_user(&call.session.directory, &identifier)?;
    let always = always(&call.session.directory, &login, &found.account);
    let mut line = format!(
        "* LISTRIGHTS {} {} {}",
        call.session.spelled(&name),
        quoted_unless_atom(login.as_str()),
        quoted_unless_atom(&with_virtual(always)),
    );
    if !matches!(found.account, Account::User(_)) {
        for letter in optional(always) {
            line.extend([' ', letter]);
        }
    }
    call.out.line(format_args!("{line}"));
    Ok(Completion::ok("Rights listed"))
}

/// The user that an identifier names. Groups, `anyone` and negative rights are not kept here.
pub(super) fn known_user(directory: &Directory, identifier: &[u8]) -> Result<Login, Refusal> {
    let login = std::str::from_utf8(identifier).ok().map(Login::new);
    login.filter(|login| directory.users.contains_key(login)).ok_or_else(|| Refusal::No {
        code: None,
        text: "There is no user of that name; groups and negative rights are not supported".into(),
    })
}

/// What no SETACL can take away: what the role gives, and one's own mailbox.
fn always(directory: &Directory, login: &Login, account: &Account) -> Rights {
    if let Account::User(_) = account {
        return rights(directory, login, account);
    }
    match directory.users.get(login).map(|user| user.role) {
        Some(Role::SuperAdmin) => Rights::manage(),
        Some(Role::Admin) => Rights::read(),
        Some(Role::Member) | None => Rights::NONE,
    }
}

/// The rights that can be given on top of `always`, the virtual ones at the end.
fn optional(always: Rights) -> impl Iterator<Item = char> {
    let real = LETTERS.chars().filter(move |letter| !always.has(*letter));
    let is_whole = |members: &str| members.chars().all(|letter| always.has(letter));
    let virtual_ones = [('c', is_whole("kx")), ('d', is_whole("et"))];
    real.chain(virtual_ones.into_iter().filter(|(_, whole)| !whole).map(|(letter, _)| letter))
}

/// The letters, with those that clients of RFC 2086 know: `c` for `k` or `x`, `d` for `e` or `t`.
/// RFC 4314 §2.1.1
pub(super) fn with_virtual(held: Rights) -> String {
    let any = |members: &str| members.chars().any(|letter| held.has(letter));
    let mut letters: String = LETTERS.chars().filter(|letter| held.has(*letter)).collect();
    letters.extend(any("kx").then_some('c'));
    letters.extend(any("et").then_some('d'));
    letters
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn virtual_rights_are_shown_with_their_members() {
        assert_eq!(with_virtual(Rights::read()), "lrs");
        assert_eq!(with_virtual(Rights::work()), "lrswipted");
        assert_eq!(with_virtual(Rights::manage()), "lrswipkxteacd");
    }

    #[test]
    fn what_can_be_given_is_what_is_not_held_anyway() {
        assert_eq!(optional(Rights::NONE).collect::<String>(), "lrswipkxteacd");
        assert_eq!(optional(Rights::read()).collect::<String>(), "wipkxteacd");
        assert_eq!(optional(Rights::manage()).collect::<String>(), "");
    }
}
