//! A client in Rust that other people wrote: async-imap, with which Delta Chat reads mail.

use std::sync::Arc;

use async_imap::extensions::idle::IdleResponse;
use async_imap::imap_proto::{MailboxDatum, Response};
use async_imap::types::{Fetch, Flag};
use async_imap::{Client, Session};
use futures_util::TryStreamExt;
use rustls_pki_types::pem::PemObject;
use rustls_pki_types::{CertificateDer, ServerName};
use tokio::net::TcpStream;
use tokio_rustls::TlsConnector;
use tokio_rustls::client::TlsStream;
use tokio_rustls::rustls::crypto::aws_lc_rs;
use tokio_rustls::rustls::{ClientConfig, RootCertStore};

use crate::rig::{Daemon, Directory, Outcome, PASSWORD, PATIENCE, Smtp};

type Connected = Session<TlsStream<TcpStream>>;

/// Logged in, over TLS from the first byte on.
async fn login(daemon: &Daemon) -> Result<Connected, Box<dyn std::error::Error>> {
    let mut authorities = RootCertStore::empty();
    for certificate in CertificateDer::pem_file_iter(daemon.authority())? {
        authorities.add(certificate?)?;
    }
    let config = ClientConfig::builder_with_provider(Arc::new(aws_lc_rs::default_provider()));
    let config = config.with_safe_default_protocol_versions()?;
    let config = config.with_root_certificates(authorities).with_no_client_auth();
    let stream = TcpStream::connect(daemon.address("imaps")?).await?;
    let name = ServerName::try_from("mail.example.org")?;
    let stream = TlsConnector::from(Arc::new(config)).connect(name, stream).await?;
    let mut client = Client::new(stream);
    client.read_response().await?.ok_or("no greeting")?;
    Ok(client.login("anna", PASSWORD).await.map_err(|(error, _)| error)?)
}

async fn fetch(session: &mut Connected, uids: &str, items: &str) -> Vec<Fetch> {
    let fetched = session.uid_fetch(uids, items).await.expect("is answered");
    fetched.try_collect().await.expect("is understood")
}

#[tokio::test]
async fn async_imap_lists_selects_and_fetches() -> Outcome {
    let daemon = Daemon::start("async-imap-reads", &Directory::default())?;
    Smtp::connect(&daemon)?.deliver("support@example.org", "Gr\u{fc}\u{df}e from a test")?;
    let mut session = login(&daemon).await?;
    let capabilities = session.capabilities().await?;
    for capability in ["IDLE", "MOVE", "SEARCH=FUZZY", "QUOTA", "IMAP4rev1"] {
        assert!(capabilities.has_str(capability), "{capability}");
    }
    let server = session.id([("name", Some("a test"))]).await?.ok_or("nobody")?;
    assert_eq!(server.get("name").map(String::as_str), Some("Postfach"));
    let names = session.list(None, Some("*")).await?;
    let names: Vec<_> = names.map_ok(|name| name.name().to_owned()).try_collect().await?;
    for name in ["INBOX", "Drafts", "Shared/Support", "Shared/Support/Done"] {
        assert!(names.iter().any(|known| known == name), "{name} in {names:?}");
    }
    let mailbox = session.select("Shared/Support").await?;
    assert_eq!((mailbox.exists, mailbox.uid_next), (1, Some(2)));
    let items = "(UID FLAGS INTERNALDATE RFC822.SIZE ENVELOPE BODYSTRUCTURE BODY.PEEK[])";
    let fetched = fetch(&mut session, "1:*", items).await;
    let [one] = fetched.as_slice() else { panic!("{fetched:?}") };
    let body = one.body().ok_or("no body")?;
    assert_eq!((one.uid, one.size), (Some(1), Some(u32::try_from(body.len())?)));
    assert!(body.ends_with(b"\r\n\r\nHi\r\n"));
    assert!(one.envelope().is_some() && one.bodystructure().is_some());
    assert!(one.internal_date().is_some() && !one.flags().any(|flag| flag == Flag::Seen));
    let found = session.uid_search("FUZZY SUBJECT \"grusse test\"").await?;
    assert_eq!(found.into_iter().collect::<Vec<_>>(), [1]);
    Ok(session.logout().await?)
}

#[tokio::test]
async fn async_imap_waits_flags_appends_and_moves() -> Outcome {
    let daemon = Daemon::start("async-imap-writes", &Directory::default())?;
    let mut session = login(&daemon).await?;
    session.select("Shared/Support").await?;
    let mut idle = session.idle();
    idle.init().await?;
    let (told, _interrupt) = idle.wait_with_timeout(PATIENCE);
    Smtp::connect(&daemon)?.deliver("support@example.org", "new")?;
    match told.await? {
        IdleResponse::NewData(data) => {
            let is_new = Response::MailboxData(MailboxDatum::Exists(1));
            assert_eq!(data.parsed(), &is_new);
        }
        other => panic!("{other:?}"),
    }
    let mut session = idle.done().await?;
    let stored = session.uid_store("1", "+FLAGS (\\Flagged \\Seen)").await?;
    let stored: Vec<Fetch> = stored.try_collect().await?;
    assert!(stored[0].flags().any(|flag| flag == Flag::Flagged), "{stored:?}");

    let draft = b"Subject: a draft\r\n\r\nsome lines\r\n";
    let date = Some("\"26-Nov-2026 20:00:00 +0000\"");
    session.append("Drafts", Some("(\\Draft \\Seen)"), date, draft).await?;
    let drafts = session.select("Drafts").await?;
    assert_eq!(drafts.exists, 1);
    let kept = fetch(&mut session, "1", "(FLAGS BODY.PEEK[])").await;
    assert_eq!(kept[0].body(), Some(&draft[..]));
    assert!(kept[0].flags().any(|flag| flag == Flag::Draft));

    session.select("Shared/Support").await?;
    session.uid_mv("1", "Shared/Support/Done").await?;
    assert_eq!(session.status("Shared/Support", "(MESSAGES)").await?.exists, 0);
    let done = session.select("Shared/Support/Done").await?;
    assert_eq!(done.exists, 1);
    let moved = fetch(&mut session, "1:*", "(FLAGS)").await;
    assert!(moved[0].flags().any(|flag| flag == Flag::Flagged), "flags go along: {moved:?}");
    session.uid_store("1:*", "+FLAGS (\\Deleted)").await?.try_collect::<Vec<_>>().await?;
    let expunged: Vec<u32> = session.expunge().await?.try_collect().await?;
    assert_eq!(expunged, [1]);
    Ok(session.logout().await?)
}
