//! Lines of a SASL exchange, raw and in base64: nothing panics, nobody is logged in without a
//! question that the driver has answered, and what is over stays over.
#![no_main]

use libfuzzer_sys::fuzz_target;
use postfach::mail::id::Login;
use postfach::sasl::bearer::TOKEN_BYTES_MAX;
use postfach::sasl::scram::{Keys, Proof};
use postfach::sasl::{Answer, Exchange, Failure, Mechanism, Question, Step};

fuzz_target!(|data: &[u8]| {
    let Some((&choice, input)) = data.split_first() else { return };
    let mechanism = Mechanism::ALL[usize::from(choice) % Mechanism::ALL.len()];
    let mut lines = input.split(|&byte| byte == b'\n').map(|line| match choice & 0x80 {
        0 => base64(line),
        _ => line.to_vec(),
    });
    let initial = if choice & 0x40 == 0 { None } else { lines.next() };
    let (mut exchange, mut step) = Exchange::new(mechanism, initial.as_deref());
    let mut accepted = false;
    loop {
        step = match step {
            Step::Challenge(_) => match lines.next() {
                Some(line) => exchange.step(&line),
                None => return,
            },
            Step::Ask(question) => {
                let answer = answer(&question);
                accepted |= matches!(answer, Answer::Accepted(_));
                exchange.answer(answer)
            }
            Step::Done(_) => {
                assert!(accepted);
                break;
            }
            Step::Failed(_) => break,
        };
    }
    for line in lines {
        let failure = if line == b"*" { Failure::Cancelled } else { Failure::Malformed };
        assert!(matches!(exchange.step(&line), Step::Failed(why) if why == failure));
    }
});

fn answer(question: &Question) -> Answer {
    match question {
        Question::Keys { .. } => {
            let (iterations, salt, nonce) = (4096, b"salt".to_vec(), "nonce".to_owned());
            let (stored_key, server_key) = ([1; 32], [2; 32]);
            Answer::Keys(Box::new(Keys { iterations, salt, stored_key, server_key, nonce }))
        }
        Question::Proof { proof: Proof::Right(_), .. } => panic!("a proof was found by chance"),
        Question::Proof { proof: Proof::Wrong, .. } => Answer::Wrong,
        Question::Password { login, .. } => Answer::Accepted(Login::new(login)),
        Question::Token { authzid, token } => {
            assert!(!token.0.is_empty() && token.0.len() <= TOKEN_BYTES_MAX);
            match token.0.as_bytes()[0] {
                b'0' => Answer::Wrong,
                b'1' => Answer::NotAuthorized,
                b'2' => Answer::TryLater,
                _ => Answer::Accepted(Login::new(authzid.as_deref().unwrap_or("anna"))),
            }
        }
    }
}

fn base64(bytes: &[u8]) -> Vec<u8> {
    const DIGITS: &[u8; 64] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
    let mut text = Vec::new();
    for group in bytes.chunks(3) {
        let octet = |at: usize| u32::from(group.get(at).copied().unwrap_or(0));
        let bits = octet(0) << 16 | octet(1) << 8 | octet(2);
        for at in 0..4 {
            let digit = DIGITS[(bits >> (18 - 6 * at) & 63) as usize];
            text.push(if at <= group.len() { digit } else { b'=' });
        }
    }
    text
}
