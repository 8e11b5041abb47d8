//! Who is away: by the directory, or by `postfach away`. What follows somebody who is away goes to
//! nobody.

use super::Scope;
use crate::mail::id::Login;

/// Whether `user` is away at this moment.
pub fn is_away(scope: &Scope<'_>, user: &Login) -> bool {
    let now = scope.store.now();
    let until = scope.store.absences().get(user).copied();
    scope.directory.is_away(user, now) || until.is_some_and(|until| now < until)
}

#[cfg(test)]
mod tests {
    use std::path::Path;
    use std::sync::Arc;

    use super::*;
    use crate::directory::file;
    use crate::mail::account::Account;
    use crate::mail::date::When;
    use crate::mail::id::Timestamp;
    use crate::store::Store;
    use crate::store::change::{Actor, Change, Transaction};
    use crate::store::memory::Memory;
    use crate::sys::ManualClock;

    fn at(text: &str) -> Timestamp {
        When::parse(text).expect("a time").start()
    }

    #[tokio::test]
    async fn somebody_is_away_by_directory_or_by_command_until_the_day_has_passed() {
        let clock = Arc::new(ManualClock::default());
        let store = Memory::new(clock.clone());
        let hash = crate::directory::password::NOBODY;
        let users = format!(
            "[[user]]\nlogin = \"anna\"\npassword = \"{hash}\"\naway = \"2026-12-05\"\n\
             [[user]]\nlogin = \"ben\"\npassword = \"{hash}\"\n"
        );
        let directory = file::parse(&users, Path::new("directory.toml")).expect("valid");
        let account = Account::Inbox("Support".into());
        let scope = Scope { store: &store, directory: &directory, account: &account };
        let away = |login: &str, time: &str| {
            clock.set(at(time));
            is_away(&scope, &Login::new(login))
        };
        assert!(away("anna", "2026-12-05T23:59"), "the day is the last of it");
        assert!(!away("anna", "2026-12-06"));
        assert!(!away("ben", "2026-12-05"));
        let set = async |until| {
            let changes = vec![Change::AwaySet { user: Login::new("ben"), until }];
            let transaction = Transaction { actor: Actor::Operator, changes };
            store.commit(transaction).await.expect("commits");
        };
        set(Some(at("2026-12-08"))).await;
        assert!(away("ben", "2026-12-07T23:59") && !away("ben", "2026-12-08"));
        set(Some(at("2026-12-10"))).await;
        assert!(away("ben", "2026-12-09"));
        set(None).await;
        assert!(!away("ben", "2026-12-09"));
    }
}
