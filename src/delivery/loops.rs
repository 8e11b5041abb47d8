//! Whether a message goes round in circles, told from its header alone. RFC 5321 §6.3

use crate::mail::address::Address;

/// More Received fields than this are a loop. Deliberately not the 100 that RFC 5321 §6.3
/// recommends: real mail stays below 20, and each round of a loop costs everybody in it.
pub const RECEIVED_MAX: usize = 30;

/// Whether the header has more than `RECEIVED_MAX` Received fields, or says that the message was
/// delivered here for one of `addresses` before.
pub fn is_loop<'a>(head: &[u8], addresses: impl Iterator<Item = &'a Address>) -> bool {
    let mut received = 0;
    let mut delivered_to: Vec<String> = Vec::new();
    for (name, value) in fields(head) {
        if name.eq_ignore_ascii_case(b"Received") {
            received += 1;
        } else if name.eq_ignore_ascii_case(b"Delivered-To") {
            let text = String::from_utf8_lossy(value);
            delivered_to.extend(Address::parse(text.trim()).map(|address| address.key()));
        }
    }
    let mut addresses = addresses.map(Address::key);
    received > RECEIVED_MAX || addresses.any(|address| delivered_to.contains(&address))
}

/// Name and first line of each field of the header.
fn fields(head: &[u8]) -> impl Iterator<Item = (&[u8], &[u8])> {
    head.split(|byte| *byte == b'\n')
        .map(|line| line.strip_suffix(b"\r").unwrap_or(line))
        .take_while(|line| !line.is_empty())
        .filter(|line| !line.starts_with(b" ") && !line.starts_with(b"\t"))
        .filter_map(|line| {
            let colon = line.iter().position(|byte| *byte == b':')?;
            Some((line[..colon].trim_ascii_end(), &line[colon + 1..]))
        })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn is_loop_for(head: &str, address: &str) -> bool {
        let address = Address::parse(address).expect("an address");
        is_loop(head.as_bytes(), std::iter::once(&address))
    }

    #[test]
    fn thirty_received_fields_are_a_way_and_one_more_a_loop() {
        let head = |n| format!("{}Subject: x\r\n\r\n", "received: from a\r\n\tby b\r\n".repeat(n));
        assert!(!is_loop_for(&head(RECEIVED_MAX), "a@b"));
        assert!(is_loop_for(&head(RECEIVED_MAX + 1), "a@b"));
    }

    #[test]
    fn mail_that_was_delivered_for_this_address_is_a_loop() {
        let head = "Subject: x\r\nDelivered-To: Support@Example.org\r\n\r\nDelivered-To: a@b\r\n";
        assert!(is_loop_for(head, "support@example.org"));
        assert!(!is_loop_for(head, "sales@example.org"));
        assert!(!is_loop_for(head, "a@b"), "the body does not count");
        assert!(!is_loop_for("", "a@b") && !is_loop_for("x\r\n: y\r\n", "a@b"));
    }
}
