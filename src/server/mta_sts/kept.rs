//! The file in which policies survive a restart: a line for each, written anew as a whole.

use std::collections::BTreeMap;
use std::fs::{self, File, OpenOptions};
use std::io::{self, Read, Write};
use std::os::unix::fs::OpenOptionsExt;
use std::path::Path;

use crate::outbound::mta_sts::Kept;

/// Longest file that is read: `DOMAINS_MAX` policies with all the patterns that one may have.
const FILE_BYTES_MAX: u64 = 64 * 1024 * 1024;

/// All policies; none when there is no file. A line that is damaged is passed over.
pub(super) fn read(path: &Path) -> io::Result<BTreeMap<String, Kept>> {
    let file = match File::open(path) {
        Ok(file) => file,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(BTreeMap::new()),
        Err(error) => return Err(error),
    };
    let mut text = String::new();
    file.take(FILE_BYTES_MAX).read_to_string(&mut text)?;
    Ok(text.lines().filter_map(Kept::read).collect())
}

/// The file's text.
pub(super) fn lines(kept: &BTreeMap<String, Kept>) -> String {
    kept.iter().map(|(domain, kept)| kept.line(domain)).collect()
}

/// Writes beside and renames, so that a crash leaves the old file or the new one.
pub(super) fn write(path: &Path, text: &str) -> io::Result<()> {
    let beside = path.with_extension("new");
    let mut options = OpenOptions::new();
    let mut file = options.write(true).create(true).truncate(true).mode(0o600).open(&beside)?;
    file.write_all(text.as_bytes())?;
    file.sync_all()?;
    fs::rename(&beside, path)?;
    File::open(path.parent().unwrap_or(path))?.sync_all()
}
