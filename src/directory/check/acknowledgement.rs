//! What `[inbox.acknowledgement]` means. Reads the file that it names.

use std::fs::File;
use std::io::{self, Read};
use std::ops::Range;
use std::path::Path;

use toml::Spanned;

use crate::directory::findings::Findings;
use crate::directory::rule::{Acknowledgement, TEXT_BYTES_MAX, Template, VALUE_BYTES_MAX};
use crate::directory::written::Acknowledgement as Written;

/// The subject when the file does not say.
const SUBJECT: &str = "Re: {subject}";

/// Nothing without the table.
pub(super) fn acknowledgement(
    found: &mut Findings,
    written: &Option<Spanned<Written>>,
) -> Option<Acknowledgement> {
    let table = written.as_ref()?;
    let Written { subject, text, file } = table.get_ref();
    let subject = match subject {
        Some(subject) => one_line(found, subject),
        None => Template::parse(SUBJECT).ok(),
    };
    let text = match (text, file) {
        (Some(text), None) => template(found, text.span(), text.get_ref()),
        (None, Some(file)) => {
            let path = found.path(file.get_ref());
            match read(&path) {
                Ok(text) => template(found, file.span(), &text),
                Err(error) => {
                    let message = format!("{} cannot be read: {error}", path.display());
                    let remedy = "put the text there, in UTF-8, readable for the daemon's user";
                    found.fault(file.span(), message, remedy);
                    None
                }
            }
        }
        (Some(_), Some(file)) => {
            found.fault(file.span(), "the text is there already", "keep either text or file");
            None
        }
        (None, None) => {
            let remedy = "write text = \"…\", or file = \"acknowledgement.txt\"";
            found.lacking(table.span(), "the acknowledgement has no text", remedy);
            None
        }
    };
    Some(Acknowledgement { subject: subject?, text: text? })
}

fn one_line(found: &mut Findings, written: &Spanned<String>) -> Option<Template> {
    let subject = written.get_ref();
    if subject.len() > VALUE_BYTES_MAX || subject.contains(char::is_control) {
        let remedy = "write one line of 200 bytes at most";
        found.fault(written.span(), "this is no subject", remedy);
        return None;
    }
    template(found, written.span(), subject)
}

fn template(found: &mut Findings, at: Range<usize>, text: &str) -> Option<Template> {
    let text = text.replace("\r\n", "\n");
    if text.trim().is_empty() || text.len() > TEXT_BYTES_MAX {
        let remedy = "write what the customer is to read, 16 KiB at most";
        found.fault(at, "the text is empty or too long", remedy);
        return None;
    }
    if text.contains(|c: char| c.is_control() && !matches!(c, '\n' | '\t')) {
        found.fault(at, "the text holds control characters", "write plain text");
        return None;
    }
    match Template::parse(&text) {
        Ok(template) => Some(template),
        Err(gap) => {
            let message = format!("{{{gap}}} stands for nothing");
            found.fault(at, message, "write {reference}, {subject} or {inbox}");
            None
        }
    }
}

fn read(path: &Path) -> io::Result<String> {
    let mut text = String::new();
    File::open(path)?.take(TEXT_BYTES_MAX as u64 + 1).read_to_string(&mut text)?;
    Ok(text)
}
