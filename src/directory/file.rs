//! Reads `directory.toml` into a `Directory`, or into all its faults with their places.

use std::path::Path;

use super::source::{Fault, Source};
use super::written::Written;
use super::{Directory, check};

/// Reads and checks a file.
pub fn load(path: &Path) -> Result<Directory, Vec<Fault>> {
    let source = Source::open(path).map_err(|fault| vec![fault])?;
    read(&source)
}

/// As `load`, with the text that was read.
pub fn load_with_text(path: &Path) -> Result<(Directory, String), Vec<Fault>> {
    let source = Source::open(path).map_err(|fault| vec![fault])?;
    read(&source).map(|directory| (directory, source.into_text()))
}

/// Reads and checks text that is at hand already; `path` is named in faults.
pub fn parse(text: &str, path: &Path) -> Result<Directory, Vec<Fault>> {
    read(&Source::new(path, text))
}

fn read(source: &Source) -> Result<Directory, Vec<Fault>> {
    let reading = source.read::<Written>();
    match reading.written {
        Some(written) => check::check(source, written, (reading.faults, reading.damaged)),
        None => Err(reading.faults),
    }
}

#[cfg(test)]
#[path = "file_tests.rs"]
mod tests;
