//! Notes: what colleagues write to an inbox about one of its conversations stays inside.

use postfach::delivery::Origin;
use postfach::mail::account::Folder;
use postfach::mail::address::Address;
use postfach::mail::flag::SystemFlags;

use crate::conversations::{CUSTOMER, done};
use crate::world::{World, inbox, login, sent, user};

const REFUSAL: &str = "550 5.7.1 This answers or forwards an internal note; notes stay inside. \
                       Answer or forward the customer's message instead";

fn written(from: &str, id: &str, follows: &[&str]) -> String {
    let references: String = follows.iter().map(|id| format!(" <{id}>")).collect();
    format!(
        "From: {from}\r\nTo: support@example.org\r\nMessage-ID: <{id}>\r\n\
         Date: Sun, 22 Nov 2026 23:23:06 +0000\r\nReferences:{references}\r\n\r\n{id}\r\n"
    )
}

impl World {
    async fn notes(
        &self,
        by: &str,
        (from, to): (&str, &[&str]),
        (id, follows): (&str, &[&str]),
    ) -> Result<(), String> {
        self.submit(by, (from, to), &written(from, id, follows)).await.map(|_| ())
    }
}

const INSIDE: (&str, &[&str]) = ("support@example.org", &["support@example.org"]);

#[tokio::test]
async fn a_note_lies_where_the_conversation_is_and_changes_nothing() {
    let world = World::new().await;
    let personal = ("anna@example.org", &["support@example.org"][..]);
    world.comes("q1@c", &[]).await;
    // the identity guard of Support rejects answers from personal addresses; this is none
    world.notes("anna", personal, ("n1@o", &["q1@c"])).await.expect("accepted");
    assert_eq!(world.there(Folder::root()).await, ["q1@c", "n1@o $Note"], "not assigned");
    world.answers("ben", "a1@o", &["q1@c"]).await.expect("no answer stands in its way");
    let bens = Folder::assigned(&login("ben"));
    world.notes("anna", INSIDE, ("n2@o", &["q1@c", "n1@o"])).await.expect("accepted");
    let expected = ["q1@c $assigned-ben", "n1@o $Note $assigned-ben", "n2@o $Note $assigned-ben"];
    let mut found = world.there(bens.clone()).await;
    for line in &mut found {
        let mut words: Vec<&str> = line.split(' ').collect();
        words[1..].sort_unstable();
        *line = words.join(" ");
    }
    let mut sorted = expected.map(str::to_owned);
    sorted.sort_unstable();
    found.sort_unstable();
    assert_eq!(found, sorted);
    world.moves(bens, done(), None).await;
    world.notes("ben", INSIDE, ("n3@o", &["q1@c"])).await.expect("accepted");
    assert_eq!(world.there(done()).await.len(), 4, "a note opens nothing again");
    world.comes("q2@c", &["q1@c"]).await;
    let again = world.there(Folder::assigned(&login("ben"))).await;
    assert_eq!(again.len(), 5, "the notes come along: {again:?}");
}

#[tokio::test]
async fn a_note_is_told_by_who_wrote_it_and_is_no_answer() {
    let world = World::new().await;
    world.comes("q1@c", &[]).await;
    world.notes("anna", INSIDE, ("n1@o", &["q1@c"])).await.expect("accepted");
    for (viewer, flags) in [("anna", SystemFlags::SEEN), ("ben", SystemFlags::NONE)] {
        let all = world.messages((&inbox("Support"), Folder::root()), viewer).await;
        assert_eq!(all[0].flags, SystemFlags::NONE, "nobody has answered");
        assert_eq!(all[1].flags, flags, "{viewer}");
        assert!(all[1].text.contains("X-Postfach-Sender: anna\r\n"), "{}", all[1].text);
    }
    assert!(world.there(sent()).await.is_empty(), "it was not sent to anybody");
    assert!(world.queue().is_empty());
    world.answers("ben", "a1@o", &["q1@c"]).await.expect("a note is no answer that crosses");
}

