//! Reads a file that somebody may be writing at this moment. A text that was cut off can be valid
//! TOML, so a reload asks not only whether the file is right but whether it stands still. Knows no
//! key of any file.

use std::fs::Metadata;
use std::path::Path;
use std::time::{Duration, SystemTime};

use crate::directory::source::Fault;

/// For how long a file must not have changed before it is taken for finished.
const SETTLED_AFTER: Duration = Duration::from_millis(200);
/// How often a file is looked at again while it changes, before it is refused.
const LOOKS_MAX: usize = 25;

/// What `load` makes of a file that stands still: not changed for a moment before it was read, nor
/// while.
pub(super) async fn load<T>(
    path: &Path,
    load: impl Fn(&Path) -> Result<T, Vec<Fault>>,
) -> Result<T, Vec<Fault>> {
    for _ in 0..LOOKS_MAX {
        let before = Stamp::of(path);
        let pause = before.as_ref().map_or(Duration::ZERO, Stamp::unsettled_for);
        if pause.is_zero() {
            let loaded = load(path);
            if Stamp::of(path) == before {
                return loaded;
            }
        }
        tokio::time::sleep(pause.max(SETTLED_AFTER / 4)).await;
    }
    Err(vec![Fault {
        file: path.to_owned(),
        line: 0,
        column: 0,
        message: "the file keeps changing while it is read".into(),
        remedy: "write it under another name, rename it, and reload again".into(),
    }])
}

/// By what two states of a file differ.
#[derive(PartialEq, Eq)]
struct Stamp {
    modified: Option<SystemTime>,
    bytes: u64,
    inode: u64,
}

impl Stamp {
    /// `None`: the file cannot be looked at; reading it will say why.
    fn of(path: &Path) -> Option<Stamp> {
        use std::os::unix::fs::MetadataExt;
        let of = |found: Metadata| Stamp {
            modified: found.modified().ok(),
            bytes: found.len(),
            inode: found.ino(),
        };
        std::fs::metadata(path).map(of).ok()
    }

    /// How long it has to be left alone. A time in the future says nothing.
    fn unsettled_for(&self) -> Duration {
        let age = self.modified.and_then(|modified| modified.elapsed().ok());
        age.map_or(Duration::ZERO, |age| SETTLED_AFTER.saturating_sub(age))
    }
}

#[cfg(test)]
mod tests {
    use std::cell::Cell;
    use std::path::PathBuf;

    use super::*;

    fn file(name: &str) -> std::io::Result<PathBuf> {
        let path = std::env::temp_dir().join(format!("postfach-{}-{name}", std::process::id()));
        std::fs::write(&path, "first")?;
        Ok(path)
    }

    fn text(path: &Path) -> Result<String, Vec<Fault>> {
        Ok(std::fs::read_to_string(path).unwrap_or_default())
    }

    #[tokio::test]
    async fn what_changes_while_it_is_read_is_read_again() -> std::io::Result<()> {
        let path = file("again")?;
        let reads = Cell::new(0);
        let loaded = load(&path, |path| {
            let read = text(path);
            reads.set(reads.get() + 1);
            if reads.get() == 1 {
                let _ = std::fs::write(path, "second");
            }
            read
        });
        assert_eq!(loaded.await.as_deref(), Ok("second"));
        assert_eq!(reads.get(), 2);
        std::fs::remove_file(path)
    }

    #[tokio::test]
    async fn what_never_stands_still_is_refused() -> std::io::Result<()> {
        let path = file("never")?;
        let reads = Cell::new(0);
        let old = SystemTime::now() - Duration::from_secs(60);
        std::fs::File::options().write(true).open(&path)?.set_modified(old)?;
        let loaded = load(&path, |path| {
            reads.set(reads.get() + 1);
            // as old as before, so that only the length tells
            let _ = std::fs::write(path, "x".repeat(reads.get()));
            let written = std::fs::File::options().write(true).open(path);
            let _ = written.and_then(|file| file.set_modified(old));
            text(path)
        });
        let faults = loaded.await.expect_err("it never stands still");
        assert!(faults[0].to_string().contains("keeps changing"), "{}", faults[0]);
        assert_eq!(reads.get(), LOOKS_MAX);
        std::fs::remove_file(path)
    }

    #[tokio::test]
    async fn a_file_of_just_now_is_left_to_settle() -> std::io::Result<()> {
        let path = file("settles")?;
        let writer = async {
            tokio::time::sleep(SETTLED_AFTER / 2).await;
            std::fs::write(&path, "second")
        };
        let (loaded, written) = tokio::join!(load(&path, text), writer);
        written?;
        assert_eq!(loaded.as_deref(), Ok("second"));
        std::fs::remove_file(path)
    }

    #[tokio::test]
    async fn a_file_that_is_not_there_is_not_waited_for() {
        let path = Path::new("/nowhere/at/all");
        let loaded = load(path, |_| Err::<(), _>(Vec::new())).await;
        assert!(loaded.is_err_and(|faults| faults.is_empty()));
    }
}
