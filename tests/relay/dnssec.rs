//! Whether DNSSEC proves an answer, as unbound says of zones that knot has signed; where both are
//! installed.

use std::net::{SocketAddr, TcpListener, UdpSocket};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use postfach::outbound::dane::Published;
use postfach::outbound::next_hop::Answer;
use postfach::server::dns::proven::{Proof, Validating};

const PROGRAMS: [&str; 3] = ["/usr/sbin/knotd", "/usr/sbin/keymgr", "/usr/sbin/unbound"];
const ZONE: &str = "$TTL 60\n@ SOA ns hostmaster 1 3600 600 86400 60\n@ NS ns\nns A 127.0.0.1\n\
                    @ MX 10 mx1\nmx1 A 127.0.0.2\nmx2 A 127.0.0.3\nalias CNAME mx1\n\
                    _25._tcp.mx1 TLSA 3 1 1 ";
/// One key that signs keys and records.
const GENERATE: [&str; 4] = ["generate", "algorithm=13", "ksk=yes", "zsk=yes"];
/// A key that has signed nothing.
const WRONG_ANCHOR: &str = "broken.example. DS 1 13 2 ";

/// `signed.example` is proven, `broken.example` has wrong signatures, `plain.example` none.
struct Zones {
    folder: PathBuf,
    running: Vec<Child>,
    resolver: SocketAddr,
}

impl Zones {
    /// `None` where a program is not installed.
    async fn start() -> Option<Zones> {
        if let Some(missing) = PROGRAMS.iter().find(|program| !Path::new(program).exists()) {
            eprintln!("{missing} is not installed: not tested");
            return None;
        }
        let folder = std::env::temp_dir().join(format!("postfach-dnssec-{}", std::process::id()));
        std::fs::create_dir_all(folder.join("db")).expect("a folder");
        let (server, resolver) = (free_port(), free_port());
        let mut zones = Zones { folder, running: Vec::new(), resolver };
        zones.write("zone", &format!("{ZONE}{}\n", "07".repeat(32)));
        zones.write("knot.conf", &zones.knot(server));
        // The keys are there before knotd: two programs that make a key database at once collide.
        zones.keymgr("signed.example", &GENERATE);
        zones.keymgr("broken.example", &GENERATE);
        let printed = zones.keymgr("signed.example", &["ds"]);
        let anchor = printed.lines().find(|line| line.contains(" DS ")).expect("an anchor");
        zones.write("anchor", &format!("{anchor}\n{WRONG_ANCHOR}{}\n", "07".repeat(32)));
        zones.write("unbound.conf", &zones.unbound(server));
        zones.run(PROGRAMS[0], &["-c", "knot.conf"]);
        // unbound asks a server that was silent once more rarely, so it comes after.
        let direct = Validating::new(&[server]);
        for zone in ["signed.example", "broken.example", "plain.example"] {
            zones.answered(&direct, zone).await;
        }
        zones.run(PROGRAMS[2], &["-d", "-c", "unbound.conf"]);
        zones.answered(&Validating::new(&[zones.resolver]), "signed.example").await;
        Some(zones)
    }

    /// Waits until `dns` finds the exchangers of `zone`; shows what the servers wrote if not.
    async fn answered(&self, dns: &Validating, zone: &str) {
        let patience = Instant::now() + Duration::from_secs(60);
        let mut last = dns.exchangers(zone).await;
        while !matches!(last.answer, Answer::Found(_)) {
            if Instant::now() > patience {
                let log = |name: &&str| std::fs::read_to_string(self.log(name)).unwrap_or_default();
                let logs: Vec<String> = PROGRAMS.iter().map(log).collect();
                panic!("{zone}: {last:?}\n{}", logs.join("\n"));
            }
            tokio::time::sleep(Duration::from_millis(100)).await;
            last = dns.exchangers(zone).await;
        }
    }

    fn write(&self, file: &str, text: &str) {
        std::fs::write(self.folder.join(file), text).expect("written");
    }

    fn log(&self, program: &str) -> PathBuf {
        self.folder.join(program.replace('/', "_"))
    }

    fn run(&mut self, program: &str, arguments: &[&str]) {
        let log = || std::fs::File::options().create(true).append(true).open(self.log(program));
        let mut command = Command::new(program);
        command.current_dir(&self.folder).args(arguments).stdin(Stdio::null());
        command.stdout(log().expect("a log")).stderr(log().expect("a log"));
        let child = command.spawn().expect("it starts");
        self.running.push(child);
    }

