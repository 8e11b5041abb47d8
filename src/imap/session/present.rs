//! What changes around a session while it is open: the directory, and the selected mailbox itself.

use std::sync::Arc;

use super::{Dialogue, Lost, Next, State};
use crate::directory::rights::reads_by_role;
use crate::directory::{Directory, rights_in};
use crate::imap::command::select::is_read_only;
use crate::imap::output::Output;
use crate::imap::view::Expunge;
use crate::imap::{Refusal, Selected, flags, seen_mode, virtual_mailbox};

/// Whether the selected mailbox stays so.
#[derive(PartialEq, Eq)]
enum Access {
    Kept,
    Lost,
}

impl Dialogue {
    /// Other rights hold from now on. A mailbox that may no longer be read is closed; a user who is
    /// gone is sent away.
    pub fn directory_changed(&mut self, directory: Arc<Directory>, out: &mut Output<'_>) -> Next {
        let access = match &mut self.state {
            State::NotAuthenticated | State::Logout => return Next::Command,
            State::Authenticated(session) | State::Selected(session, _)
                if !directory.users.contains_key(&session.user) =>
            {
                return self.bye("Your account is no longer here", out);
            }
            State::Authenticated(session) => {
                session.directory = directory;
                return Next::Command;
            }
            State::Selected(session, selected) => {
                session.directory = directory;
                let (account, folder) = (&selected.mailbox.account, &selected.mailbox.folder);
                let now = rights_in(&session.directory, &session.user, (account, folder));
                let sources = virtual_mailbox::sources(&self.context, session, &selected.mailbox);
                selected.sources = sources;
                // what from now on only the role shows is opened anew, which the audit log tells
                let is_untold = reads_by_role(&session.directory, &session.user, account)
                    && !session.told.contains(&selected.mailbox.id);
                let same_seen = seen_mode(&session.directory, account) == selected.seen;
                if now.has('l') && now.has('r') && same_seen && !is_untold {
                    let before = std::mem::replace(&mut selected.rights, now);
                    if before != now {
                        tell_rights(selected, before, out);
                    }
                    Access::Kept
                } else {
                    Access::Lost
                }
            }
        };
        if access == Access::Lost {
            self.close_selected(out);
        }
        Next::Command
    }

    /// Another session may have deleted or renamed the selected mailbox, or it has begun anew: no
    /// UID that the client knows is valid then. RFC 3501 §2.3.1.1
    pub(super) fn check_selected(&mut self, out: &mut Output<'_>) {
        let State::Selected(_, selected) = &mut self.state else { return };
        match self.context.store.mailbox(selected.mailbox.id) {
            Some(mailbox) if mailbox.uid_validity == selected.mailbox.uid_validity => {
                selected.mailbox = mailbox;
            }
            _ => self.close_selected(out),
        }
    }

    /// What a virtual mailbox shows may have become somebody else's alone: no command may find it.
    pub(super) async fn look_ahead(&mut self, out: &mut Output<'_>) -> Result<(), Refusal> {
        match &self.state {
            State::Selected(_, selected) if selected.sources.is_some() => {
                self.updates(out, Expunge::Held).await
            }
            _ => Ok(()),
        }
    }

    /// From here on the mailbox is as absent. RFC 7162 §3.2.11
    fn close_selected(&mut self, out: &mut Output<'_>) {
        if matches!(self.state, State::Selected(..)) {
            self.state = std::mem::replace(&mut self.state, State::Logout).closed();
            self.lost = Lost::Mailbox;
            out.line(format_args!("* OK [CLOSED] The mailbox is no longer there"));
        }
    }
}

/// RFC 3501 §7.1: the access to a selected mailbox may change between read-only and read-write.
fn tell_rights(selected: &Selected, before: crate::directory::Rights, out: &mut Output<'_>) {
    if selected.examined {
        return;
    }
    flags::write_permanent(out.buffer(), selected.changeable(), &selected.view.told().keywords);
    let is_read_only_now = is_read_only(selected.rights, selected.seen);
    if is_read_only_now != is_read_only(before, selected.seen) {
        let (code, what) = match is_read_only_now {
            true => ("READ-ONLY", "read-only"),
            false => ("READ-WRITE", "read-write"),
        };
        out.line(format_args!("* OK [{code}] The mailbox is {what} now"));
    }
}
