//! Command lines: any split of the input gives the same lines, a line holds no line end, and
//! reading it is the same whenever it is done.
#![no_main]

use libfuzzer_sys::fuzz_target;
use postfach::smtp::command::Command;
use postfach::smtp::framing::{Framer, Line};

fuzz_target!(|data: &[u8]| {
    let Some((&size, input)) = data.split_first() else { return };
    let lines = lines(input, usize::from(size).max(1));
    assert_eq!(self::lines(input, input.len().max(1)), lines);
    for line in lines.into_iter().flatten() {
        assert!(!line.iter().any(|byte| matches!(byte, b'\r' | b'\n' | 0)));
        assert!(line.len() <= postfach::smtp::LINE_BYTES_MAX);
        let command = Command::parse(&line);
        assert_eq!(Command::parse(&line), command);
        let submitted = Command::parse_submitted(&line);
        assert_eq!(Command::parse_submitted(&line), submitted);
        let verb = line.get(..4).unwrap_or_default();
        if ![b"AUTH", b"MAIL"].iter().any(|differing| verb.eq_ignore_ascii_case(*differing)) {
            assert_eq!(submitted, command);
        }
    }
});

fn lines(input: &[u8], piece: usize) -> Vec<Line> {
    let mut framer = Framer::default();
    let mut lines = Vec::new();
    for mut received in input.chunks(piece) {
        while !received.is_empty() {
            let (used, line) = framer.feed(received);
            received = &received[used..];
            lines.extend(line);
        }
    }
    lines
}
