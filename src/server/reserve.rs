//! Room on the disk that is kept for the next start. The database needs some before anything can be
//! read; on a full disk the daemon would stay down, and nobody could delete what fills it. Knows no
//! database.

use std::fs;
use std::io;
use std::path::Path;

use crate::store::StoreError;

/// The file, below `data_dir`.
const FILE: &str = "reserve";
/// More than the database's log and index take at first.
const BYTES: usize = 1 << 20;

/// Opens the store; where that fails and the reserve is there, once more without it.
pub(super) fn opening<T>(
    data_dir: &Path,
    open: impl Fn() -> Result<T, StoreError>,
) -> Result<T, StoreError> {
    let path = data_dir.join(FILE);
    let opened = match open() {
        Err(StoreError::NoSpace(why) | StoreError::Unavailable(why))
            if fs::remove_file(&path).is_ok() =>
        {
            tracing::warn!(%why, "the store did not open, once more with the reserve given up");
            open()
        }
        first => first,
    };
    if opened.is_ok()
        && let Err(error) = keep(&path)
    {
        tracing::warn!(%error, "no room for a reserve: free some before the next start");
    }
    opened
}

fn keep(path: &Path) -> io::Result<()> {
    if fs::metadata(path).is_ok_and(|found| found.len() == BYTES as u64) {
        return Ok(());
    }
    fs::write(path, vec![0xff; BYTES]).inspect_err(|_| {
        // a part of it is of no use, and something else may need the room
        let _ = fs::remove_file(path);
    })
}

#[cfg(test)]
mod tests {
    use std::cell::Cell;
    use std::path::PathBuf;

    use super::*;

    fn folder(name: &str) -> io::Result<PathBuf> {
        let folder = std::env::temp_dir().join(format!("postfach-{}-{name}", std::process::id()));
        fs::create_dir_all(&folder)?;
        Ok(folder)
    }

    #[test]
    fn a_store_without_room_opens_in_that_of_the_reserve() -> io::Result<()> {
        let folder = folder("reserve")?;
        let reserve = folder.join(FILE);
        assert_eq!(opening(&folder, || Ok(1)), Ok(1));
        assert_eq!(fs::metadata(&reserve)?.len(), BYTES as u64);
        let open = || match reserve.exists() {
            true => Err(StoreError::Unavailable("disk I/O error".into())),
            false => Ok(2),
        };
        assert_eq!(opening(&folder, open), Ok(2));
        assert_eq!(fs::metadata(&reserve)?.len(), BYTES as u64, "kept for the next time");
        fs::remove_dir_all(folder)
    }

    #[test]
    fn what_is_no_matter_of_room_is_tried_once() -> io::Result<()> {
        let folder = folder("no-reserve")?;
        let tries = Cell::new(0);
        let fails = |error: StoreError| {
            opening::<()>(&folder, || {
                tries.set(tries.get() + 1);
                Err(error.clone())
            })
        };
        let without_reserve = StoreError::Unavailable("x".into());
        assert_eq!(fails(without_reserve.clone()), Err(without_reserve));
        keep(&folder.join(FILE))?;
        assert_eq!(fails(StoreError::Corrupt("x".into())), Err(StoreError::Corrupt("x".into())));
        assert_eq!(tries.get(), 2);
        fs::remove_dir_all(folder)
    }
}
