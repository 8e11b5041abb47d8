//! SETACL and DELETEACL: who holds `a` (super-admins) changes who may use an inbox or a channel.
//! What is set replaces what the directory says for that user. RFC 4314 §3.1, §3.2

use super::Call;
use super::acl::known_user;
use crate::directory::{Rights, rights};
use crate::imap::names::Resolved;
use crate::imap::wire::lex::Cursor;
use crate::imap::wire::utf7;
use crate::imap::{Completion, Refusal};
use crate::mail::account::Account;
use crate::mail::id::Login;
use crate::store::change::{Change, Grant};

/// How SETACL combines. RFC 4314 §3.1
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Modification {
    Replace,
    Add,
    Remove,
}

/// SETACL. Needs `a`.
pub async fn set_acl(call: &mut Call<'_, '_>) -> Result<Completion, Refusal> {
    let name = utf7::mailbox(&mut call.arguments)?;
    call.arguments.space()?;
    let identifier = call.arguments.astring()?;
    call.arguments.space()?;
    let (modification, letters) = modified_rights(&mut call.arguments)?;
    call.arguments.end()?;
    let (account, user) = administered(call, &name, &identifier)?;
    let now = rights(&call.session.directory, &user, &account);
    let then = match modification {
        Modification::Replace => letters,
        Modification::Add => letters.union(now),
        Modification::Remove => Rights::letters(&now.to_string().replace(|c| letters.has(c), "")),
    };
    // who may not know of a mailbox can do nothing with it
    if !then.is_none() && !then.has('l') {
        return Err(Refusal::no(
            "CANNOT",
            "Without l the other rights are worth nothing: give l, too",
        ));
    }
    call.commit(vec![grant(account, user, Some(then.to_string()))]).await?;
    Ok(Completion::ok("Access changed"))
}

/// DELETEACL: the directory decides again. Needs `a`.
pub async fn delete_acl(call: &mut Call<'_, '_>) -> Result<Completion, Refusal> {
    let name = utf7::mailbox(&mut call.arguments)?;
    call.arguments.space()?;
    let identifier = call.arguments.astring()?;
    call.arguments.end()?;
    let (account, user) = administered(call, &name, &identifier)?;
    call.commit(vec![grant(account, user, None)]).await?;
    Ok(Completion::ok("Access is as declared"))
}

fn administered(
    call: &Call<'_, '_>,
    name: &str,
    identifier: &[u8],
) -> Result<(Account, Login), Refusal> {
    let (Resolved { account, rights, .. }, _) = call.find(name)?;
    if !rights.has('a') {
        return Err(Refusal::no_permission("You may not change who has access"));
    }
    if let Account::User(_) = account {
        return Err(Refusal::no("CANNOT", "A personal mailbox is its owner's alone"));
    }
    let user = known_user(&call.session.directory, identifier)?;
    Ok((account, user))
}

fn grant(account: Account, user: Login, rights: Option<String>) -> Change {
    Change::Granted(Grant { account, user, rights })
}

/// `mod-rights`: an optional sign and letters; an unknown one is an error. RFC 4314 §7
fn modified_rights(arguments: &mut Cursor<'_>) -> Result<(Modification, Rights), Refusal> {
    let start = arguments.clone();
    let text = arguments.astring()?;
    let (modification, letters) = match text.split_first() {
        Some((b'+', letters)) => (Modification::Add, letters),
        Some((b'-', letters)) => (Modification::Remove, letters),
        _ => (Modification::Replace, text.as_slice()),
    };
    let mut expanded = String::new();
    for letter in letters {
        match letter {
            b'c' => expanded.push_str("kx"),
            b'd' => expanded.push_str("et"),
            b'l' | b'r' | b's' | b'w' | b'i' | b'p' | b'k' | b'x' | b't' | b'e' | b'a' => {
                expanded.push(char::from(*letter));
            }
            _ => return Err(start.expected("rights out of lrswipkxtea, c and d")),
        }
    }
    Ok((modification, Rights::letters(&expanded)))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parsed(text: &str) -> Option<(Modification, String)> {
        let rights = modified_rights(&mut Cursor::new(text.as_bytes())).ok();
        rights.map(|(modification, rights)| (modification, rights.to_string()))
    }

    #[test]
    fn rights_come_plain_with_a_sign_and_with_the_letters_of_old() {
        assert_eq!(parsed("lrs"), Some((Modification::Replace, "lrs".into())));
        assert_eq!(parsed("\"\""), Some((Modification::Replace, String::new())));
        assert_eq!(parsed("+d"), Some((Modification::Add, "te".into())));
        assert_eq!(parsed("-cr"), Some((Modification::Remove, "rkx".into())));
        assert_eq!(parsed("lrz"), None);
        assert_eq!(parsed("LR"), None);
    }
}
