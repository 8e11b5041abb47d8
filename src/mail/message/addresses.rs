//! Address lists of a header field, raw: quotes and comments are removed, encoded words are not
//! decoded. RFC 5322 §3.4 and §4.4. Understands what programs really write, in one linear pass.

use super::EnvelopeAddress;
use super::fields::unfold;
use super::parameters::comment_len;
use super::parse::Budget;

/// Appends the addresses of one field's value, as far as the budget goes.
pub(super) fn read(value: &[u8], list: &mut Vec<EnvelopeAddress>, budget: &mut Budget) {
    let value = unfold(value);
    let mut reader = Reader { rest: &value, list, budget, group: Group::Outside };
    let mut item = Item::default();
    while let Some((&byte, rest)) = reader.rest.split_first() {
        match byte {
            b',' => reader.end_address(std::mem::take(&mut item)),
            b';' => {
                reader.end_address(std::mem::take(&mut item));
                reader.end_group();
            }
            b':' if reader.group == Group::Outside && item.may_name_a_group() => {
                reader.start_group(std::mem::take(&mut item));
            }
            _ => {
                reader.rest = reader.item_piece(&mut item);
                continue;
            }
        }
        reader.rest = rest;
    }
    reader.end_address(item);
    reader.end_group();
}

#[derive(PartialEq)]
enum Group {
    Outside,
    Inside,
}

struct Reader<'a> {
    rest: &'a [u8],
    list: &'a mut Vec<EnvelopeAddress>,
    budget: &'a mut Budget,
    group: Group,
}

/// What stands between two separators, taken apart.
#[derive(Default)]
struct Item {
    /// Words outside the angle brackets, one space between them where there was white space.
    phrase: Vec<u8>,
    /// The same without the white space, where the item is a bare address.
    bare: Spec,
    /// What is in the angle brackets.
    angle: Option<Spec>,
    comment: Option<Vec<u8>>,
    space: bool,
}

/// An addr-spec.
#[derive(Default)]
struct Spec {
    text: Vec<u8>,
    /// Where the `@` is that stands outside of quotes.
    at: Option<usize>,
}

impl Spec {
    fn split(mut self) -> EnvelopeAddress {
        let host = self.at.map_or(Vec::new(), |at| self.text.split_off(at));
        EnvelopeAddress { name: None, mailbox: Some(self.text), host: Some(host) }
    }

    fn is_empty(&self) -> bool {
        self.text.is_empty()
    }

    fn push(&mut self, byte: u8) {
        match byte {
            // the @ itself is not kept: what follows from here on is the domain
            b'@' if self.at.is_none() => self.at = Some(self.text.len()),
            _ => self.text.push(byte),
        }
    }

    /// `@a,@b:` before the address. RFC 5322 §4.4 `obs-route`
    fn drop_route(&mut self) {
        if self.at == Some(0) {
            *self = Spec::default();
        }
    }
}

impl Item {
    /// `@` before `:` cannot be a group's name.
    fn may_name_a_group(&self) -> bool {
        self.angle.is_none() && self.bare.at.is_none()
    }

    fn word(&mut self, bytes: &[u8]) {
        if self.space && !self.phrase.is_empty() {
            self.phrase.push(b' ');
        }
        self.space = false;
        self.phrase.extend_from_slice(bytes);
    }

    fn into_address(self) -> Option<EnvelopeAddress> {
        let written = |name: Vec<u8>| Some(name).filter(|name| !name.is_empty());
        if let Some(spec) = self.angle {
            let name = written(self.phrase).or(self.comment);
            return Some(EnvelopeAddress { name, ..spec.split() });
        }
        if self.bare.is_empty() {
            return None;
        }
        Some(EnvelopeAddress { name: self.comment, ..self.bare.split() })
    }
}

impl<'a> Reader<'a> {
    /// Takes one token into the item and returns what follows it.
    fn item_piece(&mut self, item: &mut Item) -> &'a [u8] {
        let (byte, rest) = (self.rest[0], &self.rest[1..]);
        match byte {
            b' ' | b'\t' => item.space = true,
            b'(' => {
                let (comment, rest) = self.rest.split_at(comment_len(self.rest));
                item.comment = Some(comment_text(comment)).filter(|text| !text.is_empty());
                item.space = true;
                return rest;
            }
            b'"' => {
                let (text, rest) = quoted(rest);
                item.word(&text);
                item.bare.text.extend_from_slice(&text);
                return rest;
            }
            b'<' => {
                let (spec, rest) = angle(rest);
                item.angle = Some(spec);
                return rest;
            }
            b'[' => {
                let len = memchr::memchr(b']', self.rest).map_or(self.rest.len(), |at| at + 1);
                let (literal, rest) = self.rest.split_at(len);
                item.word(literal);
                item.bare.text.extend_from_slice(literal);
                return rest;
            }
            _ => {
                item.word(&[byte]);
                item.bare.push(byte);
            }
        }
        rest
    }

    fn end_address(&mut self, item: Item) {
        if let Some(address) = item.into_address() {
            self.push(address);
        }
    }

    fn start_group(&mut self, item: Item) {
        let mailbox = Some(item.phrase);
        self.push(EnvelopeAddress { name: None, mailbox, host: None });
        self.group = Group::Inside;
    }

    fn end_group(&mut self) {
        if self.group == Group::Inside {
            self.push(EnvelopeAddress::default());
            self.group = Group::Outside;
        }
    }

    fn push(&mut self, address: EnvelopeAddress) {
        if self.budget.addresses > 0 {
            self.budget.addresses -= 1;
            self.list.push(address);
        }
    }
}

