//! Answers a request, some lines at a time, so that a long queue is never whole in memory twice.

use super::Desk;
use super::audit::Reading;
use super::words::{Asked, Done, Line, Message, Request, Turn};
use super::{away, glass, restore};
use crate::conversation::routing::Candidate;
use crate::conversation::{Scope, turn};
use crate::directory::rule::{Action, Pick};
use crate::mail::account::Account;
use crate::mail::date::rfc3339;
use crate::mail::id::QueueId;
use crate::server::queue::{Done as QueueDone, Verb, Which};

/// Messages told at a time.
const MESSAGES_AT_ONCE: usize = 100;

/// An answer under way.
pub(super) enum Answer {
    /// From this message on; so many have been told.
    List(QueueId, usize),
    /// These lines are the rest.
    Last(Vec<Line>),
    /// This is to be done.
    Do(Verb, Which),
    /// Whose turn it is there.
    Turns(Account),
    /// The audit log.
    Audit(Reading),
    /// This is to be done, by one of the files beside this.
    Operate(Box<Asked>),
    /// All is said.
    End,
}

impl Answer {
    pub(super) fn to(desk: &Desk, request: Request) -> Answer {
        match request {
            Request::List => Answer::List(QueueId(i64::MIN), 0),
            Request::All(verb) => Answer::Do(verb, Which::All),
            Request::Show(name) => match find(desk, &name) {
                None => no_such(&name),
                Some(id) => match desk.store.queued(id) {
                    None => no_such(&name),
                    Some(queued) => {
                        let done = QueueDone { messages: 1, ..QueueDone::default() };
                        Answer::Last(vec![
                            Line::Message(Message::from(&*queued)),
                            Line::Done(Done::new(done, desk.store.now())),
                        ])
                    }
                },
            },
            Request::One(verb, name) => match find(desk, &name) {
                Some(id) => Answer::Do(verb, Which::One(id)),
                None => no_such(&name),
            },
            Request::Asked(asked) => match *asked {
                Asked::Audit(filter) => Answer::Audit(Reading::new(filter)),
                Asked::Turns(account) => Answer::Turns(account),
                asked => Answer::Operate(Box::new(asked)),
            },
        }
    }

    pub(super) fn error(why: &str) -> Answer {
        Answer::Last(vec![Line::Error(why.into())])
    }

    /// The next lines; `None` at the end.
    pub(super) async fn next(&mut self, desk: &Desk) -> Option<Vec<Line>> {
        match std::mem::replace(self, Answer::End) {
            Answer::End => None,
            Answer::Last(lines) => Some(lines),
            Answer::List(first, told) => Some(self.list(desk, (first, told))),
            Answer::Do(verb, which) => Some(vec![perform(desk, verb, which).await]),
            Answer::Turns(account) => Some(turns(desk, &account).await),
            Answer::Operate(asked) => Some(operate(desk, *asked).await),
            Answer::Audit(mut reading) => {
                let lines = reading.next(&*desk.store, desk.subjects).await?;
                *self = Answer::Audit(reading);
                Some(lines)
            }
        }
    }

    fn list(&mut self, desk: &Desk, (first, told): (QueueId, usize)) -> Vec<Line> {
        let some = desk.store.queued_from(first, MESSAGES_AT_ONCE);
        let mut lines: Vec<Line> =
            some.iter().map(|queued| Line::Message(Message::from(&**queued))).collect();
        let told = told + some.len();
        match some.last() {
            Some(last) => *self = Answer::List(QueueId(last.id.0.saturating_add(1)), told),
            None => {
                let done = QueueDone { messages: told, ..QueueDone::default() };
                lines.push(Line::Done(Done::new(done, desk.store.now())));
            }
        }
        lines
    }
}

async fn turns(desk: &Desk, account: &Account) -> Vec<Line> {
    let directory = desk.directory.borrow().clone();
    let scope = Scope { store: &*desk.store, directory: &directory, account };
    let all = Action::Assign { users: Vec::new(), teams: Vec::new(), pick: Pick::LeastOpen };
    match turn::standing(&scope, &all).await {
        Err(error) => vec![Line::Error(format!("the store cannot be asked: {error}"))],
        Ok(turn::Standing { candidates, .. }) => {
            let line = |Candidate { login, turn, open }| {
                Line::Turn(Turn { login: login.to_string(), turn, open })
            };
            let mut lines: Vec<Line> = candidates.into_iter().map(line).collect();
            lines.push(Line::Done(Done::new(QueueDone::default(), desk.store.now())));
            lines
        }
    }
}

async fn operate(desk: &Desk, asked: Asked) -> Vec<Line> {
    let said = match asked {
        Asked::Absences => Ok(away::list(desk)),
        Asked::InForce => Ok(in_force(desk)),
        Asked::Away { user, until } => away::set(desk, user, until).await,
        Asked::Restore(asked) => restore::run(desk, &asked).await,
        Asked::BreakGlass(asked) => glass::run(desk, asked).await,
        Asked::Audit(_) | Asked::Turns(_) => Ok(Vec::new()),
    };
    match said {
        Ok(said) => said.into_iter().map(Line::Said).chain([Line::Over]).collect(),
        Err(why) => vec![Line::Error(why)],
    }
}

/// Nothing, where this node's file is all there is.
fn in_force(desk: &Desk) -> Vec<String> {
    let published = desk.store.directory().filter(|_| desk.store.is_shared());
    published.map_or_else(Vec::new, |published| {
        let hash = blake3::hash(published.text.as_bytes()).to_string();
        vec![hash, rfc3339(published.at), published.host.clone()]
    })
}

async fn perform(desk: &Desk, verb: Verb, which: Which) -> Line {
    match desk.queue.ask(verb, which).await {
        Some(Ok(done)) if which != Which::All && done.messages == 0 => {
            Line::Error("the message has left the queue meanwhile".into())
        }
        Some(Ok(done)) => Line::Done(Done::new(done, desk.store.now())),
        Some(Err(error)) => Line::Error(format!("nothing was changed: {error}")),
        None => Line::Error("the daemon is stopping".into()),
    }
}

/// By its number, or by its name in the log.
fn find(desk: &Desk, name: &str) -> Option<QueueId> {
    if let Ok(number) = name.parse() {
        return desk.store.queued(QueueId(number)).map(|queued| queued.id);
    }
    let mut first = QueueId(i64::MIN);
    loop {
        let some = desk.store.queued_from(first, MESSAGES_AT_ONCE);
        if let Some(found) = some.iter().find(|queued| queued.envelope.id == name) {
            return Some(found.id);
        }
        first = QueueId(some.last()?.id.0.saturating_add(1));
    }
}

fn no_such(name: &str) -> Answer {
    Answer::error(&format!("there is no message {name} in the queue"))
}
