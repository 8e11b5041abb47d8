//! Mail from users over a socket: the driver's part of a login, and who may send.

use postfach::mail::id::Login;
use tokio::io::{AsyncRead, AsyncWrite};

use crate::inbox;
use crate::world::{Client, HELLO, PASSWORD, World, instance};

const MAIL: &str = "MAIL FROM:<anna@example.org>\n";
const RCPT: &str = "RCPT TO:<kunde@elsewhere.example>\n";

/// The last line that is answered.
async fn last<S>(client: &mut Client<S>, text: &str) -> String
where
    S: AsyncRead + AsyncWrite + Unpin,
{
    client.tell(text).await.pop().unwrap_or_default()
}

/// By LOGIN, which shows the base64 of each part on its own.
fn login(name: &str, password: &str) -> String {
    format!("AUTH LOGIN\n{}\n{}\n", base64(name), base64(password))
}

fn base64(text: &str) -> &'static str {
    match text {
        "anna" => "YW5uYQ==",
        "bert" => "YmVydA==",
        "wrong" => "d3Jvbmc=",
        PASSWORD => "R3LDtsOfZSAxNw==",
        other => panic!("not at hand: {other}"),
    }
}

#[tokio::test]
async fn a_login_is_verified_and_wrong_ones_are_not_told_apart() {
    let world = World::new();
    let mut client = world.connect_to_submit().await;
    let offered = client.tell(HELLO).await;
    assert!(offered.contains(&"250-AUTH PLAIN LOGIN".to_owned()), "{offered:?}");
    assert_eq!(last(&mut client, MAIL).await, "530 5.7.0 Authentication required");
    let wrong = last(&mut client, &login("anna", "wrong")).await;
    assert_eq!(wrong, "535 5.7.8 Wrong user name or password");
    assert_eq!(last(&mut client, &login("bert", PASSWORD)).await, wrong);
    assert_eq!(last(&mut client, &login("anna", PASSWORD)).await, "235 2.7.0 Welcome");
    assert_eq!(last(&mut client, MAIL).await, "250 2.1.0 OK");
    assert_eq!(last(&mut client, RCPT).await, "250 2.1.5 OK", "users may write to anybody");
    let unknown = last(&mut client, "RCPT TO:<nobody@example.org>\n").await;
    assert_eq!(unknown, "550 5.1.1 No such mailbox");
}

#[tokio::test]
async fn starttls_forgets_a_login() {
    let world = World::with_tls();
    let mut client = world.connect_to_submit().await;
    client.tell(HELLO).await;
    assert_eq!(last(&mut client, &login("anna", PASSWORD)).await, "235 2.7.0 Welcome");
    client.tell("STARTTLS\n").await;
    let mut client = client.start_tls(&world).await;
    client.tell(HELLO).await;
    assert_eq!(last(&mut client, MAIL).await, "530 5.7.0 Authentication required");
    assert_eq!(last(&mut client, &login("anna", PASSWORD)).await, "235 2.7.0 Welcome");
    assert_eq!(last(&mut client, MAIL).await, "250 2.1.0 OK");
}

#[tokio::test]
async fn a_user_who_is_gone_begins_no_message() {
    let world = World::new();
    let mut client = world.connect_to_submit().await;
    client.tell(HELLO).await;
    client.tell(&login("anna", PASSWORD)).await;
    world.declare(|directory| drop(directory.users.remove(&Login::new("anna"))));
    assert_eq!(last(&mut client, MAIL).await, "530 5.7.0 Authentication required");
    let again = last(&mut client, &login("anna", PASSWORD)).await;
    assert_eq!(again, "535 5.7.8 Wrong user name or password");
}

#[tokio::test]
async fn a_user_who_is_gone_ends_no_message() {
    let world = World::new();
    let mut client = world.connect_to_submit().await;
    client.tell(HELLO).await;
    client.tell(&login("anna", PASSWORD)).await;
    client.tell(&format!("{MAIL}{RCPT}DATA\nSubject: x\n\n")).await;
    world.declare(|directory| drop(directory.users.remove(&Login::new("anna"))));
    assert_eq!(last(&mut client, ".\n").await, "530 5.7.0 Authentication required");
    assert_eq!(last(&mut client, MAIL).await, "530 5.7.0 Authentication required");
}

#[tokio::test]
async fn the_end_of_the_daemon_is_told_in_the_middle_of_a_login() {
    let world = World::new();
    let mut client = world.connect_to_submit().await;
    client.tell(HELLO).await;
    assert_eq!(last(&mut client, "AUTH PLAIN\n").await, "334");
    world.shutdown.send_replace(true);
    assert_eq!(client.rest().await, "421 4.3.2 Shutting down, try again later\r\n");
}

/// The answer to a message in BINARYMIME from anna to support@, by BDAT in two chunks.
async fn binary(world: &World, message: &str) -> String {
    let mut client = world.connect_to_submit().await;
    client.tell(HELLO).await;
    client.tell(&login("anna", PASSWORD)).await;
    let mail = "MAIL FROM:<anna@example.org> BODY=BINARYMIME\nRCPT TO:<support@example.org>\n";
    client.tell(mail).await;
    let octets = |lines: &str| lines.replace('\n', "\r\n").len();
    let (one, two) = message.split_at(message.len() / 2);
    client.tell(&format!("BDAT {}\n{one}", octets(one))).await;
    last(&mut client, &format!("BDAT {} LAST\n{two}", octets(two))).await
}

#[tokio::test]
async fn octets_of_a_binary_part_are_kept_and_a_nul_that_cannot_be_is_refused() {
    let world = World::new();
    let head = "From: anna@example.org\nTo: support@example.org\nMIME-Version: 1.0\n";
    let part = "Content-Type: image/png\nContent-Transfer-Encoding: binary\n\na\0\0b";
    let answer = binary(&world, &format!("{head}{part}")).await;
    assert!(answer.starts_with("250 2.0.0 OK"), "{answer}");
    let instances = world.instances(&inbox("Support")).await;
    let content = &instance(&instances).1;
    assert!(content.contains("Content-Transfer-Encoding: base64\r\n\r\nYQAAYg==\r\n"), "{content}");
    for lost in [
        format!("{head}Subject: a\0b\n\ntext\n"),
        format!("{head}Content-Transfer-Encoding: quoted-printable\n\na\0b\n"),
    ] {
        assert_eq!(binary(&world, &lost).await, "550 5.6.11 NUL in the message");
    }
    assert_eq!(world.instances(&inbox("Support")).await.len(), 1);
}
