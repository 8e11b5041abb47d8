//! OAUTHBEARER and XOAUTH2, the server's side: one message that holds a token, and an error that
//! the client acknowledges. Whether a token is good, and whose it is, only the driver knows.
//! RFC 7628; Google's "OAuth 2.0 Mechanism" for IMAP and SMTP
//!
//! Deliberately not: that `host` and `port` are ours. They are there for tokens that sign them;
//! a bearer token says for whom it is by its audience, and a server has more names than one.
//! RFC 7628 §3.2

use super::scram::name as sasl_name;
use super::{Failure, LOGIN_BYTES_MAX, Question, name};

/// Longest token in bytes.
pub const TOKEN_BYTES_MAX: usize = 8 * 1024;
/// Longest response in bytes, decoded: a token, a user with every character escaped, `host`, `port`
/// and whatever else there may be.
pub const RESPONSE_BYTES_MAX: usize = TOKEN_BYTES_MAX + 3 * LOGIN_BYTES_MAX + 259;
/// Longest line of a response in bytes, without its CRLF.
pub const LINE_BYTES_MAX: usize = RESPONSE_BYTES_MAX.div_ceil(3) * 4;

/// What ends each pair, and all of them. RFC 7628 §3.1 `kvsep`
const SEPARATOR: char = '\u{1}';

/// Who holds it is who it says; without Debug, so that it cannot get into a log.
#[derive(Clone, PartialEq, Eq)]
pub struct BearerToken(pub String);

/// In which form the token comes.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Form {
    /// RFC 7628 §3.1
    OAuthBearer,
    /// `user=` in place of the GS2 header.
    XOAuth2,
}

impl Form {
    /// What is to be asked about a response; none when it holds no token, by which a client may
    /// ask what it needs. RFC 7628 §4.3
    pub(super) fn read(self, response: &[u8]) -> Result<Option<Question>, Failure> {
        if response.len() > RESPONSE_BYTES_MAX {
            return Err(Failure::Malformed);
        }
        let text = std::str::from_utf8(response).map_err(|_| Failure::Malformed)?;
        let (head, pairs) = text.split_once(SEPARATOR).ok_or(Failure::Malformed)?;
        let authzid = match self {
            Form::OAuthBearer => gs2_header(head)?,
            Form::XOAuth2 => Some(user(head)?),
        };
        let token = token(authorization(pairs)?)?;
        Ok(token.map(|token| Question::Token { authzid, token }))
    }

    /// What a client is told whose token does not count. RFC 7628 §3.2.2
    pub(super) fn error(self) -> &'static [u8] {
        match self {
            Form::OAuthBearer => br#"{"status":"invalid_token"}"#,
            Form::XOAuth2 => br#"{"status":"401","schemes":"bearer"}"#,
        }
    }
}

/// `n,` or `y,`, then whom the client wants to act as, and a comma. There is no channel binding.
/// RFC 5801 §4
fn gs2_header(text: &str) -> Result<Option<String>, Failure> {
    let mut parts = text.split(',');
    let (Some("n" | "y"), Some(authzid), Some(""), None) =
        (parts.next(), parts.next(), parts.next(), parts.next())
    else {
        return Err(Failure::Malformed);
    };
    if authzid.is_empty() {
        return Ok(None);
    }
    authzid.strip_prefix("a=").and_then(sasl_name).map(Some).ok_or(Failure::Malformed)
}

fn user(text: &str) -> Result<String, Failure> {
    let user = text.strip_prefix("user=").and_then(|user| name(user.as_bytes()));
    user.ok_or(Failure::Malformed)
}

/// The value of `auth`. Other keys are ignored. RFC 7628 §3.1
fn authorization(pairs: &str) -> Result<&str, Failure> {
    let pairs = pairs.strip_suffix(SEPARATOR).and_then(|pairs| pairs.strip_suffix(SEPARATOR));
    let mut found = None;
    for pair in pairs.ok_or(Failure::Malformed)?.split(SEPARATOR) {
        let (key, value) = pair.split_once('=').ok_or(Failure::Malformed)?;
        let is_key = !key.is_empty() && key.bytes().all(|b| b.is_ascii_alphabetic());
        let is_value = |b: u8| b.is_ascii_graphic() || matches!(b, b' ' | b'\t' | b'\r' | b'\n');
        let is_second = key == "auth" && found.is_some();
        if !is_key || !value.bytes().all(is_value) || is_second {
            return Err(Failure::Malformed);
        }
        if key == "auth" {
            found = Some(value);
        }
    }
    found.ok_or(Failure::Malformed)
}

