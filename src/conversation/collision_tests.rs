//! Which answers collide, and who may send all the same.

use super::*;

fn sent(by: &str, at: i64, id: &str) -> Sent {
    let answer = Answer { by: Login::new(by), at: Timestamp(at), blob: BlobId(at) };
    Sent { answer, id: Some(id.into()) }
}

fn following(id: &str, follows: &[&str]) -> Header {
    let follows = follows.iter().map(|id| id.to_string()).collect();
    Header { id: Some(id.into()), follows, ..Header::default() }
}

#[test]
fn what_counts_is_an_answer_of_somebody_else_that_is_not_referred_to() {
    type Case<'a> = (&'a str, Vec<Sent>, &'a [&'a str], Option<i64>);
    let cases: [Case<'_>; 6] = [
        ("nobody", vec![], &["q@c"], None),
        ("ben", vec![sent("ben", 5, "b@o")], &["q@c"], Some(5)),
        ("herself", vec![sent("anna", 5, "b@o")], &["q@c"], None),
        ("ben, whose answer she answers", vec![sent("ben", 5, "b@o")], &["q@c", "b@o"], None),
        ("ben, before the mail came", vec![sent("ben", 2, "b@o")], &["q@c"], None),
        ("two", vec![sent("ben", 5, "b@o"), sent("carla", 7, "c@o")], &["q@c"], Some(7)),
    ];
    for (who, sent, follows, expected) in cases {
        let header = following("new@o", follows);
        let found = latest_unknown(sent, (&header, Timestamp(3)), &Login::new("anna"));
        assert_eq!(found.map(|answer| answer.at.0), expected, "{who}");
    }
}

#[test]
fn a_message_that_was_accepted_before_collides_with_nothing() {
    let all = || vec![sent("anna", 4, "a@o"), sent("ben", 5, "b@o")];
    let header = following("a@o", &["q@c"]);
    assert_eq!(latest_unknown(all(), (&header, Timestamp(3)), &Login::new("anna")), None);
    let carla = latest_unknown(all(), (&header, Timestamp(3)), &Login::new("carla"));
    assert!(carla.is_some(), "somebody else's is another one");
}

#[test]
fn the_sender_is_read_from_the_trace() {
    let trace = format!("Bcc: x@y,\r\n\tz@y\r\n{}", sender_field(&Login::new("ben")));
    assert_eq!(sender(trace.as_bytes()), Some(Login::new("ben")));
    assert_eq!((sender(b""), sender(b"X-Postfach-Sender:\r\n")), (None, None));
}
