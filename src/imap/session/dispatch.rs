//! From a row of the command table to the command's file.

use super::{Command, Dialogue, Done, Idle, Layer, Lost, Next, State};
use crate::imap::command::table::{Allowed, Verb};
use crate::imap::command::{self as commands, Call};
use crate::imap::output::Output;
use crate::imap::view::Expunge;
use crate::imap::{Completion, Refusal, Selected, Session};

impl Dialogue {
    pub(super) async fn run(
        &mut self,
        command: &Command<'_>,
        out: &mut Output<'_>,
    ) -> Result<Done, Refusal> {
        if command.row.allowed == Allowed::Selected {
            self.look_ahead(out).await?;
        }
        match (command.row.allowed, command.row.verb) {
            (Allowed::Any, _) => self.anywhere(command, out).map(Done::Completed),
            (Allowed::NotAuthenticated, _) => self.before_login(command, out),
            (_, Verb::Select | Verb::Examine) => self.select(command, out).await,
            (_, Verb::Idle) => self.idle(command, out).await,
            (_, Verb::Unauthenticate) => self.unauthenticate(command, out),
            (_, Verb::Compress) => self.compress(command, out),
            (_, Verb::Close | Verb::Unselect) => self.close(command, out).await,
            (_, Verb::Append | Verb::Replace) => {
                let incoming = self.begin(command, None, out).await?;
                Ok(Done::Proposed(Next::Message(Box::new(incoming))))
            }
            _ => self.after_login(command, out).await.map(Done::Completed),
        }
    }

    fn anywhere(
        &mut self,
        command: &Command<'_>,
        out: &mut Output<'_>,
    ) -> Result<Completion, Refusal> {
        let mut arguments = command.arguments.clone();
        if command.row.verb == Verb::Id {
            let completion = commands::id::run(&mut arguments, &mut self.client, out)?;
            self.name_client();
            return Ok(completion);
        }
        arguments.end()?;
        match command.row.verb {
            Verb::Capability => {
                out.line(format_args!("* CAPABILITY {}", self.capabilities()));
                Ok(Completion::ok("Capabilities listed"))
            }
            Verb::Logout => {
                let _ = self.bye("Goodbye", out);
                Ok(Completion::ok("Logged out"))
            }
            // NOOP: the updates that follow each command are its purpose. RFC 3501 §6.1.2
            _ => Ok(Completion::ok("Done")),
        }
    }

    /// What was selected is closed first, also when this fails. RFC 3501 §6.3.1
    async fn select(
        &mut self,
        command: &Command<'_>,
        out: &mut Output<'_>,
    ) -> Result<Done, Refusal> {
        self.lost = Lost::Nothing;
        let mut session = match std::mem::replace(&mut self.state, State::Logout) {
            State::Selected(session, _) => {
                // RFC 7162 §3.2.11
                out.line(format_args!("* OK [CLOSED] The mailbox before is closed"));
                session
            }
            State::Authenticated(session) => session,
            other => {
                self.state = other;
                return Err(Refusal::Bad("log in first".to_owned()));
            }
        };
        let mut call = call(&self.context, (command, &mut session), out);
        let result = match command.row.verb {
            Verb::Select => commands::select::select(&mut call).await,
            _ => commands::select::examine(&mut call).await,
        };
        match result {
            Ok((selected, completion)) => {
                self.state = State::Selected(session, Box::new(selected));
                Ok(Done::Completed(completion))
            }
            Err(refusal) => {
                self.state = State::Authenticated(session);
                Err(refusal)
            }
        }
    }

    /// Nothing is selected behind an OK.
    async fn close(
        &mut self,
        command: &Command<'_>,
        out: &mut Output<'_>,
    ) -> Result<Done, Refusal> {
        self.lost = Lost::Nothing;
        let State::Selected(session, selected) = &mut self.state else {
            // it was closed by us already
            command.arguments.clone().end()?;
            return Ok(Done::Completed(Completion::ok("Closed")));
        };
        let mut call = call(&self.context, (command, session), out);
        let completion = match command.row.verb {
            Verb::Close => commands::close::close(&mut call, selected).await?,
            _ => commands::close::unselect(&mut call, selected).await?,
        };
        self.state = std::mem::replace(&mut self.state, State::Logout).closed();
        Ok(Done::Completed(completion))
    }

    /// Everything but TLS is as it was before login. RFC 8437 §3
    fn unauthenticate(
        &mut self,
        command: &Command<'_>,
        out: &mut Output<'_>,
    ) -> Result<Done, Refusal> {
        command.arguments.clone().end()?;
        if self.layer == Layer::Deflate {
            return Err(Refusal::Bad("not while compression is active".to_owned()));
        }
        (self.state, self.lost) = (State::NotAuthenticated, Lost::Nothing);
        let (tag, capabilities) = (&command.tag, self.capabilities());
        out.line(format_args!("{tag} OK [CAPABILITY {capabilities}] Nobody is logged in"));
        Ok(Done::Proposed(Next::LoggedOut))
    }

