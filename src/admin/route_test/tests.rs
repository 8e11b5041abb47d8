//! What is said of a message and the rules of the sample.

use std::fs;

use super::*;

const DIRECTORY: &str = r#"
[[domain]]
name = "example.org"
[[user]]
login = "anna"
name = "Anna"
password = "$2b$04$abcdefghijklmnopqrstuuWkMVwbmqUjJ2y.fJjWT7u0E2FVBTyuu"
addresses = ["anna@example.org"]
[[user]]
login = "ben"
name = "Ben"
password = "$2b$04$abcdefghijklmnopqrstuuWkMVwbmqUjJ2y.fJjWT7u0E2FVBTyuu"
[[inbox]]
name = "Support"
addresses = ["support@example.org"]
[inbox.acknowledgement]
text = "Danke"
[[inbox.route]]
sender_domain = ["big.example"]
users = ["anna"]
[[inbox.route]]
detail = ["vip"]
header = "X-Tier"
equals = "gold"
folder = "done"
[[inbox.route]]
subject = ["invoice*", "Rechnung"]
pick = "least-open"
[[inbox.route]]
folder = "junk"
"#;

struct Place(PathBuf);

impl Place {
    fn new(name: &str) -> Place {
        let name = format!("postfach-route-{name}-{}", std::process::id());
        let folder = std::env::temp_dir().join(name);
        fs::create_dir_all(&folder).expect("a folder");
        let config = "hostname = \"mail.example.org\"\ndata_dir = \"data\"\n";
        fs::write(folder.join("postfach.toml"), config).expect("written");
        fs::write(folder.join("directory.toml"), DIRECTORY).expect("written");
        Place(folder)
    }

    fn said(&self, message: &str, to: &str) -> (Outcome, String) {
        let file = self.0.join("m.eml");
        fs::write(&file, message).expect("written");
        let mut out = Vec::new();
        let options = Options { file, to: to.into(), from: None };
        let outcome = report(&self.0.join("postfach.toml"), &options, &mut out).expect("written");
        let folder = format!("{}/", self.0.display());
        (outcome, String::from_utf8(out).expect("text").replace(&folder, ""))
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        let _ = fs::remove_dir_all(&self.0);
    }
}

#[test]
fn each_rule_says_why_it_does_not_match_and_the_first_that_does_decides() {
    let place = Place::new("each");
    let message = "From: bob@c.example\nTo: support@example.org\nSubject: Your invoices\n\nHi\n";
    let (outcome, said) = place.said(message, "support+x@example.org");
    assert_eq!(outcome, Outcome::Done);
    for expected in [
        "support+x@example.org -> inbox Support\n",
        "rule 1 (directory.toml:18): no: the sender's domain is c.example, not big.example\n",
        "rule 2 (directory.toml:21): no: the address has the detail x, not vip\n",
        "rule 3 (directory.toml:26): matches: least-open of all who work there\n",
        "rule 4 (directory.toml:29): not asked any more\n",
        "  one of these gets it: anna, ben\n",
        "the daemon is not running",
        "a follow-up goes to who has its own",
        "bob@c.example is acknowledged it, once a week at most, by support@example.org.\n",
    ] {
        assert!(said.contains(expected), "{expected}: {said}");
    }
    let (_, said) = place.said("From: x@mail.big.example\n\n", "support@example.org");
    assert!(said.contains("matches: round-robin of anna\n"), "{said}");
    assert!(said.contains("  anna gets it\n"), "{said}");
    let (_, said) = place.said("From: no-reply@c.example\n\n", "support+VIP@example.org");
    assert!(said.contains("rule 2 (directory.toml:21): no: no header field x-tier is \"gold\"\n"));
    assert!(said.contains("  it goes to Junk\n"), "{said}");
    assert!(said.contains("Not acknowledged: the sender's address is a program's."), "{said}");
}

#[test]
fn what_cannot_be_tested_is_said() {
    let place = Place::new("odd");
    let (outcome, said) = place.said("\n", "nobody@example.org");
    assert_eq!(outcome, Outcome::Refused);
    assert!(said.contains("nobody@example.org is nobody's address here"), "{said}");
    assert_eq!(place.said("\n", "nothing").0, Outcome::Refused);
    let (_, said) = place.said("\n", "anna@example.org");
    assert!(said.contains("a personal mailbox has no rules"), "{said}");
}
