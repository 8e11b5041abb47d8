//! Each mechanism from its first line to its end, and what ends it before.

use proptest::prelude::*;

use super::*;

/// The outcome as text: `+ challenge`, `login/password`, or the failure.
fn told(step: Step) -> String {
    match step {
        Step::Challenge(text) => format!("+ {}", String::from_utf8_lossy(&text)),
        Step::Ask(Question::Password { login, password }) => {
            format!("{login}/{}", String::from_utf8_lossy(&password.0))
        }
        Step::Ask(Question::Keys { login }) => format!("{login}?"),
        Step::Ask(Question::Proof { login, proof: Proof::Right(_) }) => format!("{login}="),
        Step::Ask(Question::Proof { login, proof: Proof::Wrong }) => format!("{login}≠"),
        Step::Ask(Question::Token { authzid, token }) => {
            format!("{}/{}", authzid.unwrap_or_default(), token.0)
        }
        Step::Done(user) => format!("{user}!"),
        Step::Failed(why) => format!("{why:?}"),
    }
}

fn encoded(text: &[u8]) -> Vec<u8> {
    STANDARD.encode(text).into_bytes()
}

fn plain(response: &[u8]) -> String {
    told(Exchange::new(Mechanism::Plain, Some(&encoded(response))).1)
}

#[test]
fn plain_takes_login_and_password_in_the_initial_response() {
    // the example of RFC 4616 §4
    assert_eq!(plain(b"\0tim\0tanstaaftanstaaf"), "tim/tanstaaftanstaaf");
    assert_eq!(plain("\0größe\0ß".as_bytes()), "größe/ß");
}

#[test]
fn plain_asks_with_an_empty_challenge() {
    let (mut exchange, step) = Exchange::new(Mechanism::Plain, None);
    assert_eq!(told(step), "+ ");
    assert_eq!(told(exchange.step(&encoded(b"\0tim\0secret"))), "tim/secret");
    assert_eq!(told(exchange.step(&encoded(b"\0tim\0secret"))), "Malformed", "it is over");
}

#[test]
fn plain_lets_nobody_act_as_somebody_else() {
    assert_eq!(plain(b"tim\0tim\0secret"), "tim/secret");
    assert_eq!(plain(b"ursel\0kurt\0xipj3plmq"), "NotAuthorized");
    assert_eq!(plain(b"Tim\0tim\0secret"), "NotAuthorized", "compared exactly");
}

#[test]
fn plain_refuses_what_is_not_three_parts_of_utf_8() {
    let bad: [&[u8]; 8] =
        [b"", b"\0", b"\0tim", b"\0\0secret", b"\0tim\0", b"\0tim\0a\0b", b"\0\xff\0a", b"tim"];
    for response in bad {
        assert_eq!(plain(response), "Malformed", "{response:?}");
    }
}

#[test]
fn login_asks_for_the_name_and_then_for_the_password() {
    let (mut exchange, step) = Exchange::new(Mechanism::Login, None);
    assert_eq!(told(step), "+ VXNlcm5hbWU6");
    assert_eq!(told(exchange.step(b"dGlt")), "+ UGFzc3dvcmQ6");
    assert_eq!(told(exchange.step(b"c2VjcmV0")), "tim/secret");
}

#[test]
fn login_takes_the_name_as_an_initial_response() {
    let (mut exchange, step) = Exchange::new(Mechanism::Login, Some(b"dGlt"));
    assert_eq!(told(step), "+ UGFzc3dvcmQ6");
    assert_eq!(told(exchange.step(b"c2VjcmV0")), "tim/secret");
}

const SCRAM_FIRST: &[u8] = b"n,,n=user,r=rOprNGfwEbeRWgbNEkqO";
const SCRAM_FINAL: &[u8] = b"c=biws,r=rOprNGfwEbeRWgbNEkqO%hvYDpWUa2RaTCAfuxFIlj)hNlF$k0,\
                             p=dHzbZapWIk4jUhN+Ute9ytag9zjfMHgsqmmiz7AndVQ=";

