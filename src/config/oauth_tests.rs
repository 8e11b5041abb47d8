//! What `[auth.oauth]` may say, and which faults are found where.

use std::path::Path;

use super::super::parse;
use super::*;

/// The table with these lines; `Ok(None)` without any.
fn meant(lines: &str) -> Result<Option<Oauth>, Vec<String>> {
    let text = format!("hostname = \"mail.example.org\"\n[listen]\nimap = [\"[::]:143\"]\n{lines}");
    match parse(&text, Path::new("/etc/postfach/p.toml")) {
        Ok(config) => Ok(config.oauth),
        Err(faults) => Err(faults.iter().map(ToString::to_string).collect()),
    }
}

const ISSUER: &str =
    "[auth.oauth]\nissuer = \"https://login.example.org/realm/\"\naudience = \"postfach\"\n";

fn oauth(lines: &str) -> Oauth {
    meant(&format!("{ISSUER}{lines}")).expect("no faults").expect("a table")
}

fn faults(lines: &str) -> Vec<String> {
    meant(&format!("{ISSUER}{lines}")).expect_err("faults")
}

#[test]
fn without_the_table_nobody_takes_tokens() {
    assert_eq!(meant("[auth]\nplaintext_without_tls = \"never\"\n"), Ok(None));
}

#[test]
fn issuer_and_audience_are_enough() {
    let oauth = oauth("");
    assert_eq!(oauth.issuer, "https://login.example.org/realm/", "as it is written");
    assert_eq!((oauth.audience.as_str(), oauth.login_claim.as_str()), ("postfach", LOGIN_CLAIM));
    let found = Url::parse("https://login.example.org/realm/.well-known/openid-configuration");
    assert_eq!(oauth.judge, Judge::Discovery(found.expect("a URL")));
    assert_eq!(oauth.ca, None);
}

#[test]
fn keys_are_in_a_file_or_at_a_url() {
    let at = oauth("jwks = \"https://login.example.org:8443/keys\"\nlogin_claim = \"email\"\n");
    assert_eq!(at.judge, Judge::Keys(Url::new("login.example.org", 8443, "/keys")));
    assert_eq!(at.login_claim, "email");
    let in_file = oauth("jwks = \"file:keys.json\"\nca = \"ca.pem\"\n");
    let Judge::KeyFile(path, _) = in_file.judge else { panic!("{:?}", in_file.judge) };
    assert_eq!(path, Path::new("/etc/postfach/keys.json"));
    assert_eq!(in_file.ca.expect("an authority").0, Path::new("/etc/postfach/ca.pem"));
}

const INTROSPECTION: &str = "introspection = \"https://login.example.org/introspect\"\n";

#[test]
fn introspection_needs_a_name_and_a_secret_in_a_file() {
    let lines = "client_id = \"mail\"\nclient_secret = \"file:oauth.secret\"\n";
    let Judge::Introspection(asked) = oauth(&format!("{INTROSPECTION}{lines}")).judge else {
        panic!("another judge")
    };
    assert_eq!((asked.url.host(), asked.client_id.as_str()), ("login.example.org", "mail"));
    assert_eq!(asked.secret_path, Path::new("/etc/postfach/oauth.secret"));
}

#[test]
fn every_fault_has_its_place() {
    for (lines, found) in [
        ("jwks = \"http://login.example.org/keys\"", &["7:8: "][..]),
        ("jwks = \"file:\"", &["7:8: "]),
        ("jwks = \"keys.json\"", &["7:8: "]),
        ("client_id = \"mail\"\nclient_secret = \"file:s\"", &["7:13: ", "8:17: "]),
        (INTROSPECTION, &["7:17: `client_id`", "7:17: `client_secret`"]),
        ("introspection = \"x\"\nclient_id = \"\"\nclient_secret = \"s\"", &["7:", "8:", "9:17: "]),
        ("login_claim = \"\"", &["7:15: "]),
        ("loginclaim = \"x\"", &["7:1: unknown key"]),
    ] {
        let faults = faults(lines);
        assert_eq!(faults.len(), found.len(), "{lines}: {faults:?}");
        for (fault, place) in faults.iter().zip(found) {
            assert!(fault.starts_with(&format!("/etc/postfach/p.toml:{place}")), "{fault}");
        }
    }
    let both = "jwks = \"file:k\"\nclient_id = \"m\"\nclient_secret = \"file:s\"\n";
    assert_eq!(faults(&format!("{both}{INTROSPECTION}")).len(), 1);
    let faults = meant("[auth.oauth]\n").expect_err("faults");
    assert_eq!(faults.len(), 2, "{faults:?}");
    assert!(faults[0].contains("`issuer`") && faults[1].contains("`audience`"), "{faults:?}");
    let faults = meant("[auth.oauth]\nissuer = \"login.example.org\"\naudience = \"x\"\n");
    assert!(faults.expect_err("a fault")[0].contains(":5:10: "));
}

#[test]
fn names_have_their_longest() {
    let longest = "x".repeat(NAME_BYTES_MAX);
    assert_eq!(oauth(&format!("login_claim = \"{longest}\"")).login_claim, longest);
    assert_eq!(faults(&format!("login_claim = \"{longest}x\"")).len(), 1);
}
