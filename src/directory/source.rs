//! A TOML file on its way in: reads it into the structs of how it is written, and turns whatever is
//! wrong into faults with line, column and what to do. Knows no key of any file.

use std::fmt;
use std::io::{self, Read};
use std::ops::Range;
use std::path::{Path, PathBuf};

use serde::de::DeserializeOwned;
use serde::de::IntoDeserializer;
use toml::Spanned;
use toml::de::{DeArray, DeTable, DeValue};

/// Largest file that is read.
pub const FILE_BYTES_MAX: u64 = 16 * 1024 * 1024;
/// Most faults that are reported of one file; who has made more, mends these first.
pub const FAULTS_MAX: usize = 100;

/// Something wrong or odd in a file that the operator wrote.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Fault {
    /// In which file.
    pub file: PathBuf,
    /// Line, from 1; 0 when it is about the file as a whole.
    pub line: usize,
    /// Column in characters, from 1.
    pub column: usize,
    /// What is wrong.
    pub message: String,
    /// What to do.
    pub remedy: String,
}

/// Where something stands in a file, for what turns out later to be wrong with it.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Place {
    file: PathBuf,
    line: usize,
    column: usize,
}

impl Place {
    /// A fault there.
    pub fn fault(&self, message: impl Into<String>, remedy: impl Into<String>) -> Fault {
        let Place { file, line, column } = self.clone();
        Fault { file, line, column, message: message.into(), remedy: remedy.into() }
    }
}

/// `file:line`
impl fmt::Display for Place {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}:{}", self.file.display(), self.line)
    }
}

/// `file:line:column: what is wrong; what to do`
impl fmt::Display for Fault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let file = self.file.display();
        match self.line {
            0 => write!(f, "{file}: {}; {}", self.message, self.remedy),
            line => write!(f, "{file}:{line}:{}: {}; {}", self.column, self.message, self.remedy),
        }
    }
}

/// The text of a file and where it came from.
#[derive(Debug)]
pub struct Source {
    file: PathBuf,
    text: String,
}

/// A file as it is written, and what could not be read of it.
pub struct Reading<T> {
    /// What could be read; `None` when the text is not TOML.
    pub written: Option<T>,
    /// Faults of spelling and of type.
    pub faults: Vec<Fault>,
    /// The tables that lost a faulty key; what is missing there was perhaps that key.
    pub damaged: Vec<Range<usize>>,
}

impl Source {
    /// Reads a file.
    pub fn open(file: &Path) -> Result<Source, Fault> {
        let unreadable = |error: io::Error| Fault {
            file: file.to_owned(),
            line: 0,
            column: 0,
            message: format!("the file cannot be read: {error}"),
            remedy: "name a text file in UTF-8 that the daemon's user may read".into(),
        };
        let mut text = String::new();
        let opened = std::fs::File::open(file).map_err(unreadable)?;
        opened.take(FILE_BYTES_MAX + 1).read_to_string(&mut text).map_err(unreadable)?;
        if text.len() as u64 > FILE_BYTES_MAX {
            return Err(unreadable(io::Error::other("it is larger than 16 MiB")));
        }
        Ok(Source::new(file, text))
    }

    /// Text that is at hand already; `file` is named in faults.
    pub fn new(file: &Path, text: impl Into<String>) -> Source {
        Source { file: file.to_owned(), text: text.into() }
    }

    /// The text.
    pub fn into_text(self) -> String {
        self.text
    }

    /// The file.
    pub fn file(&self) -> &Path {
        &self.file
    }

    /// A fault at the start of `span` (in bytes).
    pub fn fault(
        &self,
        span: Range<usize>,
        message: impl Into<String>,
        remedy: impl Into<String>,
    ) -> Fault {
        self.place(span).fault(message, remedy)
    }

    /// The start of `span` (in bytes).
    pub fn place(&self, span: Range<usize>) -> Place {
        let start = self.text.floor_char_boundary(span.start);
        let before = &self.text[..start];
        let line_start = before.rfind('\n').map_or(0, |newline| newline + 1);
        Place {
            file: self.file.clone(),
            line: before.matches('\n').count() + 1,
            column: before[line_start..].chars().count() + 1,
        }
    }

    /// Reads the text as `T`. A key that is unknown or of the wrong type is reported and left out,
    /// and the rest read on, so that one run shows all of them.
    pub fn read<T: DeserializeOwned>(&self) -> Reading<T> {
        let (mut table, errors) = DeTable::parse_recoverable(&self.text);
        let mut faults: Vec<Fault> = errors.iter().take(FAULTS_MAX).map(|e| self.told(e)).collect();
        let mut damaged = Vec::new();
        if !faults.is_empty() {
            // what follows on the same line is mostly an echo of the first
            faults.sort_by_key(|fault| (fault.line, fault.column));
            faults.dedup_by_key(|fault| fault.line);
            return Reading { written: None, faults, damaged };
        }
        while faults.len() < FAULTS_MAX {
            let error = match T::deserialize(table.clone().into_deserializer()) {
                Ok(written) => return Reading { written: Some(written), faults, damaged },
                Err(error) => error,
            };
            faults.push(self.told(&error));
            let whole = table.span();
            let Some(span) = error.span() else { break };
            let Some(inside) = remove(table.get_mut(), &whole, &span) else { break };
            damaged.push(inside);
        }
        Reading { written: None, faults, damaged }
    }

