//! Mail servers that behave as a test wants, and note what they have taken.

use std::io::{BufRead, BufReader, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::sync::{Arc, Mutex};
use std::thread;
use std::time::Duration;

/// Where something goes wrong.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Step {
    Greeting,
    Ehlo,
    Mail,
    Rcpt,
    Data,
    /// In the middle of the content.
    Content,
    /// After the final dot.
    End,
    /// Nowhere.
    Never,
}

pub(crate) const STEPS: [Step; 7] =
    [Step::Greeting, Step::Ehlo, Step::Mail, Step::Rcpt, Step::Data, Step::Content, Step::End];

/// How it goes wrong.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum How {
    /// The connection is closed.
    Drop,
    /// This reply; then it goes on.
    Reply(&'static str),
    /// No word any more.
    Hang,
}

/// A server's behaviour.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Behaviour {
    pub(crate) step: Step,
    pub(crate) how: How,
    /// It behaves so this often; then all goes well.
    pub(crate) times: usize,
    /// It takes its time before the final reply.
    pub(crate) pause: Duration,
}

impl Behaviour {
    pub(crate) const GOOD: Behaviour =
        Behaviour { step: Step::Never, how: How::Drop, times: 0, pause: Duration::ZERO };

    pub(crate) fn once(step: Step, how: How) -> Behaviour {
        Behaviour { step, how, times: 1, ..Behaviour::GOOD }
    }

    pub(crate) fn always(step: Step, how: How) -> Behaviour {
        Behaviour { step, how, times: usize::MAX, ..Behaviour::GOOD }
    }
}

/// A message that a server has said yes to.
#[derive(Clone, Debug)]
pub(crate) struct Taken {
    pub(crate) from: String,
    pub(crate) to: Vec<String>,
    pub(crate) text: String,
}

/// A running server.
#[derive(Clone)]
pub(crate) struct Server {
    pub(crate) address: SocketAddr,
    state: Arc<Mutex<State>>,
}

#[derive(Default)]
struct State {
    taken: Vec<Taken>,
    /// Messages that came whole, though no yes was said.
    unanswered: usize,
    logins: Vec<String>,
    hellos: Vec<String>,
    times: usize,
}

impl Server {
    /// On this address; port 0 takes any.
    pub(crate) fn start(address: &str, behaviour: Behaviour) -> std::io::Result<Server> {
        let listener = TcpListener::bind(address)?;
        let state = State { times: behaviour.times, ..State::default() };
        let server = Server { address: listener.local_addr()?, state: Arc::new(Mutex::new(state)) };
        let state = server.state.clone();
        thread::spawn(move || {
            for stream in listener.incoming().flatten() {
                let state = state.clone();
                thread::spawn(move || Session { behaviour, state }.serve(stream));
            }
        });
        Ok(server)
    }

    pub(crate) fn taken(&self) -> Vec<Taken> {
        self.state.lock().expect("no panic").taken.clone()
    }

    pub(crate) fn unanswered(&self) -> usize {
        self.state.lock().expect("no panic").unanswered
    }

    /// AUTH PLAIN as it came.
    pub(crate) fn logins(&self) -> Vec<String> {
        self.state.lock().expect("no panic").logins.clone()
    }

    /// EHLO as it came.
    pub(crate) fn hellos(&self) -> Vec<String> {
        self.state.lock().expect("no panic").hellos.clone()
    }
}

struct Session {
    behaviour: Behaviour,
    state: Arc<Mutex<State>>,
}

/// What becomes of the connection.
enum Fault {
    None,
    Replied,
    Over,
}

impl Session {
    fn serve(&self, stream: TcpStream) {
        // The daemon may go at any time; that is what the tests are about.
        let _ = self.converse(stream);
    }

