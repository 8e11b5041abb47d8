//! Any bytes are a message: the tree's offsets nest, each section is within the bytes, the listed
//! fields are those of the header, and the text is folded and bounded.
#![no_main]

use libfuzzer_sys::fuzz_target;
use postfach::mail::message::{
    CACHED_FIELDS, Content, Part, SEARCH_TEXT_BYTES_MAX, SectionText, parse, section,
    select_fields, select_fields_not,
};

fuzz_target!(|bytes: &[u8]| {
    let parsed = parse(bytes);
    let top = &parsed.structure;
    assert_eq!((top.header_start, top.body_end), (0, bytes.len() as u64));
    check(top, 0, top.body_end, &mut Vec::new(), top);
    let header = &bytes[..top.body_start as usize];
    let (mut chosen, mut others) = (Vec::new(), Vec::new());
    select_fields(header, CACHED_FIELDS, &mut chosen);
    select_fields_not(header, CACHED_FIELDS, &mut others);
    assert!(parsed.fields.starts_with(&chosen));
    assert!(chosen.len() + others.len() <= header.len());
    assert!(parsed.text.header.len() + parsed.text.body.len() <= SEARCH_TEXT_BYTES_MAX);
});

fn check(part: &Part, from: u64, to: u64, path: &mut Vec<u32>, top: &Part) {
    assert!(path.len() <= 65);
    assert!(from <= part.header_start && part.header_start <= part.body_start);
    assert!(part.body_start <= part.body_end && part.body_end <= to);
    for text in [SectionText::Body, SectionText::Mime, SectionText::Header, SectionText::Text] {
        let range = section(top, path, text);
        assert!(range.is_none_or(|range| range.start <= range.end && range.end <= top.body_end));
    }
    let inside = match &part.content {
        Content::Leaf => return,
        Content::Message(_, inner) => std::slice::from_ref(&**inner),
        Content::Multipart(children) => children.as_slice(),
    };
    assert!(!inside.is_empty());
    let mut after = part.body_start;
    for (index, child) in inside.iter().enumerate() {
        path.push(index as u32 + 1);
        check(child, after, part.body_end, path, top);
        path.pop();
        after = child.body_end;
    }
}
