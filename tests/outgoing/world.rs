//! A daemon with messages in its queue: they are put into its store before it starts, as submission
//! would. What it says and does is seen from outside: servers, the command line, IMAP.

use std::collections::HashMap;
use std::error::Error;
use std::fs;
use std::io::{BufRead, BufReader, Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::path::PathBuf;
use std::process::{Child, Command, ExitStatus, Stdio};
use std::sync::Arc;
use std::thread;
use std::time::{Duration, Instant};

use postfach::mail::account::{Account, Folder};
use postfach::mail::address::Address;
use postfach::mail::id::{Login, Timestamp};
use postfach::mail::message;
use postfach::mail::transport::Body;
use postfach::store::change::{Actor, Bytes, Change, NewMessage, Transaction};
use postfach::store::queue::{NewQueued, Progress, QueuedEnvelope, QueuedRecipient};
use postfach::store::{Store, embedded};
use postfach::sys::{Clock, SystemClock};

use crate::dns::{self, Name};

pub(crate) type Outcome = Result<(), Box<dyn Error>>;

/// How long anything may take.
pub(crate) const PATIENCE: Duration = Duration::from_secs(60);
const HASH: &str = "$6$postfach$TtMZCEcEYtMxys3f.6yZlwlrEsHJVliLVnrHaTTv8low\
                    9GIcg22PVsCx3ZAnBBspxeNxMADgQB.B1gCu6nvxq/";

/// A message to be queued.
pub(crate) struct Mail<'a> {
    pub(crate) subject: String,
    pub(crate) to: &'a [&'a str],
}

/// What is in its folder, and the daemon that works there.
pub(crate) struct World {
    folder: PathBuf,
    child: Option<Child>,
}

impl World {
    /// A folder with a config: `outbound` stands in `[outbound]`, which has short waits.
    pub(crate) fn new(
        name: &str,
        names: HashMap<&'static str, Name>,
        outbound: &str,
    ) -> Result<World, Box<dyn Error>> {
        let folder = format!("postfach-out-{}-{name}", std::process::id());
        let folder = std::env::temp_dir().join(folder);
        fs::create_dir_all(folder.join("data"))?;
        let resolver = dns::start(names)?;
        let text = format!(
            "hostname = \"mail.example.org\"\ndata_dir = \"{}\"\ndirectory = \"directory.toml\"\n\
             [listen]\nsmtp = [\"127.0.0.1:0\"]\nimap = [\"127.0.0.1:0\"]\n\
             [auth]\nplaintext_without_tls = \"loopback\"\n\
             [outbound]\nresolver = [\"{resolver}\"]\nretry_first_secs = 1\nretry_max_secs = 2\n\
             {outbound}\n",
            folder.join("data").display()
        );
        fs::write(folder.join("postfach.toml"), text)?;
        let directory = format!(
            "[[domain]]\nname = \"example.org\"\n[[user]]\nlogin = \"anna\"\nname = \"Anna\"\n\
             password = \"{HASH}\"\naddresses = [\"anna@example.org\"]\n\
             [[inbox]]\nname = \"Support\"\naddresses = [\"support@example.org\"]\n"
        );
        fs::write(folder.join("directory.toml"), directory)?;
        Ok(World { folder, child: None })
    }

    pub(crate) fn write(&self, file: &str, text: &str) -> Outcome {
        Ok(fs::write(self.folder.join(file), text)?)
    }