    /// RFC 4978 §3
    fn compress(&mut self, command: &Command<'_>, out: &mut Output<'_>) -> Result<Done, Refusal> {
        let mut arguments = command.arguments.clone();
        if !arguments.take_word("DEFLATE") {
            return Err(arguments.expected("DEFLATE"));
        }
        arguments.end()?;
        if self.layer == Layer::Deflate {
            return Err(Refusal::Bad("compression is active already".to_owned()));
        }
        self.layer = Layer::Deflate;
        out.line(format_args!("{} OK What follows is deflated", command.tag));
        Ok(Done::Proposed(Next::Compress))
    }

    /// What is new is told before the `+`: a client that has just seen it may not look at once.
    async fn idle(&mut self, command: &Command<'_>, out: &mut Output<'_>) -> Result<Done, Refusal> {
        command.arguments.clone().end()?;
        self.updates(out, Expunge::Allowed).await?;
        out.line(format_args!("+ idling"));
        Ok(Done::Proposed(Next::Idle(Idle { tag: command.tag.clone() })))
    }

    async fn after_login(
        &mut self,
        command: &Command<'_>,
        out: &mut Output<'_>,
    ) -> Result<Completion, Refusal> {
        let (session, selected) = match &mut self.state {
            State::Authenticated(session) => (session, None),
            State::Selected(session, selected) => (session, Some(&mut **selected)),
            State::NotAuthenticated | State::Logout => {
                return Err(Refusal::Bad("log in first".to_owned()));
            }
        };
        let mut call = call(&self.context, (command, session), out);
        match (command.row.allowed, selected) {
            (_, selected) if command.row.verb == Verb::ESearch => {
                commands::esearch::run(&mut call, selected).await
            }
            (_, selected) if command.row.verb == Verb::Notify => {
                commands::notify::run(&mut call, selected).await
            }
            (_, selected) if command.row.verb == Verb::Enable => {
                commands::enable::run(&mut call, selected.as_deref())
            }
            (Allowed::Selected, Some(selected)) => {
                with_selected(command.row.verb, &mut call, selected).await
            }
            (Allowed::Selected, None) => Err(Refusal::no_such_mailbox()),
            _ => authenticated(command.row.verb, &mut call).await,
        }
    }
}

/// A call of `command` by `session`.
pub(super) fn call<'c, 'o>(
    context: &'c crate::imap::Context,
    (command, session): (&'c Command<'_>, &'c mut Session),
    out: &'c mut Output<'o>,
) -> Call<'c, 'o> {
    Call {
        tag: &command.tag,
        context,
        session,
        numbering: command.row.numbering,
        arguments: command.arguments.clone(),
        out,
    }
}

async fn authenticated(verb: Verb, call: &mut Call<'_, '_>) -> Result<Completion, Refusal> {
    match verb {
        Verb::Namespace => commands::namespace::run(call),
        Verb::List => commands::list::run(call).await,
        Verb::Lsub => commands::lsub::run(call).await,
        Verb::Subscribe => commands::subscribe::subscribe(call).await,
        Verb::Unsubscribe => commands::subscribe::unsubscribe(call).await,
        Verb::Create => commands::create::run(call).await,
        Verb::Delete => commands::delete::run(call).await,
        Verb::Rename => commands::rename::run(call).await,
        Verb::Status => commands::status::run(call).await,
        Verb::GetAcl => commands::acl::get_acl(call).await,
        Verb::MyRights => commands::acl::my_rights(call),
        Verb::ListRights => commands::acl::list_rights(call),
        Verb::SetAcl => commands::set_acl::set_acl(call).await,
        Verb::GetQuota => commands::quota::get_quota(call),
        Verb::GetQuotaRoot => commands::quota::get_quota_root(call),
        Verb::GetMetadata => commands::metadata::get_metadata(call).await,
        Verb::SetMetadata => commands::metadata::set_metadata(call).await,
        Verb::DeleteAcl => commands::set_acl::delete_acl(call).await,
        _ => Err(Refusal::Bad("not possible now".to_owned())),
    }
}

async fn with_selected(
    verb: Verb,
    call: &mut Call<'_, '_>,
    selected: &mut Selected,
) -> Result<Completion, Refusal> {
    match verb {
        // CHECK: every answered change is durable already. RFC 3501 §6.4.1
        Verb::Check => call.arguments.end().map(|()| Completion::ok("Done")),
        Verb::Expunge => commands::expunge::run(call, selected).await,
        Verb::Search => commands::search::run(call, selected).await,
        Verb::Sort => commands::search::sort(call, selected).await,
        Verb::Thread => commands::search::thread(call, selected).await,
        Verb::CancelUpdate => commands::search::cancel_update(call, selected),
        Verb::Fetch => commands::fetch::run(call, selected).await,
        Verb::Store => commands::store::run(call, selected).await,
        Verb::Copy => commands::copy::copy(call, selected).await,
        Verb::Move => commands::copy::r#move(call, selected).await,
        _ => Err(Refusal::Bad("not possible now".to_owned())),
    }
}
