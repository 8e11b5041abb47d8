//! One connection's protocol: from a framed command to its answer, and from state to state. Knows
//! no socket, no timer and no password: those are proposed to the driver as `Next`. RFC 3501 §3

mod authenticate;
mod dispatch;
mod incoming;
mod message;
mod notified;
mod present;

use std::net::{IpAddr, Ipv4Addr};
use std::sync::Arc;

pub use authenticate::{Attempt, Exchange};
pub use incoming::{Belongs, Incoming, Step};

use super::capability::{Binds, Passwords, SCRAM_PLUS, Stage, StartTls};
use super::command::table::{self, Allowed, Row, Verb};
use super::output::Output;
use super::view::{self, Expunge};
use super::wire::framing::{self, Limits};
use super::wire::lex::Cursor;
use super::wire::utf7::Spelling;
use super::{Completion, Context, Refusal, Selected, Session};
use crate::mail::id::{Login, MailboxId};
use crate::sasl::binding::Binding;
use crate::store::audit::Presence;

/// How many commands that are not understood a peer may send before it has logged in.
pub const BAD_BEFORE_LOGIN_MAX: u32 = 20;

/// What protects a connection.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Transport {
    /// Whether TLS can be begun.
    pub tls: StartTls,
    /// Whether a password may be sent.
    pub passwords: Passwords,
}

impl Transport {
    /// TLS is active.
    pub const TLS: Transport = Transport { tls: StartTls::Absent, passwords: Passwords::Taken };
}

/// How far a connection is. RFC 3501 §3
enum State {
    /// Nobody has logged in.
    NotAuthenticated,
    /// Somebody has.
    Authenticated(Session),
    /// And has selected a mailbox.
    Selected(Session, Box<Selected>),
    /// Nothing more is understood.
    Logout,
}

impl State {
    /// Nothing is selected any more.
    fn closed(self) -> State {
        match self {
            State::Selected(session, _) => State::Authenticated(session),
            other => other,
        }
    }
}

/// What the driver does next.
#[must_use]
pub enum Next {
    /// Reads the next command.
    Command,
    /// Reads a line, for `Dialogue::respond`; `+` has been written.
    Line(Exchange),
    /// Answers the question of an attempt to log in, for `Dialogue::verified`.
    Verify(Attempt),
    /// Nobody is logged in any more: the connection is again one of those that wait for a login.
    LoggedOut,
    /// Sends what is written, then deflates both directions. RFC 4978 §3
    Compress,
    /// Begins TLS, then calls `Dialogue::tls_started`.
    StartTls,
    /// Waits for DONE, calling `Dialogue::wake` whenever something may be new.
    Idle(Idle),
    /// Makes the steps of `Incoming::step`.
    Message(Box<Incoming>),
    /// Says what is in the buffer and closes.
    Close,
}

/// An IDLE that waits for DONE.
pub struct Idle {
    tag: String,
}

/// The protocol of one connection.
pub struct Dialogue {
    context: Arc<Context>,
    transport: Transport,
    /// What a login can be bound to.
    binding: Option<Arc<Binding>>,
    state: State,
    /// Whether the selected mailbox was taken away, and the client may not have noticed.
    lost: Lost,
    layer: Layer,
    bad_count: u32,
    /// As the client calls itself.
    client: Option<String>,
    origin: Origin,
}

/// What the audit log tells of a connection.
#[derive(Clone, Debug)]
pub struct Origin {
    /// The other end.
    pub peer: IpAddr,
    /// The connection's name.
    pub session: String,
}

/// What lies between the protocol and the transport.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Layer {
    Nothing,
    Deflate,
}

/// Whether the mailbox that the client selected was closed by us.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Lost {
    Nothing,
    Mailbox,
}

/// What became of a command.
enum Done {
    /// It is carried out.
    Completed(Completion),
    /// The driver has to do something first.
    Proposed(Next),
}

/// A command taken apart as far as all commands are alike.
struct Command<'c> {
    tag: String,
    row: &'static Row,
    /// Behind the name and its space.
    arguments: Cursor<'c>,
}

impl Dialogue {
    /// Before the greeting.
    pub fn new(context: Arc<Context>, transport: Transport) -> Dialogue {
        let (state, lost, layer) = (State::NotAuthenticated, Lost::Nothing, Layer::Nothing);
        let origin = Origin { peer: Ipv4Addr::UNSPECIFIED.into(), session: String::new() };
        let (bad_count, client, binding) = (0, None, None);
        Dialogue { context, transport, binding, state, lost, layer, bad_count, client, origin }
    }

    /// Where the connection comes from, for the audit log.
    pub fn from_origin(mut self, origin: Origin) -> Dialogue {
        self.origin = origin;
        self
    }