/// What follows an opening quote, unquoted, and the rest behind the closing one.
fn quoted(bytes: &[u8]) -> (Vec<u8>, &[u8]) {
    let mut text = Vec::new();
    let mut rest = bytes;
    while let Some((&byte, after)) = rest.split_first() {
        rest = after;
        match (byte, after.split_first()) {
            (b'"', _) => break,
            (b'\\', Some((&escaped, after))) => {
                text.push(escaped);
                rest = after;
            }
            _ => text.push(byte),
        }
    }
    (text, rest)
}

/// What follows `<`, and the rest behind `>`.
fn angle(bytes: &[u8]) -> (Spec, &[u8]) {
    let mut spec = Spec::default();
    let mut rest = bytes;
    while let Some((&byte, after)) = rest.split_first() {
        let here = rest;
        rest = after;
        match byte {
            b'>' => break,
            b' ' | b'\t' => {}
            b'(' => rest = &here[comment_len(here)..],
            b'"' => {
                let (text, after) = quoted(after);
                spec.text.extend_from_slice(&text);
                rest = after;
            }
            b':' => spec.drop_route(),
            _ => spec.push(byte),
        }
    }
    (spec, rest)
}

fn comment_text(comment: &[u8]) -> Vec<u8> {
    let inner = comment.strip_prefix(b"(").unwrap_or(comment);
    let inner = inner.strip_suffix(b")").unwrap_or(inner).trim_ascii();
    inner.iter().copied().filter(|&byte| byte != b'\\').collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    /// One address as `name|mailbox|host`, `-` for what is absent.
    fn shown(value: &str) -> String {
        let mut list = Vec::new();
        read(value.as_bytes(), &mut list, &mut Budget::new());
        let text = |value: &Option<Vec<u8>>| match value {
            Some(bytes) => String::from_utf8(bytes.clone()).expect("text"),
            None => String::from("-"),
        };
        let one = |a: &EnvelopeAddress| {
            format!("{}|{}|{}", text(&a.name), text(&a.mailbox), text(&a.host))
        };
        list.iter().map(one).collect::<Vec<_>>().join(" ; ")
    }

    #[test]
    fn addresses_are_read_as_programs_write_them() {
        let cases = [
            ("", ""),
            (" , ,", ""),
            ("a@b", "-|a|b"),
            ("a@b, c@d", "-|a|b ; -|c|d"),
            ("Anna <a@b>", "Anna|a|b"),
            ("Anna  B. Beispiel\r\n\t<a@b>", "Anna B. Beispiel|a|b"),
            ("\"Beispiel, Anna\" <a@b>", "Beispiel, Anna|a|b"),
            ("\"say \\\"hi\\\"\" <a@b>", "say \"hi\"|a|b"),
            ("=?utf-8?Q?=C3=84nna?= <a@b>", "=?utf-8?Q?=C3=84nna?=|a|b"),
            ("a@b (Anna (B.))", "Anna (B.)|a|b"),
            ("(x) a @ b . c", "x|a|b.c"),
            ("\"a b\"@c", "-|a b|c"),
            ("<\"a@b\"@c>", "-|a@b|c"),
            ("Anna <@r,@s:a@b>", "Anna|a|b"),
            ("a@[1.2.3.4], b@[IPv6:::1]", "-|a|[1.2.3.4] ; -|b|[IPv6:::1]"),
            ("root", "-|root|"),
            ("Mail Daemon <>", "Mail Daemon||"),
            ("undisclosed-recipients:;", "-|undisclosed-recipients|- ; -|-|-"),
            ("Team: Anna <a@b>, c@d; e@f", "-|Team|- ; Anna|a|b ; -|c|d ; -|-|- ; -|e|f"),
            ("Team: a@b", "-|Team|- ; -|a|b ; -|-|-"),
            ("a@b; c@d", "-|a|b ; -|c|d"),
            ("Anna <a@b", "Anna|a|b"),
            ("\"open <a@b>", "-|open <a@b>|"),
            ("a(x)@b", "x|a|b"),
            ("<a(x)@b>", "-|a|b"),
        ];
        for (written, expected) in cases {
            assert_eq!(shown(written), expected, "{written}");
        }
    }
}
