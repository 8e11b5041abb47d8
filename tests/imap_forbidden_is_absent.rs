//! Every command with a mailbox argument × who asks × how the mailbox is kept from them: the
//! answers for a forbidden name are, byte for byte, those for a name of the same length that nobody
//! has, and nothing in the store is different afterwards. Issue 2, "What it must show" 3.

mod imap_support;

use imap_support::{Client, DIRECTORY, World, account};
use postfach::imap::wire::utf7;
use postfach::mail::account::FolderNames;
use postfach::mail::id::Login;
use postfach::store::Store;
use postfach::store::change::{Actor, Change, Grant, Transaction};

/// `NAME` is put in, in modified UTF-7, and as part of a URL `ENCODED`. Each runs with the user's
/// INBOX selected and one message in it; the lines of one command are sent together.
const COMMANDS: [&str; 45] = [
    "a SELECT NAME",
    "a EXAMINE NAME",
    "a SELECT NAME (CONDSTORE)",
    "a CREATE NAME",
    "a CREATE NAME/",
    "a CREATE NAME/New",
    "a DELETE NAME",
    "a RENAME NAME Mine",
    "a RENAME NAME NAME-2",
    "a RENAME NAME Shared/Info/New",
    "a RENAME Own NAME",
    "a RENAME Own NAME/Own",
    "a RENAME INBOX NAME",
    "a SUBSCRIBE NAME",
    "a UNSUBSCRIBE NAME",
    "a LIST \"\" NAME",
    "a LIST \"\" NAME*",
    "a LIST NAME \"\"",
    "a LIST NAME %",
    "a LIST \"\" (NAME NAME/%) RETURN (SUBSCRIBED CHILDREN STATUS (MESSAGES))",
    "a LIST (SUBSCRIBED RECURSIVEMATCH) \"\" NAME",
    "a LSUB \"\" NAME",
    "a LSUB \"\" NAME%",
    "a STATUS NAME (MESSAGES UIDNEXT UIDVALIDITY UNSEEN HIGHESTMODSEQ SIZE)",
    "a STATUS {LENGTH+}\r\nNAME (MESSAGES)",
    "a APPEND NAME {5}\r\na NOOP",
    "a APPEND NAME (\\Seen) {5+}\r\nx: y\n",
    "a APPEND {LENGTH+}\r\nNAME {9999999}",
    "a APPEND NAME CATENATE (URL \"/INBOX/;UID=1\")",
    "a APPEND INBOX CATENATE (URL \"/ENCODED/;UID=1\")",
    "a APPEND INBOX CATENATE (URL \"ENCODED;UIDVALIDITY=1767323091/;UID=1\")",
    "a APPEND INBOX CATENATE (TEXT {4+}\r\nx: y URL {URL_LENGTH+}\r\n/ENCODED/;UID=1/;SECTION=1 \
     TEXT {6+}\r\na NOOP)",
    "a APPEND INBOX {4+}\r\nx: y CATENATE (URL \"/INBOX/;UID=1\" URL \"/ENCODED/;UID=9\")",
    "a REPLACE 1 NAME {5+}\r\nx: y\n",
    "a REPLACE 1 INBOX CATENATE (URL \"/ENCODED/;UID=1/;SECTION=HEADER\")",
    "a COPY 1 NAME",
    "a UID COPY 1 NAME",
    "a MOVE 1 NAME",
    "a UID MOVE 1 NAME",
    "a COPY 9 NAME",
    "a GETACL NAME",
    "a MYRIGHTS NAME",
    "a LISTRIGHTS NAME ben",
    "a SETACL NAME dora lrs",
    "a DELETEACL NAME dora",
];

/// An inbox and a channel with names beyond ASCII, beside those of the sample organisation.
const BEYOND_ASCII: &str = r#"
[[inbox]]
name = "Ärzte"
addresses = ["aerzte@example.org"]
teams = ["sales"]
[[channel]]
name = "Ben Büro"
owner = "ben"
addresses = ["ben.buero@example.org"]
"#;