    /// Puts messages into the queue; no daemon may run.
    pub(crate) fn queue(&self, account: &Account, mails: &[Mail<'_>]) -> Outcome {
        let clock: Arc<dyn Clock> = Arc::new(SystemClock);
        let options = embedded::Options::default();
        let (store, writer) = embedded::open(&self.folder.join("data"), options, clock.clone())?;
        let writer = thread::spawn(move || writer.run());
        let runtime = tokio::runtime::Builder::new_current_thread().build()?;
        let queued = |mail| Change::Queued(Box::new(new_queued(account, mail, clock.now())));
        let mut changes = Vec::new();
        if store.find(account, &Folder::root()).is_none() {
            let (account, folder) = (account.clone(), Folder::root());
            changes.push(Change::MailboxCreated { account, folder });
        }
        changes.extend(mails.iter().map(queued));
        runtime.block_on(store.commit(Transaction { actor: Actor::System, changes }))?;
        store.stop();
        writer.join().map_err(|_| "the writer panicked")??;
        Ok(())
    }

    pub(crate) fn start(&mut self) -> Outcome {
        let _ = fs::remove_file(self.ports_file());
        let log = self.folder.join("log");
        let log = fs::OpenOptions::new().create(true).append(true).open(log)?;
        let mut command = Command::new(env!("CARGO_BIN_EXE_postfach"));
        command.arg("serve").arg("--config").arg(self.folder.join("postfach.toml"));
        command.stdin(Stdio::null()).stdout(log.try_clone()?).stderr(log);
        self.child = Some(command.spawn()?);
        self.until("it starts", || Ok(self.address("imap").is_ok()))
    }

    pub(crate) fn signal(&mut self, name: &str) -> Result<ExitStatus, Box<dyn Error>> {
        let mut child = self.child.take().ok_or("no daemon")?;
        let pid = child.id().to_string();
        Command::new("kill").args([format!("-{name}"), pid]).status()?;
        let began = Instant::now();
        while began.elapsed() < PATIENCE {
            if let Some(status) = child.try_wait()? {
                return Ok(status);
            }
            thread::sleep(Duration::from_millis(10));
        }
        child.kill()?;
        Err(format!("it did not end:\n{}", self.log()).into())
    }

    /// Writes another `[outbound]`, behind what all have in common.
    pub(crate) fn outbound(&self, outbound: &str) -> Outcome {
        const COMMON: &str = "retry_max_secs = 2\n";
        let text = fs::read_to_string(self.folder.join("postfach.toml"))?;
        let end = text.find(COMMON).ok_or("no [outbound]")? + COMMON.len();
        self.write("postfach.toml", &format!("{}{outbound}\n", &text[..end]))
    }

    /// Changes the config in one place.
    pub(crate) fn replace(&self, old: &str, new: &str) -> Outcome {
        let text = fs::read_to_string(self.folder.join("postfach.toml"))?;
        self.write("postfach.toml", &text.replace(old, new))
    }

    /// SIGHUP
    pub(crate) fn reload(&self) -> Outcome {
        let pid = self.child.as_ref().ok_or("no daemon")?.id().to_string();
        Command::new("kill").args(["-HUP".to_owned(), pid]).status()?;
        Ok(())
    }

    /// Waits until the log says it so often.
    pub(crate) fn until_logged(&self, text: &str, times: usize) -> Outcome {
        self.until(text, || Ok(self.log().matches(text).count() >= times))
    }

    /// Has mail for this address leave: a message comes in whose sender wants a report.
    pub(crate) fn submit_report_for(&self, address: &str) -> Outcome {
        let stream = TcpStream::connect(self.address("smtp")?)?;
        stream.set_read_timeout(Some(PATIENCE))?;
        let mut reader = BufReader::new(stream.try_clone()?);
        let lines = [
            "EHLO c.example".to_owned(),
            format!("MAIL FROM:<{address}>"),
            "RCPT TO:<support@example.org> NOTIFY=SUCCESS".to_owned(),
            "DATA".to_owned(),
            "Subject: x\r\n\r\nx\r\n.\r\nQUIT".to_owned(),
        ];
        let mut out = stream;
        let mut line = String::new();
        reader.read_line(&mut line)?;
        for text in lines {
            out.write_all(format!("{text}\r\n").as_bytes())?;
            while {
                line.clear();
                reader.read_line(&mut line)?;
                line.as_bytes().get(3) == Some(&b'-')
            } {}
            if !line.starts_with(['2', '3']) {
                return Err(line.into());
            }
        }
        Ok(())
    }

    /// Waits for something.
    pub(crate) fn until(
        &self,
        what: &str,
        mut holds: impl FnMut() -> Result<bool, Box<dyn Error>>,
    ) -> Outcome {
        let began = Instant::now();
        while began.elapsed() < PATIENCE {
            if holds()? {
                return Ok(());
            }
            thread::sleep(Duration::from_millis(20));
        }
        Err(format!("not within {PATIENCE:?}: {what}\n{}", self.log()).into())
    }

    /// `postfach queue …`: whether it was done, and what it said.
    pub(crate) fn ask(&self, words: &[&str]) -> Result<(bool, String), Box<dyn Error>> {
        let mut command = Command::new(env!("CARGO_BIN_EXE_postfach"));
        command.arg("queue").args(words).arg("--config").arg(self.folder.join("postfach.toml"));
        let output = command.output()?;
        Ok((output.status.success(), String::from_utf8(output.stdout)?))
    }

    pub(crate) fn until_empty(&self) -> Outcome {
        self.until("the queue is empty", || Ok(self.ask(&["list"])?.1 == "the queue is empty\n"))
    }

    /// All that is in a mailbox, by IMAP.
    pub(crate) fn mailbox(&self, name: &str) -> Result<String, Box<dyn Error>> {
        let stream = TcpStream::connect(self.address("imap")?)?;
        stream.set_read_timeout(Some(PATIENCE))?;
        let mut out = stream.try_clone()?;
        let commands = format!(
            "a LOGIN anna geheim\r\nb SELECT {name}\r\nc FETCH 1:* BODY.PEEK[]\r\nd LOGOUT\r\n"
        );
        let mut reader = BufReader::new(stream);
        reader.read_line(&mut String::new())?;
        out.write_all(commands.as_bytes())?;
        let mut text = String::new();
        reader.read_to_string(&mut text)?;
        Ok(text)
    }

    pub(crate) fn log(&self) -> String {
        fs::read_to_string(self.folder.join("log")).unwrap_or_default()
    }

    pub(crate) fn address(&self, listener: &str) -> Result<SocketAddr, Box<dyn Error>> {
        let ports = fs::read_to_string(self.ports_file())?;
        let behind = ports.split(&format!("\"{listener}\": [\"")).nth(1);
        let address = behind.and_then(|rest| rest.split('"').next());
        Ok(address.ok_or("no such listener")?.parse()?)
    }

    fn ports_file(&self) -> PathBuf {
        self.folder.join("data/run/ports.json")
    }
}

impl Drop for World {
    fn drop(&mut self) {
        if let Some(child) = &mut self.child {
            let _ = child.kill();
            let _ = child.wait();
        }
        let _ = fs::remove_dir_all(&self.folder);
    }
}

pub(crate) fn anna() -> Account {
    Account::User(Login::new("anna"))
}

pub(crate) fn support() -> Account {
    Account::Inbox("Support".into())
}

fn new_queued(account: &Account, mail: &Mail<'_>, now: Timestamp) -> NewQueued {
    let text = format!(
        "From: anna@example.org\r\nSubject: {0}\r\nMessage-ID: <{0}@example.org>\r\n\r\n\
         The first line\r\n.the second begins with a dot\r\n",
        mail.subject
    );
    let message = NewMessage {
        hash: *blake3::hash(text.as_bytes()).as_bytes(),
        parsed: Arc::new(message::parse(text.as_bytes())),
        bytes: Bytes::Memory(Arc::new(text.into_bytes())),
    };
    let envelope = QueuedEnvelope {
        id: mail.subject.clone(),
        reverse_path: Address::parse("anna@example.org"),
        sender: Some(account.clone()),
        envid: None,
        ret: None,
        body: Body::SevenBit,
        smtputf8: false,
        queued_at: now,
        expires_at: Timestamp(now.0 + 5 * 86_400 * 1_000_000),
    };
    let recipient = |address: &&str| QueuedRecipient {
        number: 0,
        address: Address::parse(address).expect("an address"),
        upstream: None,
        notify: None,
        orcpt: None,
        progress: Progress::new(now),
    };
    let recipients = mail.to.iter().map(recipient).collect();
    let trace = b"Received: by mail.example.org; Sun, 22 Nov 2026 23:23:06 +0000\r\n".to_vec();
    NewQueued { message, trace, envelope, recipients, duplicate_key: None }
}