    /// What keymgr prints.
    fn keymgr(&self, zone: &str, arguments: &[&str]) -> String {
        let mut keymgr = Command::new(PROGRAMS[1]);
        keymgr.current_dir(&self.folder).args(["-c", "knot.conf", zone]).args(arguments);
        let output = keymgr.output().expect("it runs");
        assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
        String::from_utf8(output.stdout).expect("ASCII")
    }

    fn knot(&self, server: SocketAddr) -> String {
        let folder = self.folder.display();
        let zone = |name: &str, signing: &str| {
            format!(
                "  - domain: {name}\n    file: \"{folder}/zone\"\n    zonefile-sync: -1\n    \
                 zonefile-load: difference\n    journal-content: all\n    \
                 dnssec-signing: {signing}\n    dnssec-policy: given\n"
            )
        };
        let zones = [("signed.example", "on"), ("broken.example", "on"), ("plain.example", "off")];
        let zones: String = zones.iter().map(|(name, signing)| zone(name, signing)).collect();
        let (ip, port) = (server.ip(), server.port());
        format!(
            "server:\n  rundir: \"{folder}\"\n  listen: {ip}@{port}\n\
             database:\n  storage: \"{folder}/db\"\n\
             policy:\n  - id: given\n    manual: on\n    single-type-signing: on\n\
             log:\n  - target: stderr\n    any: info\nzone:\n{zones}"
        )
    }

    fn unbound(&self, server: SocketAddr) -> String {
        let folder = self.folder.display();
        let (ip, port) = (self.resolver.ip(), self.resolver.port());
        let stub = |name| {
            let at = format!("{}@{}", server.ip(), server.port());
            format!("stub-zone:\n  name: \"{name}.example\"\n  stub-addr: {at}\n")
        };
        let stubs: String = ["signed", "broken", "plain"].into_iter().map(stub).collect();
        format!(
            "server:\n  directory: \"{folder}\"\n  chroot: \"\"\n  username: \"\"\n  \
             pidfile: \"\"\n  use-syslog: no\n  interface: {ip}@{port}\n  \
             do-not-query-localhost: no\n  module-config: \"validator iterator\"\n  \
             trust-anchor-file: \"{folder}/anchor\"\n{stubs}remote-control:\n  \
             control-enable: no\n"
        )
    }
}

impl Drop for Zones {
    fn drop(&mut self) {
        for child in &mut self.running {
            let _ = child.kill();
            let _ = child.wait();
        }
        let _ = std::fs::remove_dir_all(&self.folder);
    }
}

/// A port that is free for datagrams and for connections.
fn free_port() -> SocketAddr {
    loop {
        let socket = UdpSocket::bind("127.0.0.1:0").expect("a port");
        let address = socket.local_addr().expect("an address");
        if TcpListener::bind(address).is_ok() {
            return address;
        }
    }
}

#[tokio::test]
async fn unbound_tells_what_dnssec_proves() {
    let Some(zones) = Zones::start().await else { return };
    let dns = Validating::new(&[zones.resolver]);
    let mx = dns.exchangers("signed.example").await;
    assert!(
        matches!(&mx.answer, Answer::Found(mx) if mx[0].host == "mx1.signed.example"),
        "{mx:?}"
    );
    assert_eq!(mx.proof, Proof::Secure);
    let addresses = dns.addresses("alias.signed.example").await;
    assert_eq!(addresses.answer, Answer::Found(vec![[127, 0, 0, 2].into()]));
    assert_eq!((addresses.proof, addresses.name.as_str()), (Proof::Secure, "mx1.signed.example"));
    let published = dns.published(("alias.signed.example", &addresses.name), 25).await;
    let Some(Published::Usable(name, records)) = published else { panic!("{published:?}") };
    assert_eq!((name.as_str(), records.len()), ("mx1.signed.example", 1));
    let none = dns.published(("mx2.signed.example", "mx2.signed.example"), 25).await;
    assert_eq!(none, None);
    let absent = dns.exchangers("absent.signed.example").await;
    assert_eq!((absent.answer, absent.proof), (Answer::NoDomain, Proof::Secure));

    let plain = dns.addresses("mx1.plain.example").await;
    assert_eq!(plain.answer, Answer::Found(vec![[127, 0, 0, 2].into()]));
    assert_eq!(plain.proof, Proof::Insecure);
    assert_eq!(dns.published(("mx1.plain.example", "mx1.plain.example"), 25).await, None);

    let broken = dns.exchangers("broken.example").await;
    assert!(matches!(broken.answer, Answer::Unknown(_)), "{broken:?}");
    let hidden = dns.published(("mx1.broken.example", "mx1.broken.example"), 25).await;
    assert!(matches!(hidden, Some(Published::Unknown(_))), "{hidden:?}");
}
