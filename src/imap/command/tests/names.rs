//! Names that are not composed, of mailboxes that were made so before.

use crate::imap::rig::Rig;
use crate::mail::account::{Account, Folder};
use crate::mail::id::Login;
use crate::store::change::Change;

#[test]
fn what_was_made_so_before_is_found_as_it_is_and_new_names_below_it_are_composed() {
    let rig = Rig::new();
    let account = Account::User(Login::new("anna"));
    let folder = Folder::new("U\u{308}");
    rig.commit(vec![Change::MailboxCreated { account, folder }]);
    let mut anna = rig.client("anna");
    assert!(rig.send(&mut anna, "STATUS U&Awg- (MESSAGES)").ends_with("a OK Status told\r\n"));
    assert!(rig.send(&mut anna, "STATUS &ANw- (MESSAGES)").starts_with("a NO "));
    let created = rig.send(&mut anna, "CREATE U&Awg-/A&Awg-");
    assert!(created.starts_with("a OK "), "{created}");
    for pattern in ["*", "U&Awg-*"] {
        let listed = rig.send(&mut anna, &format!("LIST \"\" {pattern}"));
        assert!(listed.contains(" U&Awg-\r\n"), "{listed}");
        assert!(listed.contains(" U&Awg-/&AMQ-\r\n") && !listed.contains("&ANw-"), "{listed}");
    }
    assert!(rig.send(&mut anna, "LSUB \"\" U&Awg-").contains(" U&Awg-\r\n"));
    let below = rig.send(&mut anna, "STATUS U&Awg-/A&Awg- (MESSAGES)");
    assert!(below.ends_with("a OK Status told\r\n"), "{below}");
}
