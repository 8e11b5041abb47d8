//! Runs `tests/transcripts/smtp_client/**.txt` against the pure client session. `UPDATE=1` rewrites
//! what the session does.
//!
//! | line | meaning |
//! |---|---|
//! | `T: tls=required login=anna:secret local pipelining=never whole` | settings, at the top |
//! | `S: text`, `S> text` | a line of the server, CRLF added; bytes with `\r \n \0 \\` escapes |
//! | `M: <a@b> -> <x@y> <z@w> size=5 8bit utf8 ret=hdrs envid=e notify=never orcpt=…` | send |
//! | `V: <a@b> -> <x@y>` | verify |
//! | `B: text`, `B+ text` | the content with its end; a piece of it |
//! | `X: tls`, `lost`, `expire`, `abandon`, `quit` | what the driver reports |
//! | `C: text` | what the session writes |
//! | `D: text` | a step |
//! | `F: <x@y> deferred 4.4.2 "text" (ours, dsn)` | a fate |
//!
//! Each is played again with the server's bytes one at a time, and must go the same way (`whole`:
//! it is about what comes in one piece).

mod smtp_client_support;

use std::fs;
use std::path::{Path, PathBuf};

use smtp_client_support::play;

#[test]
fn transcripts_hold() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/transcripts/smtp_client");
    let mut files = Vec::new();
    collect(&root, &mut files);
    assert!(files.len() >= 30, "transcripts are missing: {files:?}");
    let mut wrong = Vec::new();
    for file in files {
        let text = fs::read_to_string(&file).expect("a transcript is UTF-8");
        let played = play(&text, usize::MAX);
        if !text.lines().any(|line| line.starts_with("T:") && line.contains("whole")) {
            for size in [1, 2, 7] {
                assert_eq!(play(&text, size), played, "{} by {size}", file.display());
            }
        }
        if played == text {
            continue;
        }
        if std::env::var_os("UPDATE").is_some() {
            fs::write(&file, played).expect("writable");
        } else {
            wrong.push(format!("{}:\n{played}", file.display()));
        }
    }
    assert!(wrong.is_empty(), "these went otherwise:\n{}", wrong.join("\n"));
}

fn collect(folder: &Path, files: &mut Vec<PathBuf>) {
    for entry in fs::read_dir(folder).expect("the transcripts' folder") {
        let path = entry.expect("an entry").path();
        if path.is_dir() {
            collect(&path, files);
        } else {
            files.push(path);
        }
    }
    files.sort();
}
