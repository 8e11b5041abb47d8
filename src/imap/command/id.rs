//! ID: who is at the other end, for statistics and bug reports. RFC 2971 §3.1

use crate::imap::output::Output;
use crate::imap::wire::lex::Cursor;
use crate::imap::{Completion, Refusal};

/// Most field-value pairs. RFC 2971 §3.3
pub const FIELDS_MAX: usize = 30;
/// Longest field name, in bytes. RFC 2971 §3.3
pub const FIELD_BYTES_MAX: usize = 30;
/// Longest value, in bytes. RFC 2971 §3.3
pub const VALUE_BYTES_MAX: usize = 1024;

/// ID: what the client says is checked; what it calls itself goes into `client`, for the audit log.
pub fn run(
    arguments: &mut Cursor<'_>,
    client: &mut Option<String>,
    out: &mut Output<'_>,
) -> Result<Completion, Refusal> {
    let named = if arguments.take_word("NIL") { None } else { fields(arguments)?.words() };
    arguments.end()?;
    *client = named.or(client.take());
    let version = env!("CARGO_PKG_VERSION");
    out.line(format_args!("* ID (\"name\" \"Postfach\" \"version\" \"{version}\")"));
    Ok(Completion::ok("Nice to meet you"))
}

/// What of a client's fields names it. RFC 2971 §3.3
#[derive(Default)]
struct Named {
    name: Option<String>,
    version: Option<String>,
}

impl Named {
    fn take(&mut self, field: &[u8], value: &[u8]) {
        let text = || Some(String::from_utf8_lossy(value).trim().to_owned());
        if field.eq_ignore_ascii_case(b"name") {
            self.name = text();
        } else if field.eq_ignore_ascii_case(b"version") {
            self.version = text();
        }
    }

    fn words(self) -> Option<String> {
        let words = [self.name?, self.version.unwrap_or_default()].join(" ");
        Some(words.trim().to_owned())
    }
}

fn fields(arguments: &mut Cursor<'_>) -> Result<Named, Refusal> {
    let mut named = Named::default();
    if !arguments.take(b'(') {
        return Err(arguments.expected("NIL or a list"));
    }
    let mut count = 0;
    while !arguments.take(b')') {
        if count > 0 {
            arguments.space()?;
        }
        let start = arguments.clone();
        let field = arguments.string()?;
        arguments.space()?;
        let value = if arguments.take_word("NIL") { Vec::new() } else { arguments.string()? };
        count += 1;
        named.take(&field, &value);
        let too_long = field.len() > FIELD_BYTES_MAX || value.len() > VALUE_BYTES_MAX;
        if count > FIELDS_MAX || too_long {
            return Err(start.expected("at most 30 fields of 30 bytes with values of 1024 bytes"));
        }
    }
    Ok(named)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn id(arguments: &str) -> Result<Completion, Refusal> {
        named(arguments).1
    }

    fn named(arguments: &str) -> (Option<String>, Result<Completion, Refusal>) {
        let (mut buffer, mut sink) = (Vec::new(), Vec::new());
        let mut out = Output::new(&mut buffer, &mut sink);
        let mut client = None;
        let answer = run(&mut Cursor::new(arguments.as_bytes()), &mut client, &mut out);
        (client, answer)
    }

    #[test]
    fn a_client_is_called_by_its_name_and_version() {
        let client = |arguments: &str| named(arguments).0;
        let told = client("(\"version\" \"2.4\" \"NAME\" \"mutt\" \"os\" \"Linux\")");
        assert_eq!(told.as_deref(), Some("mutt 2.4"));
        assert_eq!(client("(\"name\" \"mutt\")").as_deref(), Some("mutt"));
        assert_eq!((client("NIL"), client("(\"os\" \"Linux\")")), (None, None));
    }

    #[test]
    fn fields_are_taken_up_to_their_limits() {
        assert!(id("nil").is_ok() && id("()").is_ok());
        assert!(id("(\"name\" \"x\" \"version\" NIL)").is_ok());
        let fields = |n: usize| format!("({})", vec!["\"a\" \"b\""; n].join(" "));
        assert!(id(&fields(FIELDS_MAX)).is_ok() && id(&fields(FIELDS_MAX + 1)).is_err());
        let value = |n: usize| format!("(\"a\" \"{}\")", "v".repeat(n));
        assert!(id(&value(VALUE_BYTES_MAX)).is_ok() && id(&value(VALUE_BYTES_MAX + 1)).is_err());
        let name = |n: usize| format!("(\"{}\" NIL)", "n".repeat(n));
        assert!(id(&name(FIELD_BYTES_MAX)).is_ok() && id(&name(FIELD_BYTES_MAX + 1)).is_err());
    }

    #[test]
    fn a_field_without_a_value_is_refused() {
        for arguments in ["", "(\"a\")", "(\"a\" \"b\"", "x", "(a b)"] {
            assert!(matches!(id(arguments), Err(Refusal::Bad(_))), "{arguments}");
        }
    }
}
