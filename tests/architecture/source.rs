//! Rust sources as text to be searched: comments, strings and test code told apart. Knows no rule.

use std::collections::HashSet;
use std::fs;
use std::path::{Path, PathBuf};

/// One source file.
pub(crate) struct Source {
    /// Relative to the repository, with `/`.
    pub(crate) path: String,
    /// As written.
    pub(crate) text: String,
    /// The same length, but comments, string and character literals are blank.
    pub(crate) code: String,
    /// The same length, but everything that is not in a comment is blank.
    pub(crate) comments: String,
    /// Byte ranges of code under `#[cfg(test)]`; the whole file where its module is.
    pub(crate) tests: Vec<(usize, usize)>,
}

impl Source {
    /// The line that a byte is in, from 1.
    pub(crate) fn line(&self, at: usize) -> usize {
        self.text.as_bytes()[..at].iter().filter(|&&byte| byte == b'\n').count() + 1
    }

    /// Whether a byte is in test code.
    pub(crate) fn is_test(&self, at: usize) -> bool {
        self.path.starts_with("tests/")
            || self.tests.iter().any(|&(from, to)| from <= at && at < to)
    }

    /// `path:line`, for messages.
    pub(crate) fn place(&self, at: usize) -> String {
        format!("{}:{}", self.path, self.line(at))
    }

    /// Where `word` stands in the code and is not part of a longer word.
    pub(crate) fn words<'a>(&'a self, word: &'a str) -> impl Iterator<Item = usize> + 'a {
        let inside =
            |byte: Option<&u8>| byte.is_some_and(|b| b.is_ascii_alphanumeric() || *b == b'_');
        self.code.match_indices(word).map(|(at, _)| at).filter(move |&at| {
            let bytes = self.code.as_bytes();
            let before = at.checked_sub(1).and_then(|at| bytes.get(at));
            let starts_word = word.as_bytes()[0].is_ascii_alphanumeric();
            let ends_word = word.as_bytes()[word.len() - 1].is_ascii_alphanumeric();
            (!starts_word || !inside(before)) && (!ends_word || !inside(bytes.get(at + word.len())))
        })
    }

    /// The same outside of test code.
    pub(crate) fn words_outside_tests<'a>(
        &'a self,
        word: &'a str,
    ) -> impl Iterator<Item = usize> + 'a {
        self.words(word).filter(|&at| !self.is_test(at))
    }
}

/// All sources below these folders of the repository.
pub(crate) fn read_all(folders: &[&str]) -> Vec<Source> {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let mut paths = Vec::new();
    folders.iter().for_each(|folder| collect(&root.join(folder), &mut paths));
    paths.sort();
    let mut sources: Vec<Source> = paths.iter().map(|path| read(root, path)).collect();
    mark_test_files(&mut sources);
    sources
}

fn collect(folder: &Path, found: &mut Vec<PathBuf>) {
    let Ok(entries) = fs::read_dir(folder) else { return };
    for path in entries.map(|entry| entry.expect("a readable folder").path()) {
        if path.is_dir() && !path.ends_with("target") {
            collect(&path, found);
        } else if path.extension().is_some_and(|extension| extension == "rs") {
            found.push(path);
        }
    }
}

fn read(root: &Path, path: &Path) -> Source {
    let text = fs::read_to_string(path).expect("a readable source");
    let path = path.strip_prefix(root).expect("below the root");
    let (code, comments) = split(&text);
    let tests = test_ranges(&code);
    Source { path: path.to_string_lossy().into_owned(), text, code, comments, tests }
}

/// What the scanner is in.
enum In {
    Code,
    LineComment,
    BlockComment,
    /// Ends with a quote and this many `#`.
    Raw(usize),
    Text(u8),
}

/// Code and comments apart, each with the rest blanked out.
pub(crate) fn split(text: &str) -> (String, String) {
    let bytes = text.as_bytes();
    let (mut code, mut comments) = (blank(bytes), blank(bytes));
    let mut state = In::Code;
    let mut at = 0;
    while at < bytes.len() {
        let rest = &bytes[at..];
        let mut len = 1;
        match state {
            In::Code => {
                (state, len) = enter(rest, at.checked_sub(1).map(|before| bytes[before]));
                match state {
                    In::Code => code[at..at + len].copy_from_slice(&rest[..len]),
                    In::LineComment => comments[at..at + len].copy_from_slice(&rest[..len]),
                    _ => {}
                }
            }
            In::LineComment if rest[0] == b'\n' => state = In::Code,
            In::BlockComment if rest.starts_with(b"*/") => (state, len) = (In::Code, 2),
            In::LineComment | In::BlockComment => comments[at] = rest[0],
            In::Raw(hashes) if closes_raw(rest, hashes) => (state, len) = (In::Code, 1 + hashes),
            In::Text(_) if rest[0] == b'\\' => len = 2,
            In::Text(quote) if rest[0] == quote => state = In::Code,
            In::Raw(_) | In::Text(_) => {}
        }
        at += len;
    }
    let text = |bytes| String::from_utf8_lossy(bytes).into_owned();
    (text(&code), text(&comments))
}