/// An exchange that waits for the final message.
fn challenged() -> Exchange {
    let initial = encoded(SCRAM_FIRST);
    let (mut exchange, step) = Exchange::new(Mechanism::ScramSha256, Some(&initial));
    assert_eq!(told(step), "user?");
    let challenge = told(exchange.answer(Answer::Keys(Box::new(scram::tests::pencil()))));
    assert!(challenge.starts_with("+ cj1yT3By"), "{challenge}");
    exchange
}

#[test]
fn scram_asks_for_keys_and_for_the_proof_and_ends_with_an_empty_response() {
    let (mut exchange, step) = Exchange::new(Mechanism::ScramSha256, None);
    assert_eq!(told(step), "+ ");
    assert_eq!(told(exchange.step(&encoded(SCRAM_FIRST))), "user?");
    let mut exchange = challenged();
    assert_eq!(told(exchange.step(&encoded(SCRAM_FINAL))), "user=");
    let last = told(exchange.answer(Answer::Accepted(Login::new("user"))));
    let verifier = encoded(b"v=6rriTRBi23WpRR/wtup+mMhUZUn/dB5nLTJRsjl95G4=");
    assert_eq!(last, format!("+ {}", String::from_utf8_lossy(&verifier)));
    assert_eq!(told(exchange.step(b"")), "user!");
    assert_eq!(told(exchange.step(b"")), "Malformed", "it is over");
}

#[test]
fn scram_does_not_end_well_by_another_way() {
    let user = || Answer::Accepted(Login::new("user"));
    let initial = encoded(SCRAM_FIRST);
    let (mut exchange, _) = Exchange::new(Mechanism::ScramSha256, Some(&initial));
    assert_eq!(told(exchange.answer(user())), "Wrong", "no proof was given");
    let mut exchange = challenged();
    assert_eq!(told(exchange.answer(user())), "Wrong", "nothing was asked");
    let mut exchange = challenged();
    let wrong = String::from_utf8_lossy(SCRAM_FINAL).replace("p=dH", "p=dG");
    assert_eq!(told(exchange.step(&encoded(wrong.as_bytes()))), "user≠");
    assert_eq!(told(exchange.answer(Answer::Wrong)), "Wrong");
    let mut exchange = challenged();
    assert_eq!(told(exchange.step(&encoded(SCRAM_FINAL))), "user=");
    assert!(told(exchange.answer(user())).starts_with("+ "));
    assert_eq!(told(exchange.step(b"*")), "Cancelled");
    let mut exchange = challenged();
    assert_eq!(told(exchange.step(&encoded(SCRAM_FINAL))), "user=");
    assert!(told(exchange.answer(user())).starts_with("+ "));
    assert_eq!(told(exchange.step(b"eA==")), "Malformed", "not empty");
}

#[test]
fn the_drivers_answer_ends_an_exchange() {
    for (answer, outcome) in [
        (Answer::Accepted(Login::new("tim")), "tim!"),
        (Answer::Wrong, "Wrong"),
        (Answer::TryLater, "TryLater"),
    ] {
        let (mut exchange, _) = Exchange::new(Mechanism::Plain, Some(b"AHRpbQBzZWNyZXQ="));
        assert_eq!(told(exchange.answer(answer.clone())), outcome);
        assert_ne!(told(exchange.answer(Answer::Accepted(Login::new("tim")))), "tim!");
        let password = Password(b"secret".to_vec());
        let (mut exchange, _) = Exchange::of_password("tim".into(), password);
        assert_eq!(told(exchange.answer(answer)), outcome);
    }
}

const BEARER: &[u8] = b"n,a=tim,\x01auth=Bearer t0ken\x01\x01";
const XOAUTH2: &[u8] = b"user=tim\x01auth=Bearer t0ken\x01\x01";

