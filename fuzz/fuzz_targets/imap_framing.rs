//! Any input, in any pieces, gives the same events, and what is kept stays within the limits.
#![no_main]

use libfuzzer_sys::fuzz_target;
use postfach::imap::wire::framing::{Event, Framer, Limits};

fuzz_target!(|data: &[u8]| {
    let Some((&sizes, input)) = data.split_first() else { return };
    let limits = if sizes & 1 == 0 { Limits::BEFORE_LOGIN } else { Limits::AFTER_LOGIN };
    let whole = events(input, input.len().max(1), &limits);
    let pieces = events(input, usize::from(sizes >> 1).max(1), &limits);
    assert_eq!(whole, pieces);
});

fn events(input: &[u8], piece: usize, limits: &Limits) -> Vec<String> {
    let mut framer = Framer::default();
    let mut seen = Vec::new();
    for received in input.chunks(piece) {
        framer.receive(received);
        drain(&mut framer, limits, &mut seen);
    }
    seen
}

fn drain(framer: &mut Framer, limits: &Limits, seen: &mut Vec<String>) {
    loop {
        while let Some(bytes) = framer.message_piece() {
            if bytes.is_empty() {
                return;
            }
            join_message(seen, &bytes);
        }
        let Some(event) = framer.next(limits) else { return };
        if let Event::Command(command) = &event {
            assert!(command.len() <= limits.command_bytes_max + limits.literal_bytes_max as usize);
        }
        seen.push(format!("{event:?}"));
        match event {
            Event::Message { announced, .. } if announced.bytes % 2 == 0 => framer.accept(),
            Event::Message { .. } => framer.refuse(),
            Event::Overrun => return,
            _ => {}
        }
    }
}

/// Pieces of one message count as one event.
fn join_message(seen: &mut Vec<String>, bytes: &[u8]) {
    let text = bytes.escape_ascii().to_string();
    match seen.last_mut() {
        Some(last) if last.starts_with("message ") => last.push_str(&text),
        _ => seen.push(format!("message {text}")),
    }
}