    /// What a login can be bound to, now that TLS is active. RFC 5802 §6
    pub fn bind(&mut self, binding: Option<Binding>) {
        self.binding = binding.map(Arc::new);
    }

    /// The same, where binding is offered.
    fn binding(&self) -> Option<Arc<Binding>> {
        self.binding.clone().filter(|_| self.context.capabilities.has(SCRAM_PLUS))
    }

    /// A user who logs in here, as the audit log names them.
    pub fn presence(&self, user: &Login) -> Presence {
        let Origin { peer, session } = self.origin.clone();
        let presence = Presence::new(user.clone(), session, peer);
        self.client.iter().for_each(|client| presence.call_client(client));
        presence
    }

    /// The client has said what it is.
    fn name_client(&self) {
        let (State::Authenticated(session) | State::Selected(session, _)) = &self.state else {
            return;
        };
        self.client.iter().for_each(|client| session.presence.call_client(client));
    }

    /// The first line. RFC 3501 §7.1.1
    pub fn greeting(&self, out: &mut Output<'_>) {
        let capabilities = self.capabilities();
        out.line(format_args!("* OK [CAPABILITY {capabilities}] Postfach ready"));
    }

    /// What may be sent at this stage.
    pub fn limits(&self) -> Limits {
        let limits = match self.state {
            State::NotAuthenticated | State::Logout => Limits::BEFORE_LOGIN,
            State::Authenticated(_) | State::Selected(..) => Limits::AFTER_LOGIN,
        };
        match self.context.capabilities.has("LITERAL+") {
            true => limits,
            false => limits.inviting_literals(),
        }
    }

    fn spelling(&self) -> Spelling {
        match &self.state {
            State::Authenticated(session) | State::Selected(session, _) => session.spelling(),
            State::NotAuthenticated | State::Logout => Spelling::Utf7,
        }
    }

    /// Who has logged in.
    pub fn user(&self) -> Option<&Login> {
        match &self.state {
            State::Authenticated(session) | State::Selected(session, _) => Some(&session.user),
            State::NotAuthenticated | State::Logout => None,
        }
    }

    /// The selected mailbox, to be watched.
    pub fn mailbox(&self) -> Option<MailboxId> {
        match &self.state {
            State::Selected(_, selected) => Some(selected.mailbox.id),
            _ => None,
        }
    }

    /// Carries out a whole command.
    pub async fn command(&mut self, command: &[u8], out: &mut Output<'_>) -> Next {
        let command = match self.take_apart(command) {
            Ok(command) => command,
            Err((tag, why)) => return self.bad(&tag, &why, out),
        };
        self.check_selected(out);
        let result = match self.is_lost(command.row) {
            true => Err(Refusal::no_such_mailbox()),
            false => self.run(&command, out).await,
        };
        self.answer(&command.tag, command.row, result, out).await
    }

    /// Answers a command that the framing dropped.
    pub fn refused(&mut self, tag: &str, why: &str, out: &mut Output<'_>) -> Next {
        self.bad(tag, why, out)
    }

    /// Something may be new in the selected mailbox, during IDLE. RFC 2177 §3; what NOTIFY asks for
    /// is told then, too. RFC 5465 §4
    pub async fn wake(&mut self, out: &mut Output<'_>) -> Next {
        self.tell_unasked(Expunge::Allowed, out).await
    }

    /// The line that ends an IDLE.
    pub async fn idle_ended(
        &mut self,
        idle: Idle,
        line: Option<Vec<u8>>,
        out: &mut Output<'_>,
    ) -> Next {
        if !line.is_some_and(|line| line.trim_ascii_end().eq_ignore_ascii_case(b"DONE")) {
            return self.bad(&idle.tag, "expected DONE", out);
        }
        let next = self.wake(out).await;
        out.line(format_args!("{} OK Idle ended", idle.tag));
        next
    }

    fn capabilities(&self) -> String {
        let Transport { tls, passwords: login } = self.transport;
        let binds = if self.binding.is_some() { Binds::Yes } else { Binds::No };
        self.context.capabilities.line(match (self.user(), self.layer) {
            (Some(_), Layer::Nothing) => Stage::AfterLogin,
            (Some(_), Layer::Deflate) => Stage::Compressed,
            (None, _) => Stage::BeforeLogin { tls, login, binds },
        })
    }

