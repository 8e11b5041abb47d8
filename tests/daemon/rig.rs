//! Starts the built daemon in a folder of its own and speaks to it as a client would. Knows nothing
//! of its insides: config files, signals, sockets and the log are all there is.

use std::error::Error;
use std::fs;
use std::io::{BufRead, BufReader, Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::os::fd::OwnedFd;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Output, Stdio};
use std::thread;
use std::time::{Duration, Instant};

/// What a test ends with.
pub(crate) type Outcome = Result<(), Box<dyn Error>>;

/// How long the daemon may take to start, to stop, or to answer.
pub(crate) const PATIENCE: Duration = Duration::from_secs(30);
/// Everybody's password.
pub(crate) const PASSWORD: &str = "geheim";
/// Its hash, with few rounds.
const HASH: &str = "$6$postfach$TtMZCEcEYtMxys3f.6yZlwlrEsHJVliLVnrHaTTv8low\
                    9GIcg22PVsCx3ZAnBBspxeNxMADgQB.B1gCu6nvxq/";

/// What differs between the directories of the tests.
pub(crate) struct Directory {
    /// The members of the team that has the inbox Support.
    pub(crate) support_team: &'static str,
}

impl Default for Directory {
    fn default() -> Directory {
        Directory { support_team: "\"anna\"" }
    }
}

impl Directory {
    /// As it is written.
    pub(crate) fn text(&self) -> String {
        let user = |login: &str| {
            format!(
                "[[user]]\nlogin = \"{login}\"\nname = \"{login}\"\npassword = \"{HASH}\"\n\
                 addresses = [\"{login}@example.org\"]\n"
            )
        };
        format!(
            "[[domain]]\nname = \"example.org\"\n{}{}{}role = \"super-admin\"\n\
             [[team]]\nname = \"support\"\nmembers = [{}]\n[[inbox]]\nname = \"Support\"\n\
             addresses = [\"support@example.org\"]\nteams = [\"support\"]\n",
            user("anna"),
            user("dora"),
            user("eve"),
            self.support_team
        )
    }
}

/// A running daemon; killed and its folder removed at the end.
pub(crate) struct Daemon {
    folder: PathBuf,
    child: Child,
}

impl Daemon {
    pub(crate) fn start(name: &str, directory: &Directory) -> Result<Daemon, Box<dyn Error>> {
        let folder = prepare(name, directory)?;
        let child = spawn(&folder, "postfach.toml")?;
        let mut daemon = Daemon { folder, child };
        daemon.wait_for_start()?;
        Ok(daemon)
    }

    /// As systemd starts it beside a `.socket` unit.
    pub(crate) fn start_with_sockets(
        name: &str,
        handed: &Handed,
    ) -> Result<Daemon, Box<dyn Error>> {
        let folder = prepare(name, &Directory::default())?;
        let child = handed.spawn(&folder)?;
        let mut daemon = Daemon { folder, child };
        daemon.wait_for_start()?;
        Ok(daemon)
    }

    /// As `start_with_sockets`, where the file with its addresses cannot be written; does not wait.
    pub(crate) fn start_without_ports_file(
        name: &str,
        handed: &Handed,
    ) -> Result<Daemon, Box<dyn Error>> {
        let folder = prepare(name, &Directory::default())?;
        fs::write(folder.join("data/run"), "no folder")?;
        Ok(Daemon { child: handed.spawn(&folder)?, folder })
    }

    /// Starts it again in the same folder.
    pub(crate) fn restart(&mut self) -> Outcome {
        self.child = spawn(&self.folder, "postfach.toml")?;
        self.wait_for_start()
    }

    /// Writes the directory; `signal("HUP")` makes the daemon read it.
    pub(crate) fn declare(&self, directory: &Directory) -> Outcome {
        self.declare_text(&directory.text())
    }

    /// Writes the directory's file, whatever it holds.
    pub(crate) fn declare_text(&self, text: &str) -> Outcome {
        Ok(fs::write(self.folder.join("directory.toml"), text)?)
    }