#[tokio::test]
async fn a_note_from_a_personal_address_is_filed_in_ones_own_sent() {
    let world = World::new().await;
    world.comes("q1@c", &[]).await;
    let personal = ("anna@example.org", &["support@example.org", "ben@example.org"][..]);
    world.notes("anna", personal, ("n1@o", &["q1@c"])).await.expect("accepted");
    assert_eq!(world.there(Folder::root()).await, ["q1@c", "n1@o $Note"]);
    assert_eq!(world.messages((&user("anna"), sent()), "anna").await.len(), 1);
    let own = world.messages((&user("ben"), Folder::root()), "ben").await;
    assert!(own[0].keywords.is_empty(), "a colleague who is told gets ordinary mail");
}

#[tokio::test]
async fn what_refers_to_a_note_does_not_leave() {
    let world = World::new().await;
    world.comes("q1@c", &[]).await;
    world.notes("anna", INSIDE, ("n1@o", &["q1@c"])).await.expect("accepted");
    let nested = "Content-Type: message/rfc822\r\n\r\nMessage-ID: <n1@o>\r\n\r\nintern\r\n";
    let mixed = "Content-Type: multipart/mixed; boundary=b\r\n\r\n--b\r\n\r\nsee\r\n--b\r\n\
                 Content-Type: message/rfc822\r\n\r\nMessage-ID: <n1@o>\r\n\r\nintern\r\n--b--\r\n";
    let file_in_a_file = "Content-Type: application/octet-stream\r\n\
                 Content-Transfer-Encoding: base64\r\n\r\n\
                 Q29udGVudC1UeXBlOiBhcHBsaWNhdGlvbi9vY3RldC1zdHJlYW07IG5hbWU9bi5lbWwNCkNv\r\n\
                 bnRlbnQtVHJhbnNmZXItRW5jb2Rpbmc6IGJhc2U2NA0KDQpUV1Z6YzJGblpTMUpSRG9n\r\n\
                 UEc0eFFHOCtEUW9OQ21sdWRHVnliZzBLDQo=\r\n";
    let utf_16 = "Content-Type: text/plain; charset=utf-16; name=n.eml\r\n\
                 Content-Transfer-Encoding: quoted-printable\r\n\r\n\
                 =FF=FEM=00e=00s=00s=00a=00g=00e=00-=00I=00D=00:=00 =00<=00n=001=00@=00o=00=\r\n\
                 >=00=0D=00=0A=00=0D=00=0A=00i=00n=00t=00e=00r=00n=00\r\n";
    for (n, how) in [
        "In-Reply-To: <n1@o>\r\n\r\n",
        "References: <q1@c> <n1@o> <x@x>\r\n\r\n",
        "X-Forwarded-Message-Id: <q1@c>\r\nX-Forwarded-Message-Id: <n1@o>\r\n\r\n",
        "In-Reply-To: <q1@c>\r\nIn-Reply-To: <n1@o>\r\n\r\n",
        "References: <q1@c>\r\nReferences: <n1\r\n @o>\r\n\r\n",
        "Resent-Message-ID: <n1@o>\r\n\r\n",
        "Content-Type: message/rfc822\r\n\r\nMessage-ID: <a@x>\r\nIn-Reply-To: <n1@o>\r\n\r\n.\r\n",
        nested,
        mixed,
        "Content-Type: message/rfc822\r\nContent-Transfer-Encoding: base64\r\n\r\n\
         TWVzc2FnZS1JRDogPG4xQG8+DQoNCmludGVybg0K\r\n",
        "Content-Type: text/rfc822-headers\r\n\r\nMessage-ID: <n1@o>\r\n",
        utf_16,
        file_in_a_file,
    ]
    .into_iter()
    .enumerate()
    {
        let id = format!("<leak{n}@o>");
        let text =
            format!("From: support@example.org\r\nTo: {CUSTOMER}\r\nMessage-ID: {id}\r\n{how}");
        for to in [&[CUSTOMER][..], &[CUSTOMER, "support@example.org"]] {
            let told = world.submit("ben", ("support@example.org", to), &text).await;
            assert_eq!(told, Err(REFUSAL.to_owned()), "{how}");
        }
    }
    let itself = written("support@example.org", "n1@o", &["q1@c"]);
    let told = world.submit("ben", ("support@example.org", &[CUSTOMER]), &itself).await;
    assert_eq!(told, Err(REFUSAL.to_owned()));
    assert!(world.queue().is_empty(), "nothing has left");
    world.answers("ben", "a1@o", &["q1@c"]).await.expect("the customer can be answered");
    let inside = written("ben@example.org", "f1@o", &["n1@o"]);
    let inside = format!("Subject: Fwd: Notiz\r\n{inside}");
    let to_colleague = ("ben@example.org", &["dora@example.org"][..]);
    world.submit("ben", to_colleague, &inside).await.expect("colleagues may be told");
}