/// What may stand below an account's name; the last ones mean `Cafés`, composed and decomposed.
const BELOW: [&str; 9] = [
    "",
    "/Done",
    "/Trash",
    "/Assigned",
    "/Assigned/anna",
    "/Ideas",
    "/Nothing",
    "/Caf&AOk-s",
    "/Cafe&AwE-s",
];

/// Where the one who asks is told nothing, and a name that nobody has in its place.
struct Case {
    user: &'static str,
    /// Rights given by SETACL before: account and letters.
    granted: Option<(&'static str, &'static str)>,
    forbidden: &'static str,
    absent: &'static str,
    /// Whether a super-admin sees it under the same name.
    seen_by_eve: Seen,
}

#[derive(Clone, Copy, PartialEq)]
enum Seen {
    ByEve,
    ByNobody,
}

const fn case(
    (user, granted): (&'static str, Option<(&'static str, &'static str)>),
    forbidden: &'static str,
    absent: &'static str,
    seen_by_eve: Seen,
) -> Case {
    Case { user, granted, forbidden, absent, seen_by_eve }
}

const CASES: [Case; 22] = [
    // a member of no team, and a member of another
    case(("dora", None), "Shared/Support", "Shared/Nowhere", Seen::ByEve),
    case(("anna", None), "Shared/Sales", "Shared/Never", Seen::ByEve),
    // a member whose access was taken away, or is not enough to see it
    case(("ben", Some(("inbox Sales", ""))), "Shared/Sales", "Shared/Never", Seen::ByEve),
    case(("ben", Some(("inbox Sales", "rswite"))), "Shared/Sales", "Shared/Never", Seen::ByEve),
    case(("dora", Some(("inbox Info", ""))), "Shared/Info", "Shared/Nope", Seen::ByEve),
    // other users' channels, under each name that they could have
    case(
        ("dora", None),
        "\"Other Users/anna/Anna Sales\"",
        "\"Other Users/anna/Anna Nosal\"",
        Seen::ByEve,
    ),
    case(
        ("dora", None),
        "\"Other Users/anna/Anna Sales\"",
        "\"Other Users/nobo/Anna Sales\"",
        Seen::ByEve,
    ),
    case(("dora", None), "\"Private/Anna Sales\"", "\"Private/Anna Nosal\"", Seen::ByNobody),
    case(("anna", None), "\"Private/Ben Desk\"", "\"Private/Ben Dusk\"", Seen::ByNobody),
    case(("dora", None), "\"Shared/Anna Sales\"", "\"Shared/Anna Nosal\"", Seen::ByNobody),
    case(
        ("anna", None),
        "\"Other Users/anna/Anna Sales\"",
        "\"Other Users/anna/Anna Nosal\"",
        Seen::ByEve,
    ),
    case(
        ("dora", Some(("channel Ben Desk", ""))),
        "\"Other Users/ben/Ben Desk\"",
        "\"Other Users/ben/Ben Dusk\"",
        Seen::ByEve,
    ),
    // personal mailboxes are nobody else's, whatever the role
    case(
        ("dora", None),
        "\"Other Users/anna/INBOX\"",
        "\"Other Users/anno/INBOX\"",
        Seen::ByNobody,
    ),
    case(("carla", None), "\"Other Users/anna/Own\"", "\"Other Users/anno/Own\"", Seen::ByNobody),
    case(("eve", None), "\"Other Users/anna/Own\"", "\"Other Users/anno/Own\"", Seen::ByNobody),
    case(("dora", None), "\"Other Users/carla\"", "\"Other Users/carlo\"", Seen::ByNobody),
    case(("eve", None), "Private/anna", "Private/anno", Seen::ByNobody),
    // names beyond ASCII: a decomposed one means the composed one too, where that may be seen
    case(("anna", None), "Shared/A&Awg-rzte", "Shared/O&Awg-rzte", Seen::ByEve),
    case(("anna", None), "Shared/&AMQ-rzte", "Shared/&ANY-rzte", Seen::ByEve),
    case(
        ("ben", Some(("inbox Ärzte", "rswite"))),
        "Shared/A&Awg-rzte",
        "Shared/O&Awg-rzte",
        Seen::ByEve,
    ),
    case(
        ("dora", None),
        "\"Other Users/ben/Ben Bu&Awg-ro\"",
        "\"Other Users/ben/Ben Bo&Awg-ro\"",
        Seen::ByEve,
    ),
    case(("dora", None), "\"Private/Ben Bu&Awg-ro\"", "\"Private/Ben Bo&Awg-ro\"", Seen::ByNobody),
];

#[tokio::test]
async fn forbidden_is_absent_for_every_command() {
    let mut wrong = Vec::new();
    for case in &CASES {
        for below in BELOW {
            compare(case, below, &mut wrong).await;
        }
    }
    assert!(wrong.is_empty(), "{} differ:\n{}", wrong.len(), wrong.join("\n"));
}

/// The same commands that say nothing about a forbidden mailbox do say something to who may see it:
/// otherwise the test above would show nothing.
#[tokio::test]
async fn a_visible_mailbox_answers_otherwise() {
    let mut silent = Vec::new();
    for case in CASES.iter().filter(|case| case.seen_by_eve == Seen::ByEve).step_by(3) {
        for command in COMMANDS.iter().filter(|command| tells_more(command)) {
            let (here, there) = (world(case).await, world(case).await);
            let mut allowed = client(&here, "eve").await;
            let mut refused = client(&there, case.user).await;
            let command = filled(command, case.forbidden, "");
            if run(&here, &mut allowed, &command).await == run(&there, &mut refused, &command).await
            {
                silent.push(format!("{} {command}", case.user));
            }
        }
    }
    assert!(silent.is_empty(), "{silent:#?}");
}

/// Commands that answer alike for mailboxes of any other account, or that say nothing about a name.
fn tells_more(command: &str) -> bool {
    !["a RENAME Own NAME", "a RENAME Own NAME/Own", "a RENAME INBOX NAME", "a LIST NAME \"\""]
        .contains(&command)
        // no message 9
        && !command.starts_with("a COPY 9")
        && !command.contains("UID=9")
        // another epoch, but of one inbox
        && !command.contains("UIDVALIDITY=")
        // APPEND is invited or refused: the answer to the message differs, not all of it is sent
        && !command.starts_with("a LIST NAME %")
}

async fn compare(case: &Case, below: &str, wrong: &mut Vec<String>) {
    let (here, there) = (world(case).await, world(case).await);
    let before = dump(&here).await;
    assert_eq!(before, dump(&there).await, "two worlds begin alike");
    for command in COMMANDS {
        let (mut forbidden, mut absent) =
            (client(&here, case.user).await, client(&there, case.user).await);
        let sent = filled(command, case.forbidden, below);
        let answer = run(&here, &mut forbidden, &sent).await;
        let other = run(&there, &mut absent, &filled(command, case.absent, below)).await;
        let mapped = other.replace(bare(case.absent), bare(case.forbidden));
        let mapped = mapped.replace(&encoded(bare(case.absent)), &encoded(bare(case.forbidden)));
        if answer != mapped {
            wrong.push(format!("{} {sent}\n  {answer}\n  {mapped}", case.user));
        }
    }
    for (world, what) in [(&here, "forbidden"), (&there, "absent")] {
        if dump(world).await != before {
            wrong
                .push(format!("{} {}{below}: {what} changed the store", case.user, case.forbidden));
        }
    }
}

/// The sample organisation, with what the case needs and a message in each INBOX and inbox.
async fn world(case: &Case) -> World {
    let directory = [DIRECTORY, BEYOND_ASCII].concat();
    let mut world = World::of(&directory, FolderNames::default(), &[]).await;
    let mut eve = world.client("eve").await;
    for inbox in ["Support", "Sales", "&AMQ-rzte"] {
        for folder in ["Ideas", "Caf&AOk-s"] {
            let command = format!("x CREATE Shared/{inbox}/{folder}\r\n");
            eve.send(&world, command.as_bytes()).await;
            assert!(eve.take().contains("x OK "));
        }
    }
    for user in ["anna", "ben", "carla", "dora", "eve"] {
        let mut client = world.client(user).await;
        client.send(&world, b"x CREATE Own\r\n").await;
        world.deliver(&account(&format!("user {user}")), "Subject: own\r\n\r\nown\r\n").await;
    }
    for shared in [
        "inbox Support",
        "inbox Sales",
        "inbox Info",
        "inbox Ärzte",
        "channel Anna Sales",
        "channel Ben Desk",
        "channel Ben Büro",
    ] {
        world.deliver(&account(shared), "Subject: secret\r\n\r\nx\r\n").await;
    }
    if let Some((to, letters)) = case.granted {
        let user = Login::new(case.user);
        let rights = Some(letters.to_owned());
        let changes = vec![Change::Granted(Grant { account: account(to), user, rights })];
        let transaction = Transaction { actor: Actor::System, changes };
        world.store.commit(transaction).await.expect("granted");
        world.refresh();
    }
    world
}

/// Logged in, INBOX selected.
async fn client(world: &World, user: &str) -> Client {
    let mut client = world.client(user).await;
    client.send(world, b"s SELECT INBOX\r\n").await;
    assert!(client.take().contains("s OK [READ-WRITE]"));
    client
}

/// The command's answer, and what the user sees afterwards.
async fn run(world: &World, client: &mut Client, command: &str) -> String {
    client.send(world, format!("{command}\r\n").as_bytes()).await;
    client.send(world, b"n NOOP\r\nl LIST \"\" * RETURN (SUBSCRIBED)\r\nm LSUB \"\" *\r\n").await;
    client.take()
}

fn filled(command: &str, name: &str, below: &str) -> String {
    let full = match name.strip_suffix('"') {
        Some(open) => format!("{open}{below}\""),
        None => format!("{name}{below}"),
    };
    let plain = bare(&full).to_owned();
    // behind a literal's mark the name stands without quotes
    let url_bytes = "//;UID=1/;SECTION=1".len() + encoded(&plain).len();
    let command = command.replace("URL_LENGTH", &url_bytes.to_string());
    let command = command.replace("ENCODED", &encoded(&plain));
    let command = command.replace("LENGTH", &plain.len().to_string());
    let command = command.replace("}\r\nNAME", &format!("}}\r\n{plain}"));
    let quoted = format!("\"{plain}\"");
    // a suffix belongs inside the quotes
    let mut filled = command.replace("NAME/New", &quoted.replace(&plain, &format!("{plain}/New")));
    for suffix in ["/Own", "/%", "-2", "/", "*", "%"] {
        let inside = format!("\"{plain}{suffix}\"");
        filled = filled.replace(&format!("NAME{suffix}"), &inside);
    }
    filled.replace("NAME", &full)
}

/// A name as it stands in a URL: in UTF-8. RFC 5092 §2
fn encoded(name: &str) -> String {
    let encode = |byte: u8| match byte.is_ascii() && byte != b' ' {
        true => char::from(byte).to_string(),
        false => format!("%{byte:02X}"),
    };
    utf7::decode(name.as_bytes()).bytes().map(encode).collect()
}

fn bare(name: &str) -> &str {
    name.trim_matches('"')
}

/// All that is stored and that anybody could see of it.
async fn dump(world: &World) -> String {
    let mut dump = String::new();
    let users = || world.directory.users.keys();
    let accounts = users()
        .map(|login| account(&format!("user {login}")))
        .chain(world.directory.inboxes.keys().map(|n| account(&format!("inbox {n}"))))
        .chain(world.directory.channels.keys().map(|n| account(&format!("channel {n}"))));
    for account in accounts {
        for mailbox in world.store.mailboxes(&account) {
            let snapshot = world.store.snapshot(mailbox.id).await.expect("a snapshot");
            dump.push_str(&format!("{mailbox:?} {:?}\n", snapshot.highest_modseq));
            snapshot.iter().for_each(|entry| dump.push_str(&format!("  {entry:?}\n")));
            for user in users() {
                let overlay = world.store.overlay(mailbox.id, user).await.expect("an overlay");
                dump.push_str(&format!("  {user} {:?}\n", overlay.highest_modseq()));
            }
        }
    }
    for user in users() {
        dump.push_str(&format!("{user} {:?}\n", world.store.subscriptions(user)));
    }
    dump.push_str(&format!("{:?}\n", world.store.grants()));
    dump
}
