//! The key of the salts that unknown users are said to have: `data_dir/salts.key`. It outlives the
//! process, for a salt that changed with each start would be that of nobody.

use std::fs::{self, File, OpenOptions};
use std::io::{self, Read, Write};
use std::os::unix::fs::OpenOptionsExt;
use std::path::Path;

use super::cache::Key;
use crate::server::tls;

/// The file, below `data_dir`.
pub const FILE: &str = "salts.key";
/// Nobody else's business.
const MODE: u32 = 0o600;

/// Reads the key, or makes one; a file that is cut short is made anew.
pub fn open(data_dir: &Path) -> io::Result<Key> {
    let path = data_dir.join(FILE);
    match read(&path) {
        Err(e) if matches!(e.kind(), io::ErrorKind::NotFound | io::ErrorKind::UnexpectedEof) => {
            make(&path)
        }
        key => key,
    }
}

fn read(path: &Path) -> io::Result<Key> {
    let mut key = [0; 32];
    File::open(path)?.read_exact(&mut key)?;
    Ok(Key(key))
}

fn make(path: &Path) -> io::Result<Key> {
    let mut key = [0; 32];
    let random = tls::provider().secure_random;
    random.fill(&mut key).map_err(|_| io::Error::other("the system gives no random numbers"))?;
    let beside = path.with_extension("new");
    let mut options = OpenOptions::new();
    let mut file = options.write(true).create(true).truncate(true).mode(MODE).open(&beside)?;
    file.write_all(&key)?;
    file.sync_all()?;
    fs::rename(&beside, path)?;
    Ok(Key(key))
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::PermissionsExt;

    use super::*;

    #[test]
    fn the_key_is_made_once_and_a_damaged_one_anew() -> io::Result<()> {
        let folder = std::env::temp_dir().join(format!("postfach-salts-{}", std::process::id()));
        fs::create_dir_all(&folder)?;
        let (one, two) = (open(&folder)?, open(&folder)?);
        assert!(one.0 == two.0 && one.0 != [0; 32]);
        assert_eq!(fs::metadata(folder.join(FILE))?.permissions().mode() & 0o777, MODE);
        fs::write(folder.join(FILE), "short")?;
        let three = open(&folder)?;
        assert!(three.0 != one.0 && three.0 == open(&folder)?.0);
        fs::remove_dir_all(&folder)
    }
}