    /// Runs `dkim-key` and puts the lines that it prints into the config.
    pub(crate) fn make_dkim_keys(&self) -> Outcome {
        let config = self.folder.join("postfach.toml");
        let mut command = Command::new(env!("CARGO_BIN_EXE_postfach"));
        command.args(["dkim-key", "--domain", "example.org", "--selector", "s", "--config"]);
        let printed = String::from_utf8(command.arg(&config).output()?.stdout)?;
        let lines = printed.find("[[dkim]]").map(|at| &printed[at..]);
        let lines = lines.ok_or_else(|| format!("no [[dkim]] in {printed}"))?;
        Ok(fs::write(&config, format!("{}{lines}", fs::read_to_string(&config)?))?)
    }

    /// Makes one of those keys useless.
    pub(crate) fn damage_dkim_key(&self) -> Outcome {
        Ok(fs::write(self.folder.join("data/dkim/example.org.s-rsa.pem"), "damaged")?)
    }

    pub(crate) fn signal(&self, name: &str) -> Outcome {
        let pid = self.child.id().to_string();
        let status = Command::new("kill").args([format!("-{name}"), pid]).status()?;
        if status.success() { Ok(()) } else { Err("kill failed".into()) }
    }

    pub(crate) fn wait_for_end(&mut self) -> Result<ExitStatus, Box<dyn Error>> {
        let began = Instant::now();
        while began.elapsed() < PATIENCE {
            if let Some(status) = self.child.try_wait()? {
                return Ok(status);
            }
            thread::sleep(Duration::from_millis(10));
        }
        Err("the daemon did not end".into())
    }

    /// Waits for a line of the log that holds `text`.
    pub(crate) fn logged(&self, text: &str) -> Result<String, Box<dyn Error>> {
        let began = Instant::now();
        while began.elapsed() < PATIENCE {
            let log = self.log();
            if let Some(line) = log.lines().find(|line| line.contains(text)) {
                return Ok(line.to_owned());
            }
            thread::sleep(Duration::from_millis(10));
        }
        Err(format!("not logged: {text}\n{}", self.log()).into())
    }

    /// Tries to start another one on the same data directory.
    pub(crate) fn second(&self) -> std::io::Result<Output> {
        run_to_end(&self.folder, "postfach.toml")
    }

    /// Tries to start another one, with data of its own, on the same IMAP port.
    pub(crate) fn another_on_the_same_port(&self) -> Result<Output, Box<dyn Error>> {
        let imap = self.address("imap")?;
        write_config(&self.folder, "other.toml", "other", &imap)?;
        Ok(run_to_end(&self.folder, "other.toml")?)
    }

    /// Connections that say nothing, each of which the daemon has greeted.
    pub(crate) fn silent_imap_connections(
        &self,
        count: usize,
    ) -> Result<Vec<TcpStream>, Box<dyn Error>> {
        let address = self.address("imap")?;
        let greeted = || -> Result<TcpStream, Box<dyn Error>> {
            let mut stream = TcpStream::connect(&address)?;
            stream.set_read_timeout(Some(PATIENCE))?;
            stream.read_exact(&mut [0; 4])?;
            Ok(stream)
        };
        (0..count).map(|_| greeted()).collect()
    }

    /// Where a listener is, from the file that the daemon writes.
    pub(crate) fn address(&self, listener: &str) -> Result<String, Box<dyn Error>> {
        let ports = fs::read_to_string(self.ports_file())?;
        let behind = ports.split(&format!("\"{listener}\": [\"")).nth(1);
        let address = behind.and_then(|rest| rest.split('"').next());
        address.map(str::to_owned).ok_or_else(|| format!("no {listener} in {ports}").into())
    }

    /// The authority that has signed its certificate.
    pub(crate) fn authority(&self) -> PathBuf {
        self.folder.join("data/tls/ca.pem")
    }

    fn ports_file(&self) -> PathBuf {
        self.folder.join("data/run/ports.json")
    }

    fn log(&self) -> String {
        fs::read_to_string(self.folder.join("log")).unwrap_or_default()
    }

