//! A server that misbehaves where a test wants it to, and keeps what it hears.

use std::net::SocketAddr;
use std::sync::{Arc, Mutex, PoisonError};

use postfach::smtp::data::DataReceiver;
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio_rustls::TlsAcceptor;

/// What can go wrong at a step.
#[derive(Clone, Debug)]
pub(crate) enum Fault {
    /// This is said instead, CRLF added.
    Say(&'static str),
    /// The same, and the connection closes.
    SayAndClose(&'static str),
    /// The connection closes without a word.
    Close,
    /// Nothing more is said; what comes is read.
    Hang,
    /// Nothing more is said or read.
    Freeze,
}

/// How a server behaves.
#[derive(Clone, Default)]
pub(crate) struct Script {
    /// Keywords of EHLO.
    pub(crate) offers: Vec<&'static str>,
    /// At which step (`greeting`, `EHLO`, `MAIL`…, `content`: when its first bytes come, `end`) of
    /// which connection (from 0; `None`: each) what happens.
    pub(crate) faults: Vec<(&'static str, Option<usize>, Fault)>,
    /// For STARTTLS, or from the first byte.
    pub(crate) tls: Option<TlsAcceptor>,
    /// TLS from the first byte.
    pub(crate) implicit: bool,
    /// Whatever comes behind a command in one piece is lost.
    pub(crate) loses_pipelined: bool,
    /// Replies come byte by byte.
    pub(crate) dribbles: bool,
    /// Recipients of one mail; more get 452 4.5.3.
    pub(crate) recipients_max: Option<usize>,
}

impl Script {
    pub(crate) fn offering(offers: &[&'static str]) -> Script {
        Script { offers: offers.to_vec(), ..Script::default() }
    }

    pub(crate) fn with(mut self, step: &'static str, fault: Fault) -> Script {
        self.faults.push((step, None, fault));
        self
    }

    pub(crate) fn once(mut self, step: &'static str, fault: Fault) -> Script {
        self.faults.push((step, Some(0), fault));
        self
    }
}

/// What was heard.
#[derive(Clone, Default, Debug)]
pub(crate) struct Heard {
    pub(crate) connections: usize,
    /// Open at this moment.
    pub(crate) open: usize,
    pub(crate) commands: Vec<String>,
    pub(crate) messages: Vec<Vec<u8>>,
    pub(crate) recipients: Vec<String>,
    pub(crate) handshakes: usize,
}

/// A running server.
pub(crate) struct Server {
    pub(crate) address: SocketAddr,
    heard: Arc<Mutex<Heard>>,
}

impl Server {
    pub(crate) async fn start(script: Script) -> Server {
        Server::start_on(TcpListener::bind("127.0.0.1:0").await.expect("a port"), script)
    }

    pub(crate) fn start_on(listener: TcpListener, script: Script) -> Server {
        let address = listener.local_addr().expect("an address");
        let heard = Arc::new(Mutex::new(Heard::default()));
        let server = Server { address, heard: heard.clone() };
        tokio::spawn(async move {
            let mut number = 0;
            while let Ok((socket, _)) = listener.accept().await {
                let (script, heard) = (script.clone(), heard.clone());
                tokio::spawn(serve(socket, number, script, heard));
                number += 1;
            }
        });
        server
    }

    pub(crate) fn heard(&self) -> Heard {
        lock(&self.heard).clone()
    }
}

fn lock(heard: &Mutex<Heard>) -> std::sync::MutexGuard<'_, Heard> {
    heard.lock().unwrap_or_else(PoisonError::into_inner)
}

trait Bytes: AsyncRead + AsyncWrite + Unpin + Send {}
impl<S: AsyncRead + AsyncWrite + Unpin + Send> Bytes for S {}

async fn serve(socket: TcpStream, number: usize, script: Script, heard: Arc<Mutex<Heard>>) {
    {
        let mut heard = lock(&heard);
        heard.connections += 1;
        heard.open += 1;
    }
    let _ = socket.set_nodelay(true);
    let conversation = async {
        let stream: Box<dyn Bytes> = match (&script.tls, script.implicit) {
            (Some(tls), true) => Box::new(tls.accept(socket).await.ok()?),
            _ => Box::new(socket),
        };
        let input = Vec::new();
        let mut peer = Peer { stream, input, number, script, heard: heard.clone() };
        peer.converse().await
    };
    conversation.await;
    lock(&heard).open -= 1;
}

struct Peer {
    stream: Box<dyn Bytes>,
    input: Vec<u8>,
    number: usize,
    script: Script,
    heard: Arc<Mutex<Heard>>,
}

impl Peer {
    /// `None` ends the connection.
    async fn converse(&mut self) -> Option<()> {
        self.answer("greeting", "220 mx.example ESMTP").await?;
        let mut recipients: Vec<String> = Vec::new();
        loop {
            let line = self.line().await?;
            lock(&self.heard).commands.push(line.clone());
            let verb = line.split([' ', ':']).next().unwrap_or("").to_uppercase();
            match verb.as_str() {
                "EHLO" => {
                    let keywords: Vec<&str> = self.script.offers.clone();
                    let lines: Vec<&str> = std::iter::once("mx.example").chain(keywords).collect();
                    let last = lines.len() - 1;
                    let line = |(n, text): (usize, &&str)| {
                        format!("250{}{text}", if n < last { '-' } else { ' ' })
                    };
                    let text: Vec<String> = lines.iter().enumerate().map(line).collect();
                    self.answer("EHLO", &text.join("\r\n")).await?;
                }
                "MAIL" => {
                    recipients.clear();
                    self.answer("MAIL", "250 2.1.0 OK").await?;
                }
                "RCPT" => self.recipient(&line, &mut recipients).await?,
                "DATA" if recipients.is_empty() => {
                    self.answer("DATA", "554 5.5.1 no valid recipients").await?;
                }
                "DATA" => {
                    self.answer("DATA", "354 go on").await?;
                    let message = self.content().await?;
                    {
                        let mut heard = lock(&self.heard);
                        heard.messages.push(message);
                        heard.recipients.append(&mut recipients);
                    }
                    self.answer("end", "250 2.0.0 taken").await?;
                }
                "STARTTLS" => self.starttls().await?,
                "AUTH" => self.answer("AUTH", "235 2.7.0 welcome").await?,
                "QUIT" => {
                    self.answer("QUIT", "221 bye").await?;
                    return None;
                }
                _ => self.answer(&verb, "250 2.0.0 OK").await?,
            }
        }
    }

    async fn recipient(&mut self, line: &str, recipients: &mut Vec<String>) -> Option<()> {
        let reply = match line {
            _ if self.script.recipients_max.is_some_and(|most| recipients.len() >= most) => {
                "452 4.5.3 too many recipients"
            }
            _ if line.contains("<no") => "550 5.1.1 no such user",
            _ if line.contains("<later") => "450 4.2.1 greylisted",
            _ => {
                recipients.push(line.to_owned());
                "250 2.1.5 OK"
            }
        };
        self.answer("RCPT", reply).await
    }

    async fn starttls(&mut self) -> Option<()> {
        let is_refusal =
            |fault: &Fault| matches!(fault, Fault::Say(text) if !text.starts_with('2'));
        let mut faults = self.script.faults.iter();
        let refused = faults.any(|(at, _, fault)| *at == "STARTTLS" && is_refusal(fault));
        self.answer("STARTTLS", "220 go on").await?;
        if refused {
            return Some(());
        }
        let tls = self.script.tls.clone()?;
        let plain = std::mem::replace(&mut self.stream, Box::new(tokio::io::empty()));
        self.input.clear();
        self.stream = Box::new(tls.accept(plain).await.ok()?);
        lock(&self.heard).handshakes += 1;
        Some(())
    }

    async fn content(&mut self) -> Option<Vec<u8>> {
        let (mut receiver, mut content) = (DataReceiver::default(), Vec::new());
        let mut begun = false;
        loop {
            if !self.input.is_empty() && !std::mem::replace(&mut begun, true) {
                self.fault("content").await?;
            }
            let (used, end) = receiver.receive(&self.input, &mut content);
            self.input.drain(..used);
            assert_eq!(receiver.fault(), None, "the content is clean");
            if end {
                return Some(content);
            }
            self.read().await?;
        }
    }

    async fn line(&mut self) -> Option<String> {
        loop {
            if let Some(at) = self.input.windows(2).position(|two| two == b"\r\n") {
                let line = String::from_utf8_lossy(&self.input[..at]).into_owned();
                self.input.drain(..at + 2);
                if self.script.loses_pipelined {
                    self.input.clear();
                }
                return Some(line);
            }
            self.read().await?;
        }
    }

    async fn read(&mut self) -> Option<()> {
        let mut bytes = vec![0; 16 * 1024];
        let count = self.stream.read(&mut bytes).await.ok().filter(|count| *count > 0)?;
        self.input.extend_from_slice(&bytes[..count]);
        Some(())
    }

    async fn answer(&mut self, step: &str, reply: &str) -> Option<()> {
        if self.fault(step).await? {
            return Some(());
        }
        self.say(reply).await
    }

    /// Whether something was said instead; `None`: the connection ends.
    async fn fault(&mut self, step: &str) -> Option<bool> {
        let is_now = |at: &&str, number: &Option<usize>| {
            *at == step && number.is_none_or(|number| number == self.number)
        };
        let fault = self.script.faults.iter().find(|(at, number, _)| is_now(at, number));
        match fault.map(|(.., fault)| fault.clone()) {
            None => Some(false),
            Some(Fault::Say(text)) => self.say(text).await.map(|()| true),
            Some(Fault::SayAndClose(text)) => {
                self.say(text).await?;
                None
            }
            Some(Fault::Close) => None,
            Some(Fault::Hang) => loop {
                self.read().await?;
            },
            Some(Fault::Freeze) => std::future::pending().await,
        }
    }

    async fn say(&mut self, text: &str) -> Option<()> {
        let text = format!("{text}\r\n");
        let size = if self.script.dribbles { 1 } else { text.len() };
        for piece in text.as_bytes().chunks(size) {
            self.stream.write_all(piece).await.ok()?;
            self.stream.flush().await.ok()?;
            tokio::task::yield_now().await;
        }
        Some(())
    }
}