    /// Tag, name and state; the error is for a tagged BAD.
    fn take_apart<'c>(&self, command: &'c [u8]) -> Result<Command<'c>, (String, String)> {
        let tag = framing::tag_of(command);
        if tag == "*" {
            return Err((tag, "expected a tag".to_owned()));
        }
        let mut arguments = Cursor::new(command).spelled(self.spelling());
        let name = name(&mut arguments, &tag);
        let unknown = "unknown command, or one that is switched off";
        let row = name.ok().and_then(|name| table::find(&name)).filter(|row| {
            row.capability.is_none_or(|capability| self.context.capabilities.has(capability))
        });
        let row = row.ok_or_else(|| (tag.clone(), unknown.to_owned()))?;
        match self.is_allowed(row.allowed) {
            Ok(()) => Ok(Command { tag, row, arguments }),
            Err(why) => Err((tag, why.to_owned())),
        }
    }

    fn is_allowed(&self, allowed: Allowed) -> Result<(), &'static str> {
        match (allowed, &self.state) {
            (_, State::Logout) => Err("the connection is closing"),
            (Allowed::Any, _) | (Allowed::NotAuthenticated, State::NotAuthenticated) => Ok(()),
            (Allowed::NotAuthenticated, _) => Err("somebody has logged in already"),
            (_, State::NotAuthenticated) => Err("log in first"),
            (Allowed::Authenticated, _) | (Allowed::Selected, State::Selected(..)) => Ok(()),
            (Allowed::Selected, _) if self.lost == Lost::Mailbox => Ok(()),
            (Allowed::Selected, State::Authenticated(_)) => Err("select a mailbox first"),
        }
    }

    /// Whether the command is for the mailbox that was taken away: it is as absent.
    fn is_lost(&self, row: &Row) -> bool {
        let is_selected = matches!(self.state, State::Selected(..));
        let leaves = matches!(row.verb, Verb::Close | Verb::Unselect);
        self.lost == Lost::Mailbox && row.allowed == Allowed::Selected && !is_selected && !leaves
    }

    /// Untagged updates where they may go, then the tagged answer.
    async fn answer(
        &mut self,
        tag: &str,
        row: &Row,
        result: Result<Done, Refusal>,
        out: &mut Output<'_>,
    ) -> Next {
        match &result {
            Ok(Done::Completed(_)) | Err(Refusal::No { .. }) => {
                // SELECT has just told everything
                let is_new = matches!(row.verb, Verb::Select | Verb::Examine);
                let expunge = match &result {
                    Ok(Done::Completed(done)) => row.expunge.and(done.expunge),
                    _ => row.expunge,
                };
                let told = match is_new {
                    true => Ok(()),
                    false => self.updates(out, expunge).await,
                };
                let told = match told {
                    Err(Refusal::Disconnected) => told,
                    _ => self.tell_of_others(out).await,
                };
                if told == Err(Refusal::Disconnected) {
                    return Next::Close;
                }
            }
            _ => {}
        }
        match result {
            Ok(Done::Proposed(next)) => return next,
            Err(Refusal::Bad(why)) => return self.bad(tag, &why, out),
            Err(Refusal::Disconnected) => return Next::Close,
            Ok(Done::Completed(Completion { code: Some(code), text, .. })) => {
                out.line(format_args!("{tag} OK [{code}] {text}"));
            }
            Ok(Done::Completed(Completion { code: None, text, .. })) => {
                out.line(format_args!("{tag} OK {text}"));
            }
            Err(Refusal::No { code: Some(code), text }) => {
                out.line(format_args!("{tag} NO [{code}] {text}"));
            }
            Err(Refusal::No { code: None, text }) => out.line(format_args!("{tag} NO {text}")),
        }
        if matches!(self.state, State::Logout) { Next::Close } else { Next::Command }
    }

    fn bad(&mut self, tag: &str, why: &str, out: &mut Output<'_>) -> Next {
        out.line(format_args!("{tag} BAD {why}"));
        if matches!(self.state, State::NotAuthenticated) {
            self.bad_count += 1;
            if self.bad_count >= BAD_BEFORE_LOGIN_MAX {
                return self.bye("Too many commands that are not understood", out);
            }
        }
        Next::Command
    }

    /// Ends the connection. RFC 3501 §7.1.5
    pub fn bye(&mut self, why: &str, out: &mut Output<'_>) -> Next {
        self.state = State::Logout;
        out.line(format_args!("* BYE {why}"));
        Next::Close
    }

    /// Tells what is new in the selected mailbox.
    async fn updates(&mut self, out: &mut Output<'_>, expunge: Expunge) -> Result<(), Refusal> {
        self.attach_selected();
        let State::Selected(session, selected) = &mut self.state else { return Ok(()) };
        selected.follow_condstore(session, out);
        view::updates(&self.context, selected, out, expunge).await?;
        Ok(out.flush_if_full().await?)
    }
}

/// The command's name; `UID` belongs to it. Steps over the space behind it.
fn name(arguments: &mut Cursor<'_>, tag: &str) -> Result<String, Refusal> {
    arguments.take_word(tag);
    arguments.space()?;
    let mut name = arguments.atom()?.to_owned();
    if name.eq_ignore_ascii_case("UID") {
        arguments.space()?;
        name = format!("UID {}", arguments.atom()?);
    }
    arguments.take(b' ');
    Ok(name)
}