    fn converse(&self, stream: TcpStream) -> std::io::Result<()> {
        stream.set_nodelay(true)?;
        let mut lines = BufReader::new(stream.try_clone()?);
        let mut out = stream;
        let (mut from, mut to) = (String::new(), Vec::new());
        match self.fault(Step::Greeting, &mut out)? {
            Fault::None => out.write_all(b"220 sink.example ESMTP\r\n")?,
            Fault::Replied => return Ok(()),
            Fault::Over => return Ok(()),
        }
        let mut line = String::new();
        loop {
            line.clear();
            if lines.read_line(&mut line)? == 0 {
                return Ok(());
            }
            let verb = line.trim_end().to_ascii_uppercase();
            let step = match verb.as_bytes() {
                [b'E', b'H', ..] => Step::Ehlo,
                [b'M', ..] => Step::Mail,
                [b'R', b'C', ..] => Step::Rcpt,
                [b'D', ..] => Step::Data,
                _ => Step::Never,
            };
            match self.fault(step, &mut out)? {
                Fault::None => {}
                Fault::Replied => continue,
                Fault::Over => return Ok(()),
            }
            match step {
                Step::Ehlo => {
                    (from, to) = (String::new(), Vec::new());
                    self.state.lock().expect("no panic").hellos.push(line.trim_end().into());
                    out.write_all(b"250-sink.example\r\n250-AUTH PLAIN\r\n250 PIPELINING\r\n")?;
                }
                Step::Mail => {
                    (from, to) = (line.trim_end().to_owned(), Vec::new());
                    out.write_all(b"250 2.1.0 OK\r\n")?;
                }
                Step::Rcpt => {
                    to.push(line.trim_end().to_owned());
                    out.write_all(b"250 2.1.5 OK\r\n")?;
                }
                Step::Data if to.is_empty() => out.write_all(b"503 5.5.1 RCPT first\r\n")?,
                Step::Data => {
                    out.write_all(b"354 Go on\r\n")?;
                    let taken = Taken { from: from.clone(), to: to.clone(), text: String::new() };
                    if !self.content(taken, (&mut lines, &mut out))? {
                        return Ok(());
                    }
                }
                _ if verb.starts_with("AUTH") => {
                    self.state.lock().expect("no panic").logins.push(line.trim_end().into());
                    out.write_all(b"235 2.7.0 Welcome\r\n")?;
                }
                _ if verb.starts_with("QUIT") => {
                    out.write_all(b"221 2.0.0 Bye\r\n")?;
                    return Ok(());
                }
                _ => out.write_all(b"250 2.0.0 OK\r\n")?,
            }
        }
    }

    fn content(
        &self,
        mut taken: Taken,
        (lines, out): (&mut BufReader<TcpStream>, &mut TcpStream),
    ) -> std::io::Result<bool> {
        loop {
            let mut line = String::new();
            if lines.read_line(&mut line)? == 0 {
                return Ok(false);
            }
            if line == ".\r\n" {
                break;
            }
            taken.text.push_str(&line);
            if let Fault::Over = self.fault(Step::Content, out)? {
                return Ok(false);
            }
        }
        thread::sleep(self.behaviour.pause);
        match self.fault(Step::End, out)? {
            Fault::None => {}
            Fault::Replied => return Ok(true),
            Fault::Over => {
                self.state.lock().expect("no panic").unanswered += 1;
                return Ok(false);
            }
        }
        self.state.lock().expect("no panic").taken.push(taken);
        out.write_all(b"250 2.0.0 Taken\r\n")?;
        Ok(true)
    }

    fn fault(&self, step: Step, out: &mut TcpStream) -> std::io::Result<Fault> {
        if step != self.behaviour.step || step == Step::Never {
            return Ok(Fault::None);
        }
        {
            let mut state = self.state.lock().expect("no panic");
            if state.times == 0 {
                return Ok(Fault::None);
            }
            state.times -= 1;
        }
        match self.behaviour.how {
            How::Drop => Ok(Fault::Over),
            // In the middle of the content a reply makes no sense.
            How::Reply(_) if step == Step::Content => Ok(Fault::Over),
            How::Reply(text) => {
                out.write_all(format!("{text}\r\n").as_bytes())?;
                Ok(Fault::Replied)
            }
            How::Hang => {
                thread::sleep(Duration::from_secs(3600));
                Ok(Fault::Over)
            }
        }
    }
}