/// Exchanges of both forms that wait for the driver.
fn with_token() -> [(Exchange, &'static str); 2] {
    [(Mechanism::OAuthBearer, BEARER), (Mechanism::XOAuth2, XOAUTH2)].map(|(mechanism, message)| {
        let (exchange, step) = Exchange::new(mechanism, Some(&encoded(message)));
        assert_eq!(told(step), "tim/t0ken");
        let error = match mechanism {
            Mechanism::OAuthBearer => r#"{"status":"invalid_token"}"#,
            _ => r#"{"status":"401","schemes":"bearer"}"#,
        };
        (exchange, error)
    })
}

#[test]
fn a_token_that_is_good_ends_the_exchange_at_once() {
    for (mut exchange, _) in with_token() {
        assert_eq!(told(exchange.answer(Answer::Accepted(Login::new("tim")))), "tim!");
        assert_eq!(told(exchange.step(b"AQ==")), "Malformed", "it is over");
    }
    for (mechanism, message) in [(Mechanism::OAuthBearer, BEARER), (Mechanism::XOAuth2, XOAUTH2)] {
        let (mut exchange, step) = Exchange::new(mechanism, None);
        assert_eq!(told(step), "+ ");
        assert_eq!(told(exchange.step(&encoded(message))), "tim/t0ken");
    }
}

#[test]
fn a_bad_token_is_answered_with_an_error_that_the_client_acknowledges() {
    let answers = [(Answer::Wrong, "BadToken"), (Answer::NotAuthorized, "NotAuthorized")];
    for (answer, failure) in answers {
        // ^A by the standard, nothing at all in the older form, and `*` at any time
        for (line, outcome) in
            [(&b"AQ=="[..], failure), (b"", failure), (b"AHg=", failure), (b"*", "Cancelled")]
        {
            for (mut exchange, error) in with_token() {
                let challenge = format!("+ {}", STANDARD.encode(error));
                assert_eq!(told(exchange.answer(answer.clone())), challenge);
                assert_eq!(told(exchange.step(line)), outcome);
                assert_eq!(told(exchange.step(line)), told(exchange.step(line)), "it is over");
                let late = exchange.answer(Answer::Accepted(Login::new("tim")));
                assert!(matches!(late, Step::Failed(_)));
            }
        }
    }
}

#[test]
fn an_error_cannot_be_talked_away() {
    for (mut exchange, _) in with_token() {
        let _ = exchange.answer(Answer::Wrong);
        assert_eq!(told(exchange.answer(Answer::Accepted(Login::new("tim")))), "Wrong");
        assert_eq!(told(exchange.step(b"AQ==")), "Malformed");
    }
}

#[test]
fn without_a_token_the_error_comes_and_nobody_is_asked() {
    let message = encoded(b"n,a=tim,\x01auth=\x01\x01");
    let (mut exchange, step) = Exchange::new(Mechanism::OAuthBearer, Some(&message));
    assert_eq!(told(step), format!("+ {}", STANDARD.encode(r#"{"status":"invalid_token"}"#)));
    assert_eq!(told(exchange.step(b"AQ==")), "BadToken");
}

#[test]
fn nobody_being_able_to_tell_is_no_error_of_the_token() {
    for (mut exchange, _) in with_token() {
        assert_eq!(told(exchange.answer(Answer::TryLater)), "TryLater");
    }
}

#[test]
fn lines_with_tokens_may_be_longer_than_those_with_passwords() {
    for mechanism in Mechanism::ALL {
        let (mut exchange, _) = Exchange::new(mechanism, None);
        let longest = match mechanism.is_bearer() {
            true => bearer::LINE_BYTES_MAX,
            false => LINE_BYTES_MAX,
        };
        assert_eq!(exchange.line_bytes_max(), longest);
        assert_eq!(mechanism.line_bytes_max(), longest);
        assert_eq!(told(exchange.step(&vec![b'A'; longest + 4])), "Malformed");
    }
    let token = "t".repeat(bearer::TOKEN_BYTES_MAX);
    let message = format!("n,,\u{1}auth=Bearer {token}\u{1}\u{1}");
    let (_, step) = Exchange::new(Mechanism::OAuthBearer, Some(&encoded(message.as_bytes())));
    assert_eq!(told(step), format!("/{token}"));
}

#[test]
fn what_was_not_asked_cannot_be_answered() {
    let (mut exchange, _) = Exchange::new(Mechanism::Plain, None);
    assert_eq!(told(exchange.answer(Answer::Accepted(Login::new("tim")))), "Wrong");
    let (mut exchange, _) = Exchange::new(Mechanism::Plain, Some(b"AHRpbQBzZWNyZXQ="));
    assert_eq!(told(exchange.step(b"AHRpbQBzZWNyZXQ=")), "Malformed", "not twice");
}

#[test]
fn a_star_cancels_an_exchange_that_has_begun() {
    for mechanism in Mechanism::ALL {
        let (mut exchange, _) = Exchange::new(mechanism, None);
        assert_eq!(told(exchange.step(b"*")), "Cancelled");
        assert_eq!(told(exchange.step(b"dGlt")), "Malformed", "it is over");
        assert_eq!(told(Exchange::new(mechanism, Some(b"*")).1), "Malformed");
    }
}

#[test]
fn an_equals_sign_is_an_empty_initial_response_and_nothing_later() {
    assert_eq!(told(Exchange::new(Mechanism::Plain, Some(b"=")).1), "Malformed");
    let (mut exchange, _) = Exchange::new(Mechanism::Login, None);
    assert_eq!(told(exchange.step(b"=")), "Malformed");
}

#[test]
fn what_is_not_base64_is_malformed() {
    for line in [&b"AHRpbQBzZWNyZXQ"[..], b"AHRp bQ==", b"%%%", b"AHRpbQ==\r", b"====", b"\xff"] {
        assert_eq!(told(Exchange::new(Mechanism::Plain, Some(line)).1), "Malformed");
    }
}

#[test]
fn login_and_password_have_their_longest() {
    let response = |login, password| {
        [b"\0", "a".repeat(login).as_bytes(), b"\0", "b".repeat(password).as_bytes()].concat()
    };
    assert!(plain(&response(LOGIN_BYTES_MAX, PASSWORD_BYTES_MAX)).starts_with("aaa"));
    assert_eq!(plain(&response(LOGIN_BYTES_MAX + 1, 1)), "Malformed");
    assert_eq!(plain(&response(1, PASSWORD_BYTES_MAX + 1)), "Malformed");
    let longest = "a".repeat(LOGIN_BYTES_MAX);
    let whole = [longest.as_bytes(), &response(LOGIN_BYTES_MAX, PASSWORD_BYTES_MAX)].concat();
    assert_eq!(encoded(&whole).len(), LINE_BYTES_MAX);
    assert!(plain(&whole).starts_with("aaa"));
}

#[test]
fn mechanisms_are_named_in_any_case() {
    assert_eq!(Mechanism::parse("plain"), Some(Mechanism::Plain));
    assert_eq!(Mechanism::parse("Login"), Some(Mechanism::Login));
    assert_eq!(Mechanism::parse("scram-sha-256"), Some(Mechanism::ScramSha256));
    assert_eq!(Mechanism::parse("OAuthBearer"), Some(Mechanism::OAuthBearer));
    assert_eq!(Mechanism::parse("xoauth2"), Some(Mechanism::XOAuth2));
    assert_eq!(Mechanism::parse("scram-sha-256-plus"), Some(Mechanism::ScramSha256Plus));
    assert_eq!(Mechanism::parse("SCRAM-SHA-1-PLUS"), None);
}

proptest! {
    #[test]
    fn no_lines_make_an_exchange_panic(
        mechanism in prop::sample::select(&Mechanism::ALL[..]),
        initial in proptest::option::of(proptest::collection::vec(any::<u8>(), 0..40)),
        lines in proptest::collection::vec(proptest::collection::vec(any::<u8>(), 0..40), 0..4),
    ) {
        let (mut exchange, _) = Exchange::new(mechanism, initial.as_deref());
        for line in lines {
            let _ = exchange.step(&line);
            let _ = exchange.step(&encoded(&line));
        }
    }
}