/// All spaces but for the line ends, so that every byte keeps its place.
fn blank(bytes: &[u8]) -> Vec<u8> {
    bytes.iter().map(|&byte| if byte == b'\n' { b'\n' } else { b' ' }).collect()
}

/// What begins here, and the length of what opens it.
fn enter(rest: &[u8], before: Option<u8>) -> (In, usize) {
    let in_word = before.is_some_and(|byte| byte.is_ascii_alphanumeric() || byte == b'_');
    match rest[0] {
        b'/' if rest.starts_with(b"//") => (In::LineComment, 2),
        b'/' if rest.starts_with(b"/*") => (In::BlockComment, 2),
        b'"' => (In::Text(b'"'), 1),
        b'r' if !in_word || before == Some(b'b') => {
            let hashes = rest[1..].iter().take_while(|&&byte| byte == b'#').count();
            let raw = rest.get(1 + hashes) == Some(&b'"');
            if raw { (In::Raw(hashes), 2 + hashes) } else { (In::Code, 1) }
        }
        // a character, not a lifetime
        b'\'' if rest.get(1) == Some(&b'\\') || is_plain_char(rest) => (In::Text(b'\''), 1),
        _ => (In::Code, 1),
    }
}

fn is_plain_char(rest: &[u8]) -> bool {
    let end = rest[1..].iter().take(5).position(|&byte| byte == b'\'');
    end.is_some_and(|len| {
        len == 1 || std::str::from_utf8(&rest[1..=len]).is_ok_and(|text| text.chars().count() == 1)
    })
}

fn closes_raw(rest: &[u8], hashes: usize) -> bool {
    rest[0] == b'"' && rest[1..].iter().take(hashes).filter(|&&byte| byte == b'#').count() == hashes
}

/// Where the block ends whose `{` stands at `open`.
pub(crate) fn block_end(code: &str, open: usize) -> usize {
    let mut depth = 0_usize;
    for (at, byte) in code.bytes().enumerate().skip(open) {
        match byte {
            b'{' => depth += 1,
            b'}' if depth == 1 => return at + 1,
            b'}' => depth -= 1,
            _ => {}
        }
    }
    code.len()
}

fn test_ranges(code: &str) -> Vec<(usize, usize)> {
    let attributes = code.match_indices("#[cfg(test)]").chain(code.match_indices("#[test]"));
    let mut ranges = Vec::new();
    for (at, _) in attributes {
        let Some(open) = code[at..].find(['{', ';']).map(|found| at + found) else { continue };
        let end = if code.as_bytes()[open] == b'{' { block_end(code, open) } else { open + 1 };
        ranges.push((at, end));
    }
    ranges
}

/// Files whose `mod` stands under `#[cfg(test)]` are test code as a whole.
fn mark_test_files(sources: &mut [Source]) {
    let mut files = HashSet::new();
    for source in sources.iter() {
        let folder = module_folder(&source.path);
        for &(from, to) in &source.tests {
            let item = source.code[from..to].trim_end();
            if let Some((_, name)) =
                item.strip_suffix(';').and_then(|item| item.rsplit_once("mod "))
            {
                files.insert(format!("{folder}/{name}.rs"));
                files.insert(format!("{folder}/{name}/"));
            }
        }
    }
    for source in sources {
        let folder = |file: &String| file.ends_with('/') && source.path.starts_with(file.as_str());
        if files.contains(&source.path) || files.iter().any(folder) {
            source.tests = vec![(0, source.text.len())];
        }
    }
}

/// The folder in which a file's child modules are.
pub(crate) fn module_folder(path: &str) -> String {
    let stem = path.strip_suffix(".rs").unwrap_or(path);
    let owner = |name: &str| stem.strip_suffix(name).and_then(|folder| folder.strip_suffix('/'));
    let folder = owner("mod").or_else(|| owner("lib")).or_else(|| owner("main"));
    folder.unwrap_or(stem).to_owned()
}