#[tokio::test]
async fn a_note_has_a_message_id_of_its_own() {
    let world = World::new().await;
    world.comes("q1@c", &[]).await;
    world.comes("q2@c", &["q1@c"]).await;
    let text = written("support@example.org", "q2@c", &["q1@c"]) + "Notiz\r\n";
    let told = world.submit("anna", INSIDE, &text).await;
    assert!(told.is_err_and(|told| told.contains("5.7.1 Another message has this Message-ID")));
    world.answers("ben", "a1@o", &["q1@c", "q2@c"]).await.expect("the customer can be answered");
    // what the program filed before it was sent is the note itself
    let note = written("anna@example.org", "n1@o", &["q1@c"]);
    world.file((&user("anna"), sent()), &note).await;
    let own = ("anna@example.org", &["support@example.org"][..]);
    world.submit("anna", own, &note).await.expect("accepted");
}

#[tokio::test]
async fn mail_that_is_no_note_is_delivered_as_any_other() {
    let world = World::new().await;
    world.comes("q1@c", &[]).await;
    // an answer, of which the inbox gets a copy
    let both = ("support@example.org", &[CUSTOMER, "support@example.org"][..]);
    world.notes("ben", both, ("a1@o", &["q1@c"])).await.expect("accepted");
    assert_eq!(world.queue().len(), 1);
    // who may only read writes as anybody would
    let reader = ("dora@example.org", &["support@example.org"][..]);
    let told = world.notes("dora", reader, ("d1@o", &["q1@c"])).await;
    assert!(told.is_err_and(|told| told.contains("You may read this mail, but not answer it")));
    // a new matter of anna's own, and what she adds to it later
    let own = ("anna@example.org", &["support@example.org"][..]);
    world.notes("anna", own, ("m1@o", &[])).await.expect("accepted");
    world.notes("anna", own, ("m2@o", &["m1@o"])).await.expect("accepted");
    let everything =
        [world.there(Folder::root()).await, world.there(Folder::assigned(&login("ben"))).await];
    let all = everything.concat();
    assert!(all.iter().any(|line| line.starts_with("m2@o")), "{all:?}");
    assert!(!all.iter().any(|line| line.contains("$Note")), "{all:?}");
}

#[tokio::test]
async fn the_upstream_server_gets_no_copy_of_a_note() {
    let world = World::new().await;
    let question = "From: kunde@customer.example\r\nTo: direct@split.example\r\n\
                    Message-ID: <q1@c>\r\n\r\nWo?\r\n";
    world.receive(&["direct@split.example"], question).await;
    let from = "direct@split.example";
    let mut envelope = world.envelope(from, &[from], Origin::Submission);
    envelope.upstream = vec![Address::new("direct", "split.example")];
    world.submit_by("ben", envelope, &written(from, "n1@o", &["q1@c"])).await.expect("accepted");
    assert!(world.queue().is_empty());
    let mut envelope = world.envelope(from, &[from], Origin::Submission);
    envelope.upstream = vec![Address::new("direct", "split.example")];
    let stranger = written("ben@example.org", "m1@o", &[]);
    world.submit_by("ben", envelope, &stranger).await.expect("accepted");
    assert_eq!(world.queue().len(), 1, "what is no note goes there too");
}
