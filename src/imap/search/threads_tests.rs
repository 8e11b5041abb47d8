//! The two ways to make threads, on small mailboxes and on random ones.

use proptest::prelude::*;

use super::*;
use crate::mail::base_subject::base_subject;
use crate::mail::collation;

/// Messages 1, 2, … of `(date, subject, id, references)`; an empty id is none.
fn mailbox(rows: &[(i64, &str, &str, &str)]) -> Vec<Threadable> {
    let message = |(name, row): (u32, &(i64, &str, &str, &str))| {
        let base = base_subject(row.1);
        Threadable {
            name,
            sent: row.0,
            subject: collation::key(&base.text),
            kind: base.kind,
            id: (!row.2.is_empty()).then(|| row.2.to_owned()),
            references: row.3.split_whitespace().map(str::to_owned).collect(),
        }
    };
    (1..).zip(rows).map(message).collect()
}

fn written(forest: &Forest<'_>) -> String {
    let mut out = Vec::new();
    forest.write(&mut out);
    String::from_utf8(out).expect("ASCII")
}

fn references(rows: &[(i64, &str, &str, &str)]) -> String {
    written(&by_references(&mailbox(rows)))
}

fn subjects(rows: &[(i64, &str, &str, &str)]) -> String {
    written(&by_subject(&mailbox(rows)))
}

#[test]
fn by_subject_a_thread_is_a_message_and_all_others_of_its_subject() {
    assert_eq!(subjects(&[]), "");
    let rows = [
        (5, "Re: b", "", ""),
        (1, "a", "", ""),
        (3, "B", "", ""),
        (4, "[x] Fwd: b", "", ""),
        (2, "Re: A", "", ""),
        (9, "", "", ""),
        (8, "", "", ""),
    ];
    assert_eq!(subjects(&rows), "(2 5)(3 (4)(1))(7 6)");
    let same = [(1, "a", "", ""), (1, "a", "", ""), (1, "b", "", "")];
    assert_eq!(subjects(&same), "(1 2)(3)", "the order of the mailbox decides");
}

#[test]
fn by_references_answers_hang_below_what_they_answer() {
    let rows = [
        (1, "q", "1", ""),
        (2, "Re: q", "2", "1"),
        (3, "Re: q", "3", "1 2"),
        (4, "Re: q", "4", "1"),
        (5, "other", "5", ""),
    ];
    assert_eq!(references(&rows), "(1 (2 3)(4))(5)");
    // in any order of arrival
    let reversed: Vec<_> = rows.iter().rev().copied().collect();
    assert_eq!(references(&reversed), "(5 (4 3)(2))(1)");
}

#[test]
fn by_references_siblings_of_a_missing_parent_stay_together() {
    let rows = [(1, "a", "1", "x"), (2, "b", "2", "x"), (3, "c", "3", "y")];
    assert_eq!(references(&rows), "((1)(2))(3)");
    let below = [(1, "a", "1", "r"), (2, "b", "2", "r x"), (3, "c", "3", "r x")];
    assert_eq!(references(&below), "((1)(2)(3))", "below the top nothing stands for it");
}

#[test]
fn by_references_what_a_message_says_of_its_parent_counts() {
    // 3 names 1 as the parent of 2; 2 itself says otherwise
    let rows = [(1, "a", "1", ""), (2, "b", "2", "9"), (3, "c", "3", "1 2"), (4, "d", "9", "")];
    assert_eq!(references(&rows), "(1)(4 2 3)");
    let rows = [(1, "a", "1", ""), (2, "b", "3", "1 2"), (3, "c", "2", "")];
    assert_eq!(references(&rows), "(1)(3 2)");
}

#[test]
fn by_references_loops_and_repeated_identifiers_do_no_harm() {
    assert_eq!(references(&[(1, "a", "1", "2"), (2, "b", "2", "1")]), "(2 1)");
    assert_eq!(references(&[(1, "a", "1", "1")]), "(1)");
    assert_eq!(references(&[(1, "a", "1", "x x y x")]), "(1)");
    let twice = [(1, "a", "1", ""), (2, "b", "1", ""), (3, "c", "3", "1")];
    assert_eq!(references(&twice), "(1 3)(2)", "the first one has it");
}

#[test]
fn by_references_threads_of_one_subject_become_one() {
    let reply = [(1, "a", "1", ""), (2, "Re: a", "2", "")];
    assert_eq!(references(&reply), "(1 2)");
    let both = [(1, "a", "1", ""), (2, "A", "2", "")];
    assert_eq!(references(&both), "((1)(2))");
    let earlier = [(2, "Re: a", "1", ""), (3, "a", "2", ""), (4, "Re: a", "3", "")];
    assert_eq!(references(&earlier), "(2 (1)(3))");
    let three = [(1, "a", "1", ""), (2, "a", "2", ""), (3, "a", "3", "")];
    assert_eq!(references(&three), "((1)(2)(3))");
    let dummies = [(1, "a", "1", "x"), (2, "b", "2", "x"), (3, "a", "3", "y"), (4, "c", "4", "y")];
    assert_eq!(references(&dummies), "((1)(2)(3)(4))");
    let joins = [(1, "a", "1", "x"), (2, "b", "2", "x"), (3, "a", "3", "")];
    assert_eq!(references(&joins), "((1)(2)(3))");
    let nothing = [(1, "", "1", ""), (2, "Re:", "2", "")];
    assert_eq!(references(&nothing), "(1)(2)", "the empty subject joins nothing");
}

#[test]
fn a_thread_may_be_as_deep_as_the_mailbox_is_long() {
    const DEPTH: usize = 20_000;
    let chain = |n: usize| Threadable {
        name: n as u32,
        sent: n as i64,
        subject: n.to_string(),
        kind: Kind::Original,
        id: Some(n.to_string()),
        references: vec![(n - 1).to_string()],
    };
    let messages: Vec<_> = (1..=DEPTH).map(chain).collect();
    let text = written(&by_references(&messages));
    assert!(text.starts_with("(1 2 3 ") && text.ends_with(" 20000)"));
    // two children at each level: as many parentheses
    let comb: Vec<_> = (1..=DEPTH)
        .map(|n| Threadable { references: vec![((n - 1) / 2 * 2).to_string()], ..chain(n) })
        .collect();
    let text = written(&by_references(&comb));
    let count = |c: char| text.matches(c).count();
    assert!(count('(') == count(')') && count('(') >= DEPTH, "{}", count('('));
}

proptest! {
    #[test]
    fn each_message_is_in_one_thread_once(
        rows in prop::collection::vec(
            (0i64..9, "(Re: )?[a-c]?", "[a-h]?", prop::collection::vec("[a-j]", 0..5)),
            0..30,
        ),
    ) {
        let joined: Vec<String> = rows.iter().map(|row| row.3.join(" ")).collect();
        let rows: Vec<_> = rows
            .iter()
            .zip(&joined)
            .map(|(row, references)| (row.0, row.1.as_str(), row.2.as_str(), references.as_str()))
            .collect();
        let messages = mailbox(&rows);
        for text in [written(&by_references(&messages)), written(&by_subject(&messages))] {
            let mut names: Vec<u32> = text
                .split(|c: char| !c.is_ascii_digit())
                .filter(|word| !word.is_empty())
                .map(|word| word.parse().expect("a number"))
                .collect();
            names.sort_unstable();
            prop_assert_eq!(names, (1..=rows.len() as u32).collect::<Vec<_>>(), "{}", text);
            prop_assert!(!text.contains("()") && !text.contains(" )") && !text.contains("( "));
        }
    }
}
