//! The socket as the command line uses it.

use std::os::unix::fs::MetadataExt;

use super::*;
use crate::server::queue::fake::{World, deferred};
use words::Done;

struct Folder(PathBuf);

impl Folder {
    fn new(name: &str) -> Folder {
        let path = std::env::temp_dir().join(format!("postfach-{name}-{}", std::process::id()));
        std::fs::create_dir_all(&path).expect("made");
        Folder(path)
    }
}

impl Drop for Folder {
    fn drop(&mut self) {
        let _ = std::fs::remove_dir_all(&self.0);
    }
}

async fn ask(folder: &Folder, request: &[u8]) -> Vec<Line> {
    let mut stream = UnixStream::connect(folder.0.join(FILE)).await.expect("it listens");
    stream.write_all(request).await.expect("taken");
    let mut text = String::new();
    // A request that is cut off may be answered by a reset.
    let _ = stream.read_to_string(&mut text).await;
    text.lines().map(|line| serde_json::from_str(line).expect("JSON")).collect()
}

/// The world's desk answers in this folder; the sender ends it.
fn open(folder: &Folder, world: &World) -> watch::Sender<bool> {
    let (stop, shutdown) = watch::channel(false);
    let desk = Desk {
        store: world.store.clone(),
        queue: world.handle.clone(),
        subjects: Subjects::Shown,
        directory: watch::channel(Arc::default()).1,
        hostname: "mail.example.org".into(),
    };
    let socket = Socket::open(&folder.0).expect("opened");
    tokio::spawn(socket.serve(desk, shutdown));
    stop
}

#[tokio::test(start_paused = true)]
async fn the_queue_is_listed_shown_and_changed() {
    let (folder, world) = (Folder::new("control"), World::new(deferred()).await);
    let _stop = open(&folder, &world);
    let id = world.queue(&["bob@example.net"]).await.0;
    world.queue(&["carol@example.net"]).await;
    world.pass(1).await;
    let listed = ask(&folder, b"list\n").await;
    let [Line::Message(first), Line::Message(_), Line::Done(Done { messages: 2, .. })] =
        &listed[..]
    else {
        panic!("{listed:?}")
    };
    assert_eq!((first.id, first.sender.as_str()), (id, "anna@example.org"));
    assert_eq!(first.account.as_deref(), Some("mailbox anna"));
    let bob = &first.recipients[0];
    assert_eq!((bob.address.as_str(), bob.attempts), ("bob@example.net", 1));
    assert_eq!(bob.last_reply.as_deref(), Some("mx.example.net: 450 4.2.0 later"));
    assert_eq!(ask(&folder, format!("show {id}\n").as_bytes()).await[0], listed[0]);
    assert_eq!(ask(&folder, b"show x1\n").await[0], listed[0], "by its name, too");
    let dropped = ask(&folder, format!("drop {id}\n").as_bytes()).await;
    assert!(matches!(dropped[..], [Line::Done(Done { messages: 1, recipients: 1, .. })]));
    let again = ask(&folder, format!("drop {id}\n").as_bytes()).await;
    assert!(matches!(&again[..], [Line::Error(why)] if why.contains("no message")), "{again:?}");
}

#[tokio::test(start_paused = true)]
async fn a_long_queue_is_listed_whole() {
    let (folder, world) = (Folder::new("control-long"), World::new(deferred()).await);
    let _stop = open(&folder, &world);
    for _ in 0..250 {
        world.queue(&["bob@example.net"]).await;
    }
    let listed = ask(&folder, b"list\n").await;
    assert_eq!(listed.len(), 251);
    assert!(matches!(listed.last(), Some(Line::Done(Done { messages: 250, .. }))));
}

#[tokio::test(start_paused = true)]
async fn odd_requests_end_without_harm() {
    let (folder, world) = (Folder::new("control-odd"), World::new(deferred()).await);
    let _stop = open(&folder, &world);
    let refused = ask(&folder, b"burn 1\n").await;
    assert!(matches!(&refused[..], [Line::Error(_)]), "{refused:?}");
    assert!(ask(&folder, b"\xff\n").await.is_empty());
    let longest = [b"show ", &[b'x'; REQUEST_BYTES_MAX - 5][..], b"\n"].concat();
    assert!(matches!(&ask(&folder, &longest).await[..], [Line::Error(_)]));
    let longer = [b"show ", &[b'x'; REQUEST_BYTES_MAX - 4][..], b"\n"].concat();
    assert!(ask(&folder, &longer).await.is_empty());
    assert!(ask(&folder, &[b'x'; REQUEST_BYTES_MAX + 1]).await.is_empty());
    for _ in 0..2 * REQUESTS_MAX {
        drop(UnixStream::connect(folder.0.join(FILE)).await.expect("it listens"));
    }
    assert_eq!(ask(&folder, b"list\n").await.len(), 1);
}

#[tokio::test(start_paused = true)]
async fn the_socket_is_its_users_alone_and_goes_with_the_daemon() {
    let (folder, world) = (Folder::new("control-mode"), World::new(deferred()).await);
    let stop = open(&folder, &world);
    let path = folder.0.join(FILE);
    let mode = std::fs::metadata(&path).expect("there").mode();
    assert_eq!(mode & 0o777, 0o600);
    drop(Socket::open(&folder.0).expect("a stale one is replaced"));
    stop.send_replace(true);
    world.pass(1).await;
    assert!(!path.exists());
}