    /// What the parser says, in the words of a fault.
    fn told(&self, error: &toml::de::Error) -> Fault {
        let message = error.message().replace("unknown field", "unknown key");
        let span = error.span().unwrap_or_default();
        match message.split_once(", expected ") {
            Some((what, expected)) => self.fault(span, what, format!("expected here: {expected}")),
            None => self.fault(span, message, "correct the TOML syntax here"),
        }
    }
}

/// Takes the key whose name or value is at `span` out of the table; answers with the span of the
/// table that it was in.
fn remove(
    table: &mut DeTable<'_>,
    whole: &Range<usize>,
    span: &Range<usize>,
) -> Option<Range<usize>> {
    let at = |key: &Range<usize>, value: &Range<usize>| key == span || value == span;
    let found = table.iter().find(|(k, v)| at(&k.span(), &v.span())).map(|(k, _)| k.clone());
    if let Some(key) = found {
        table.remove(&key);
        return Some(whole.clone());
    }
    table.iter_mut().find_map(|(_, value)| remove_below(value, whole, span))
}

fn remove_below(
    value: &mut Spanned<DeValue<'_>>,
    whole: &Range<usize>,
    span: &Range<usize>,
) -> Option<Range<usize>> {
    let own = value.span();
    match value.get_mut() {
        DeValue::Table(table) => remove(table, &own, span),
        DeValue::Array(array) if array.iter().any(|item| item.span() == *span) => {
            let items = std::mem::replace(array, DeArray::new());
            *array = items.into_iter().filter(|item| item.span() != *span).collect();
            Some(whole.clone())
        }
        DeValue::Array(array) => array.iter_mut().find_map(|item| remove_below(item, whole, span)),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use serde::Deserialize;

    use super::*;

    #[derive(Deserialize, Default, Debug)]
    #[serde(deny_unknown_fields, default)]
    struct Written {
        name: Option<Spanned<String>>,
        count: Option<u32>,
        list: Vec<String>,
        entry: Vec<Spanned<Entry>>,
    }

    #[derive(Deserialize, Default, Debug)]
    #[serde(deny_unknown_fields, default)]
    struct Entry {
        login: Option<String>,
    }

    fn read(text: &str) -> Reading<Written> {
        Source::new(Path::new("f.toml"), text).read()
    }

    #[test]
    fn all_misspelt_and_mistyped_keys_are_found_in_one_run() {
        let text =
            "nmae = 1\ncount = \"x\"\nlist = [\"a\", 2]\n[[entry]]\nlogin = \"a\"\nlgoin = 1\n";
        let reading = read(text);
        let at: Vec<_> = reading.faults.iter().map(|f| (f.line, f.column)).collect();
        let mut sorted = at.clone();
        sorted.sort_unstable();
        assert_eq!(sorted, [(1, 1), (2, 9), (3, 14), (6, 1)], "{:?}", reading.faults);
        let written = reading.written.expect("the rest is read");
        assert_eq!(written.list, ["a"]);
        assert_eq!(written.entry[0].get_ref().login.as_deref(), Some("a"));
        assert!(reading.damaged.contains(&written.entry[0].span()));
    }

    #[test]
    fn a_fault_says_where_what_and_what_to_do() {
        let reading = read("# größer\n\"ä\" = 1\n");
        let told = reading.faults[0].to_string();
        assert!(told.starts_with("f.toml:2:1: unknown key `ä`; expected here: "), "{told}");
        assert!(
            read("name = \"a\"\nname = \"b\"\n").faults[0].to_string().starts_with("f.toml:2:")
        );
    }

    #[test]
    fn columns_count_characters_not_bytes() {
        let source = Source::new(Path::new("f.toml"), "ääx");
        assert_eq!(source.fault(4..5, "m", "r").column, 3);
        assert_eq!(source.fault(3..5, "m", "r").column, 2, "inside a character: its start");
        assert_eq!(source.fault(99..100, "m", "r").column, 4, "past the end: the end");
    }

    #[test]
    fn faults_end_at_their_limit() {
        let text: String = (0..FAULTS_MAX + 5).map(|n| format!("k{n} = 1\n")).collect();
        let reading = read(&text);
        assert_eq!(reading.faults.len(), FAULTS_MAX);
        assert!(reading.written.is_none());
        let text: String = (0..FAULTS_MAX - 1).map(|n| format!("k{n} = 1\n")).collect();
        assert!(read(&text).written.is_some());
    }

    proptest! {
        #[test]
        fn no_text_makes_the_reader_panic(text in "\\PC{0,200}") {
            let _ = read(&text);
        }

        #[test]
        fn no_toml_like_text_makes_the_reader_panic(
            parts in proptest::collection::vec(
                prop_oneof![
                    Just("name"), Just("entry"), Just("list"), Just("login"), Just(" = "),
                    Just("[["), Just("]]"), Just("["), Just("]"), Just("\n"), Just("\""),
                    Just("'''"), Just("1"), Just("{"), Just("}"), Just(","), Just("."),
                    Just("ü"), Just("#"), Just("\r\n"), Just("\\u00"), Just("1979-05-27"),
                ],
                0..60,
            )
        ) {
            let text = parts.concat();
            let _ = read(&text);
        }
    }
}
