//! What a check of a file has found so far: faults, which must be mended, and warnings. Knows no
//! key.

use std::ops::Range;
use std::path::{Path, PathBuf};

use super::source::{Fault, Place, Source};

/// Faults and warnings of one file.
pub struct Findings<'a> {
    source: &'a Source,
    damaged: Vec<Range<usize>>,
    faults: Vec<Fault>,
    warnings: Vec<Fault>,
}

impl<'a> Findings<'a> {
    /// Goes on from what the reader found: its faults, and the tables that lost a key by them.
    pub fn new(source: &'a Source, faults: Vec<Fault>, damaged: Vec<Range<usize>>) -> Findings<'a> {
        Findings { source, damaged, faults, warnings: Vec::new() }
    }

    /// Something that must be mended.
    pub fn fault(&mut self, at: Range<usize>, message: impl Into<String>, remedy: &str) {
        self.faults.push(self.source.fault(at, message, remedy));
    }

    /// Something that the operator should know.
    pub fn warn(&mut self, at: Range<usize>, message: impl Into<String>, remedy: &str) {
        self.warnings.push(self.source.fault(at, message, remedy));
    }

    /// A key that is needed in the table at `table`.
    pub fn missing(&mut self, table: Range<usize>, key: &str, remedy: &str) {
        self.lacking(table, format!("`{key}` is missing"), remedy);
    }

    /// The table at `table` lacks something; silent when a faulty key was taken out there.
    pub fn lacking(&mut self, table: Range<usize>, message: impl Into<String>, remedy: &str) {
        if !self.damaged.contains(&table) {
            self.fault(table, message, remedy);
        }
    }

    /// Where `at` stands, for a fault that can only be found later.
    pub fn place(&self, at: Range<usize>) -> Place {
        self.source.place(at)
    }

    /// A path, relative to the folder of the file.
    pub fn path(&self, path: &str) -> PathBuf {
        self.source.file().parent().unwrap_or(Path::new("")).join(path)
    }

    /// The warnings if there is no fault, otherwise the faults; each in the order of the file.
    pub fn finish(mut self) -> Result<Vec<Fault>, Vec<Fault>> {
        let place = |fault: &Fault| (fault.line, fault.column);
        self.faults.sort_by_key(place);
        self.warnings.sort_by_key(place);
        if self.faults.is_empty() { Ok(self.warnings) } else { Err(self.faults) }
    }
}