    fn wait_for_start(&mut self) -> Outcome {
        let began = Instant::now();
        while began.elapsed() < PATIENCE {
            if self.ports_file().exists() && self.address("imap").is_ok() {
                return Ok(());
            }
            if let Some(status) = self.child.try_wait()? {
                return Err(format!("it ended with {status}:\n{}", self.log()).into());
            }
            thread::sleep(Duration::from_millis(10));
        }
        Err(format!("it did not start:\n{}", self.log()).into())
    }
}

impl Drop for Daemon {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
        let _ = fs::remove_dir_all(&self.folder);
    }
}

/// A folder with config, directory and an empty data directory.
fn prepare(name: &str, directory: &Directory) -> Result<PathBuf, Box<dyn Error>> {
    let folder = format!("postfach-daemon-{}-{name}", std::process::id());
    let folder = std::env::temp_dir().join(folder);
    fs::create_dir_all(folder.join("data"))?;
    write_config(&folder, "postfach.toml", "data", "127.0.0.1:0")?;
    fs::write(folder.join("directory.toml"), directory.text())?;
    Ok(folder)
}

fn write_config(folder: &Path, file: &str, data: &str, imap: &str) -> Outcome {
    let text = format!(
        "hostname = \"mail.example.org\"\ndata_dir = \"{}\"\ndirectory = \"directory.toml\"\n\
         [listen]\nsmtp = [\"127.0.0.1:0\"]\nimap = [\"{imap}\"]\nimaps = [\"127.0.0.1:0\"]\n\
         [tls]\nself_signed = true\n[auth]\nplaintext_without_tls = \"loopback\"\n",
        folder.join(data).display()
    );
    Ok(fs::write(folder.join(file), text)?)
}

fn command(folder: &Path, config: &str) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_postfach"));
    command.arg("serve").arg("--config").arg(folder.join(config)).stdin(Stdio::null());
    command
}

fn spawn(folder: &Path, config: &str) -> Result<Child, Box<dyn Error>> {
    // A file of an earlier start would be taken for this one's.
    let _ = fs::remove_file(folder.join("data/run/ports.json"));
    let log = fs::OpenOptions::new().create(true).append(true).open(folder.join("log"))?;
    let mut command = command(folder, config);
    Ok(command.stdout(log.try_clone()?).stderr(log).spawn()?)
}

fn run_to_end(folder: &Path, config: &str) -> std::io::Result<Output> {
    command(folder, config).output()
}

/// Two listening sockets, handed over as descriptors 3 and 4. sd_listen_fds(3)
pub(crate) struct Handed {
    names: &'static str,
    sockets: [TcpListener; 2],
    pub(crate) first: SocketAddr,
    pub(crate) second: SocketAddr,
}

impl Handed {
    /// `names` as systemd writes them: with a colon between.
    pub(crate) fn new(names: &'static str) -> Result<Handed, Box<dyn Error>> {
        let sockets = [TcpListener::bind("127.0.0.1:0")?, TcpListener::bind("127.0.0.1:0")?];
        let (first, second) = (sockets[0].local_addr()?, sockets[1].local_addr()?);
        Ok(Handed { names, sockets, first, second })
    }

    pub(crate) fn connect_to_first(&self) -> std::io::Result<TcpStream> {
        TcpStream::connect(self.first)
    }

    /// std hands over descriptors 0 to 2 only, so a shell moves them to where systemd has them; it
    /// also becomes the daemon, which makes LISTEN_PID right.
    fn spawn(&self, folder: &Path) -> Result<Child, Box<dyn Error>> {
        let [first, second] = &self.sockets;
        let script = "exec 3<&0 4<&1 0</dev/null 1>&2; \
                      export LISTEN_PID=$$ LISTEN_FDS=2; exec \"$@\"";
        let mut shell = Command::new("sh");
        shell.args(["-c", script, "sh", env!("CARGO_BIN_EXE_postfach"), "serve", "--config"]);
        shell.arg(folder.join("postfach.toml")).env("LISTEN_FDNAMES", self.names);
        shell.stdin(Stdio::from(OwnedFd::from(first.try_clone()?)));
        shell.stdout(Stdio::from(OwnedFd::from(second.try_clone()?)));
        let log = fs::OpenOptions::new().create(true).append(true).open(folder.join("log"))?;
        Ok(shell.stderr(log).spawn()?)
    }
}