/// `Bearer`, in any case, and a token. Tokens of another kind are none. RFC 6750 §2.1
fn token(authorization: &str) -> Result<Option<BearerToken>, Failure> {
    let Some((scheme, token)) = authorization.split_once(' ') else { return Ok(None) };
    if !scheme.eq_ignore_ascii_case("bearer") {
        return Ok(None);
    }
    let token = token.trim_start_matches(' ');
    let body = token.trim_end_matches('=');
    let is_token = |b: u8| b.is_ascii_alphanumeric() || b"-._~+/".contains(&b);
    let fits = token.len() <= TOKEN_BYTES_MAX && !body.is_empty() && body.bytes().all(is_token);
    fits.then(|| Some(BearerToken(token.to_owned()))).ok_or(Failure::Malformed)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    /// `authzid/token`, `nothing` or the failure; `^` stands for the separator.
    fn read(form: Form, text: &str) -> String {
        match form.read(text.replace('^', "\u{1}").as_bytes()) {
            Ok(Some(Question::Token { authzid, token })) => {
                format!("{}/{}", authzid.unwrap_or_default(), token.0)
            }
            Ok(Some(_)) => "another question".to_owned(),
            Ok(None) => "nothing".to_owned(),
            Err(failure) => format!("{failure:?}"),
        }
    }

    #[test]
    fn a_token_is_taken_with_and_without_whom_it_is_to_act_for() {
        for (text, told) in [
            // the example of RFC 7628 §4.1
            (
                "n,a=user@example.com,^host=server.example.com^port=143^\
                 auth=Bearer vF9dft4qmTc2Nvb3RlckBhbHRhdmlzdGEuY29tCg==^^",
                "user@example.com/vF9dft4qmTc2Nvb3RlckBhbHRhdmlzdGEuY29tCg==",
            ),
            ("n,,^auth=Bearer a.b-c_d~e+f/g^^", "/a.b-c_d~e+f/g"),
            ("y,,^auth=bEARER x^^", "/x"),
            ("n,,^auth=Bearer   x^^", "/x"),
            ("n,a=a=2Cb=3Dc,^auth=Bearer x^^", "a,b=c/x"),
            ("n,a=größe,^auth=Bearer x^^", "größe/x"),
            ("n,,^auth=Bearer x^host=a b\tc\r\n^qs=^^", "/x"),
        ] {
            assert_eq!(read(Form::OAuthBearer, text), told, "{text}");
        }
    }

    #[test]
    fn a_response_without_a_bearer_token_asks_nothing() {
        for auth in ["", "Bearer", "OAuth realm=\"x\"", "MAC id=\"x\"", "Basic YTpi"] {
            assert_eq!(read(Form::OAuthBearer, &format!("n,,^auth={auth}^^")), "nothing", "{auth}");
            assert_eq!(read(Form::XOAuth2, &format!("user=a^auth={auth}^^")), "nothing", "{auth}");
        }
    }

    #[test]
    fn other_responses_are_malformed() {
        for text in [
            "",
            "^",
            "n,,",
            "n,,^",
            "n,,^^",
            "n,,^auth=Bearer x",
            "n,,^auth=Bearer x^",
            "n,,^auth=Bearer x^^^",
            "n,,^^auth=Bearer x^^",
            "n,,^host=a^^",
            "n,,^auth=Bearer x^auth=Bearer x^^",
            "n,,^AUTH=Bearer x^^",
            "n,,^auth=Bearer x^=y^^",
            "n,,^auth=Bearer x^k1=y^^",
            "n,,^auth=Bearer x^k^^",
            "n,,^auth=Bearer x^k=ü^^",
            "n,,^auth=Bearer x y^^",
            "n,,^auth=Bearer x=y^^",
            "n,,^auth=Bearer =^^",
            "n,,^auth=Bearer \0^^",
            "n^auth=Bearer x^^",
            ",,^auth=Bearer x^^",
            "n,,,^auth=Bearer x^^",
            "n,b=a,^auth=Bearer x^^",
            "n,a=,^auth=Bearer x^^",
            "n,a=a=,^auth=Bearer x^^",
            "n,a=a,b^auth=Bearer x^^",
            "p=tls-unique,,^auth=Bearer x^^",
            "F,n,,^auth=Bearer x^^",
            "user=a^auth=Bearer x^^",
        ] {
            assert_eq!(read(Form::OAuthBearer, text), "Malformed", "{text}");
        }
        assert_eq!(Form::OAuthBearer.read(b"n,,\x01auth=Bearer \xff\x01\x01"), MALFORMED);
    }

    const MALFORMED: Result<Option<Question>, Failure> = Err(Failure::Malformed);

    #[test]
    fn the_older_form_names_its_user_always() {
        // the example of Google's page
        let text = "user=someuser@example.com^auth=Bearer ya29.vF9dft4qmTc2Nvb3RlckBhbHRhdmlz^^";
        let told = "someuser@example.com/ya29.vF9dft4qmTc2Nvb3RlckBhbHRhdmlz";
        assert_eq!(read(Form::XOAuth2, text), told);
        assert_eq!(read(Form::XOAuth2, "user=a=2Cb^auth=Bearer x^^"), "a=2Cb/x");
        for text in [
            "user=^auth=Bearer x^^",
            "user=a\0^auth=Bearer x^^",
            "a^auth=Bearer x^^",
            "auth=Bearer x^^",
            "user=a^auth=Bearer x^",
            "n,,^auth=Bearer x^^",
        ] {
            assert_eq!(read(Form::XOAuth2, text), "Malformed", "{text}");
        }
    }

    #[test]
    fn token_user_and_response_have_their_longest() {
        let token = "t".repeat(TOKEN_BYTES_MAX);
        let bearer = |token: &str| read(Form::OAuthBearer, &format!("n,,^auth=Bearer {token}^^"));
        assert_eq!(bearer(&token), format!("/{token}"));
        assert_eq!(bearer(&format!("{token}t")), "Malformed");
        let user = "u".repeat(LOGIN_BYTES_MAX);
        let older = |user: &str| read(Form::XOAuth2, &format!("user={user}^auth=Bearer x^^"));
        assert_eq!(older(&user), format!("{user}/x"));
        assert_eq!(older(&format!("{user}u")), "Malformed");
        let escaped = "=2C".repeat(LOGIN_BYTES_MAX);
        let whole = |padding: usize| {
            let padding = "p".repeat(padding);
            format!("n,a={escaped},^auth=Bearer {token}^padding={padding}^^")
        };
        let room = RESPONSE_BYTES_MAX - whole(0).len();
        assert_eq!(read(Form::OAuthBearer, &whole(room)).len(), LOGIN_BYTES_MAX + 1 + token.len());
        assert_eq!(read(Form::OAuthBearer, &whole(room + 1)), "Malformed");
        assert_eq!(LINE_BYTES_MAX, 12_288);
    }

    proptest! {
        #[test]
        fn what_a_client_writes_is_read_again(
            authzid in proptest::option::of("[^\0]{1,80}"),
            token in "[A-Za-z0-9._~+/-]{1,200}={0,2}",
            host in "[a-z.]{0,20}",
        ) {
            let escaped = |name: &String| {
                format!("a={}", name.replace('=', "=3D").replace(',', "=2C"))
            };
            let header = authzid.as_ref().map(escaped).unwrap_or_default();
            let text = format!("n,{header},\u{1}host={host}\u{1}auth=Bearer {token}\u{1}\u{1}");
            let read = Form::OAuthBearer.read(text.as_bytes());
            let fits = authzid.as_ref().is_none_or(|a| {
                a.len() <= LOGIN_BYTES_MAX && !a.contains(SEPARATOR)
            });
            let token = BearerToken(token);
            prop_assert_eq!(fits, read == Ok(Some(Question::Token { authzid, token })));
        }

        #[test]
        fn no_bytes_make_it_panic(bytes in proptest::collection::vec(any::<u8>(), 0..80)) {
            let _ = Form::OAuthBearer.read(&bytes);
            let _ = Form::XOAuth2.read(&bytes);
            let framed = [b"n,,\x01auth=Bearer ", &bytes[..], b"\x01\x01"].concat();
            let _ = Form::OAuthBearer.read(&framed);
        }
    }
}
