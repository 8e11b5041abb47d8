//! DATA ends at CRLF.CRLF only, in whatever pieces it comes, and what comes out is exactly what a
//! plain reading of the standard gives. RFC 5321 §4.5.2
#![no_main]

use libfuzzer_sys::fuzz_target;
use postfach::smtp::content::LineEnds;
use postfach::smtp::data::DataReceiver;

/// Content, whether it is refused, and what is left behind the end (`None`: no end was seen).
type Received<'a> = (Vec<u8>, bool, Option<&'a [u8]>);

fuzz_target!(|data: &[u8]| {
    let Some((&size, input)) = data.split_first() else { return };
    let pieces = receive(LineEnds::Strict, input, usize::from(size).max(1));
    assert_eq!(receive(LineEnds::Strict, input, input.len().max(1)), pieces);
    let mended = receive(LineEnds::Normalised, input, usize::from(size).max(1));
    assert_eq!(receive(LineEnds::Normalised, input, input.len().max(1)), mended);
    check_mended(&mended, &pieces);
    let (content, refused, rest) = pieces;
    let Some(rest) = rest else { return };
    let wire = [b"\r\n".as_slice(), &input[..input.len() - rest.len()]].concat();
    assert!(wire.ends_with(b"\r\n.\r\n"));
    let end = wire.windows(5).position(|window| window == b"\r\n.\r\n");
    assert_eq!(end, Some(wire.len() - 5));
    let lines = &wire[2..wire.len() - 3];
    assert_eq!(refused, !is_plain(lines));
    if !refused {
        assert_eq!(content, unstuffed(lines));
    }
});

/// At submission a content ends where it ends on port 25, a right one is left as it is, and no
/// other holds a bare CR or LF.
fn check_mended(mended: &Received<'_>, strict: &Received<'_>) {
    assert_eq!(mended.2, strict.2);
    if !strict.1 {
        assert_eq!(mended.0, strict.0);
    }
    assert!(is_plain(&mended.0));
}

fn receive(line_ends: LineEnds, input: &[u8], piece: usize) -> Received<'_> {
    let mut receiver = DataReceiver::new(line_ends);
    let mut content = Vec::new();
    let mut at = 0;
    while at < input.len() {
        let to = input.len().min(at + piece);
        let (used, end) = receiver.receive(&input[at..to], &mut content);
        assert!(end || used == to - at);
        at += used;
        if end {
            return (content, receiver.fault().is_some(), Some(&input[at..]));
        }
    }
    (content, receiver.fault().is_some(), None)
}

/// Lines that end in CRLF, without a bare CR, a bare LF or NUL.
fn is_plain(lines: &[u8]) -> bool {
    let text = lines.split(|&byte| byte == b'\n').collect::<Vec<_>>();
    let (last, ended) = text.split_last().expect("split gives at least one");
    let ended_in_cr = |line: &&[u8]| line.strip_suffix(b"\r").is_some_and(is_free_of_cr_and_nul);
    ended.iter().all(ended_in_cr) && is_free_of_cr_and_nul(last)
}

fn is_free_of_cr_and_nul(line: &[u8]) -> bool {
    !line.contains(&b'\r') && !line.contains(&0)
}

fn unstuffed(lines: &[u8]) -> Vec<u8> {
    let lines = lines.split_inclusive(|&byte| byte == b'\n');
    lines.flat_map(|line| line.strip_prefix(b".").unwrap_or(line)).copied().collect()
}