/// What the other side says first.
pub(crate) fn first_line(stream: TcpStream) -> Result<String, Box<dyn Error>> {
    stream.set_read_timeout(Some(PATIENCE))?;
    let mut line = String::new();
    BufReader::new(stream).read_line(&mut line)?;
    Ok(line)
}

/// An SMTP client.
pub(crate) struct Smtp(BufReader<TcpStream>);

impl Smtp {
    pub(crate) fn connect(daemon: &Daemon) -> Result<Smtp, Box<dyn Error>> {
        let stream = TcpStream::connect(daemon.address("smtp")?)?;
        stream.set_read_timeout(Some(PATIENCE))?;
        let mut smtp = Smtp(BufReader::new(stream));
        smtp.expect("220")?;
        smtp.say("EHLO client.example", "250")?;
        Ok(smtp)
    }

    pub(crate) fn deliver(&mut self, recipient: &str, subject: &str) -> Outcome {
        self.say("MAIL FROM:<sender@customer.example>", "250")?;
        self.say(&format!("RCPT TO:<{recipient}>"), "250")?;
        self.say("DATA", "354")?;
        let message = format!("From: sender@customer.example\r\nSubject: {subject}\r\n\r\nHi\r\n.");
        self.say(&message, "250")
    }

    fn say(&mut self, line: &str, code: &str) -> Outcome {
        self.0.get_mut().write_all(format!("{line}\r\n").as_bytes())?;
        self.expect(code)
    }

    fn expect(&mut self, code: &str) -> Outcome {
        loop {
            let mut line = String::new();
            self.0.read_line(&mut line)?;
            if !line.starts_with(code) {
                return Err(format!("expected {code}, got {line:?}").into());
            }
            if line.as_bytes().get(3) != Some(&b'-') {
                return Ok(());
            }
        }
    }
}

/// An IMAP client, logged in.
pub(crate) struct Imap {
    stream: BufReader<TcpStream>,
    tag: u32,
}

impl Imap {
    pub(crate) fn login(daemon: &Daemon, login: &str) -> Result<Imap, Box<dyn Error>> {
        let stream = TcpStream::connect(daemon.address("imap")?)?;
        stream.set_read_timeout(Some(PATIENCE))?;
        let mut imap = Imap { stream: BufReader::new(stream), tag: 0 };
        imap.stream.read_line(&mut String::new())?;
        let answer = imap.command(&format!("LOGIN {login} {PASSWORD}"))?;
        if answer.contains(" OK ") { Ok(imap) } else { Err(answer.into()) }
    }

    /// Everything up to the tagged answer, which is the last line.
    pub(crate) fn command(&mut self, command: &str) -> Result<String, Box<dyn Error>> {
        self.tag += 1;
        let tag = format!("t{}", self.tag);
        self.stream.get_mut().write_all(format!("{tag} {command}\r\n").as_bytes())?;
        let mut answer = String::new();
        loop {
            let start = answer.len();
            if self.stream.read_line(&mut answer)? == 0 {
                return Err(format!("connection closed after {answer:?}").into());
            }
            if answer[start..].starts_with(&format!("{tag} ")) {
                return Ok(answer);
            }
        }
    }

    /// Repeats a command until its answer holds `text`.
    pub(crate) fn until(
        &mut self,
        command: &str,
        text: &str,
        within: Duration,
    ) -> Result<String, Box<dyn Error>> {
        let began = Instant::now();
        loop {
            let answer = self.command(command)?;
            if answer.contains(text) {
                return Ok(answer);
            }
            if began.elapsed() > within {
                return Err(format!("no {text:?} within {within:?}: {answer}").into());
            }
            thread::sleep(Duration::from_millis(20));
        }
    }

    pub(crate) fn read_to_end(&mut self) -> Result<String, Box<dyn Error>> {
        let mut text = String::new();
        self.stream.read_to_string(&mut text)?;
        Ok(text)
    }
}

/// The last line of an answer without its tag.
pub(crate) fn without_tag(answer: &str) -> &str {
    let last = answer.lines().last().unwrap_or_default();
    last.split_once(' ').map_or("", |(_, rest)| rest)
}
