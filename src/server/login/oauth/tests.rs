//! Which tokens count: tables of claims and heads, keys of each kind, and keys that are replaced
//! while the daemon runs. Everything that goes over the network is tested from outside, by
//! `tests/clients`.

use std::fs;
use std::net::{IpAddr, Ipv4Addr};
use std::path::PathBuf;
use std::sync::atomic::{AtomicUsize, Ordering};

use aws_lc_rs::rand::SystemRandom;
use aws_lc_rs::rsa::KeySize;
use aws_lc_rs::signature::{
    ECDSA_P256_SHA256_FIXED_SIGNING, EcdsaKeyPair, Ed25519KeyPair, KeyPair, RSA_PKCS1_SHA256,
    RSA_PKCS1_SHA512, RSA_PSS_SHA256, RsaKeyPair,
};
use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use serde_json::{Value, json};
use tokio::sync::watch;

use super::*;
use crate::directory::{Directory, password};
use crate::mail::id::{Login, Timestamp};
use crate::sasl::{Answer, Question};
use crate::server::login::{Authenticator, LOGIN_BYTES_MAX, throttle};
use crate::sys::ManualClock;
use token::{KEYS_MAX, LEEWAY_SECS, read_keys};

const NOW: i64 = 1_764_150_000;
const ISSUER: &str = "https://login.example.org";

/// A key of the issuer's.
enum Pair {
    Rsa(RsaKeyPair),
    Ec(EcdsaKeyPair),
    Ed(Ed25519KeyPair),
}

impl Pair {
    fn rsa() -> Pair {
        Pair::Rsa(RsaKeyPair::generate(KeySize::Rsa2048).expect("a key"))
    }

    fn ec() -> Pair {
        Pair::Ec(EcdsaKeyPair::generate(&ECDSA_P256_SHA256_FIXED_SIGNING).expect("a key"))
    }

    fn ed() -> Pair {
        Pair::Ed(Ed25519KeyPair::generate().expect("a key"))
    }

    fn jwk(&self, kid: &str) -> Value {
        match self {
            Pair::Rsa(pair) => {
                let public = pair.public_key();
                let (n, e) = (public.modulus(), public.exponent());
                let n = encoded(n.big_endian_without_leading_zero());
                let e = encoded(e.big_endian_without_leading_zero());
                json!({"kty": "RSA", "use": "sig", "kid": kid, "n": n, "e": e})
            }
            Pair::Ec(pair) => {
                let point = pair.public_key().as_ref();
                let (x, y) = (encoded(&point[1..33]), encoded(&point[33..]));
                json!({"kty": "EC", "crv": "P-256", "kid": kid, "x": x, "y": y})
            }
            Pair::Ed(pair) => {
                let x = encoded(pair.public_key().as_ref());
                json!({"kty": "OKP", "crv": "Ed25519", "kid": kid, "x": x})
            }
        }
    }

    fn token(&self, head: &Value, claims: &Value) -> BearerToken {
        let random = SystemRandom::new();
        let text = format!("{}.{}", encoded_json(head), encoded_json(claims));
        let signature = match self {
            Pair::Rsa(pair) => {
                let mut signature = vec![0; pair.public_modulus_len()];
                let padding: &'static dyn aws_lc_rs::signature::RsaEncoding =
                    match head["alg"].as_str() {
                        Some("PS256") => &RSA_PSS_SHA256,
                        Some("RS512") => &RSA_PKCS1_SHA512,
                        _ => &RSA_PKCS1_SHA256,
                    };
                pair.sign(padding, &random, text.as_bytes(), &mut signature).expect("signed");
                signature
            }
            Pair::Ec(pair) => pair.sign(&random, text.as_bytes()).expect("signed").as_ref().into(),
            Pair::Ed(pair) => pair.sign(text.as_bytes()).as_ref().into(),
        };
        BearerToken(format!("{text}.{}", encoded(&signature)))
    }
}

fn encoded(bytes: impl AsRef<[u8]>) -> String {
    URL_SAFE_NO_PAD.encode(bytes)
}

fn encoded_json(value: &Value) -> String {
    encoded(value.to_string())
}

fn set(keys: &[Value]) -> String {
    json!({ "keys": keys }).to_string()
}

fn head(alg: &str, kid: &str) -> Value {
    json!({"alg": alg, "kid": kid, "typ": "JWT"})
}

/// Of a token that counts.
fn claims() -> Value {
    json!({
        "iss": ISSUER, "aud": "postfach", "exp": NOW + 300, "nbf": NOW, "sub": "f81d4fae",
        "preferred_username": "anna",
    })
}

/// `claims` with this in place of what there is.
fn but(changes: Value) -> Value {
    let mut claims = claims();
    let (Value::Object(claims), Value::Object(changes)) = (&mut claims, changes) else {
        return claims;
    };
    for (name, value) in changes {
        match value {
            Value::Null => claims.remove(&name),
            value => claims.insert(name, value),
        };
    }
    Value::Object(claims.clone())
}

/// An issuer's keys in a file, and a clock.
struct World {
    folder: PathBuf,
    clock: Arc<ManualClock>,
}

impl World {
    fn new(keys: &[Value]) -> World {
        static NEXT: AtomicUsize = AtomicUsize::new(0);
        let number = NEXT.fetch_add(1, Ordering::Relaxed);
        let name = format!("postfach-oauth-{}-{number}", std::process::id());
        let world = World { folder: std::env::temp_dir().join(name), clock: Arc::default() };
        fs::create_dir_all(&world.folder).expect("a folder");
        world.clock.set(Timestamp::from_seconds(NOW));
        world.serve(&set(keys));
        world
    }

    fn serve(&self, keys: &str) {
        fs::write(self.folder.join("keys.json"), keys).expect("written");
    }

    fn config(&self, lines: &str) -> Oauth {
        let text = format!(
            "hostname = \"mail.example.org\"\n[auth.oauth]\nissuer = \"{ISSUER}\"\n\
             audience = \"postfach\"\n{lines}\n"
        );
        let config = crate::config::parse(&text, &self.folder.join("p.toml")).expect("valid");
        config.oauth.expect("a table")
    }

    fn load(&self, lines: &str) -> Result<Tokens, Vec<Fault>> {
        Tokens::load(&self.config(lines), self.clock.clone())
    }

    fn tokens(&self) -> Tokens {
        self.load("jwks = \"file:keys.json\"").expect("keys")
    }
}

impl Drop for World {
    fn drop(&mut self) {
        let _ = fs::remove_dir_all(&self.folder);
    }
}

fn genuine() -> Verdict {
    Verdict::Genuine("anna".to_owned())
}

#[tokio::test]
async fn tokens_signed_by_each_kind_of_key_count() {
    let (rsa, ec, ed) = (Pair::rsa(), Pair::ec(), Pair::ed());
    let world = World::new(&[rsa.jwk("r"), ec.jwk("e"), ed.jwk("d")]);
    let tokens = world.tokens();
    for (pair, alg, kid) in
        [(&rsa, "RS256", "r"), (&rsa, "PS256", "r"), (&ec, "ES256", "e"), (&ed, "EdDSA", "d")]
    {
        assert_eq!(
            tokens.verdict(&pair.token(&head(alg, kid), &claims())).await,
            genuine(),
            "{alg}"
        );
        let nameless = json!({ "alg": alg });
        assert_eq!(tokens.verdict(&pair.token(&nameless, &claims())).await, genuine(), "{alg}");
        let other = pair.token(&head(alg, "x"), &claims());
        assert!(matches!(tokens.verdict(&other).await, Verdict::Refused(_)), "{alg}");
    }
}

#[tokio::test]
async fn neither_none_nor_a_public_key_as_a_password_is_a_signature() {
    let rsa = Pair::rsa();
    let jwk = rsa.jwk("r");
    let oct = json!({"kty": "oct", "kid": "o", "k": encoded(b"a secret of the issuer")});
    let tokens = World::new(&[jwk.clone(), oct]).tokens();
    let hmac = |key: &[u8], kid: &str| {
        let text = format!("{}.{}", encoded_json(&head("HS256", kid)), encoded_json(&claims()));
        let key = aws_lc_rs::hmac::Key::new(aws_lc_rs::hmac::HMAC_SHA256, key);
        let tag = aws_lc_rs::hmac::sign(&key, text.as_bytes());
        format!("{text}.{}", encoded(tag.as_ref()))
    };
    let unsigned =
        |alg: &str| format!("{}.{}.", encoded_json(&head(alg, "r")), encoded_json(&claims()));
    let good = rsa.token(&head("RS256", "r"), &claims()).0;
    let n = jwk["n"].as_str().expect("a modulus").to_owned();
    let other_claims = encoded_json(&but(json!({"preferred_username": "ben"})));
    let mut parts: Vec<&str> = good.split('.').collect();
    parts[1] = &other_claims;
    for token in [
        unsigned("none"),
        unsigned("None"),
        unsigned("RS256"),
        hmac(n.as_bytes(), "r"),
        hmac(b"a secret of the issuer", "o"),
        parts.join("."),
        rsa.token(&head("RS512", "r"), &claims()).0,
        rsa.token(&head("ES256", "r"), &claims()).0,
        rsa.token(&json!({"alg": "RS256", "kid": "r", "crit": ["x"], "x": 1}), &claims()).0,
        Pair::rsa().token(&head("RS256", "r"), &claims()).0,
        good[..good.len() - 4].to_owned(),
        format!("{good}.x"),
        "opaque".to_owned(),
        "..".to_owned(),
        String::new(),
    ] {
        let verdict = tokens.verdict(&BearerToken(token.clone())).await;
        assert!(matches!(verdict, Verdict::Refused(_)), "{token}: {verdict:?}");
    }
    assert_eq!(tokens.verdict(&BearerToken(good)).await, genuine());
}

#[tokio::test]
async fn a_key_that_a_token_brings_along_or_points_to_is_not_looked_at() {
    let (ours, theirs) = (Pair::ec(), Pair::ec());
    let tokens = World::new(&[ours.jwk("e")]).tokens();
    let head = json!({
        "alg": "ES256", "jwk": theirs.jwk("e"), "jku": "https://evil.example/keys",
    });
    let verdict = tokens.verdict(&theirs.token(&head, &claims())).await;
    assert_eq!(verdict, Verdict::Refused("its signature is wrong"));
}

#[tokio::test]
async fn claims_are_for_us_and_now_and_name_somebody() {
    let ec = Pair::ec();
    let tokens = World::new(&[ec.jwk("e")]).tokens();
    let (early, late) = (NOW - LEEWAY_SECS, NOW + LEEWAY_SECS);
    for (changes, counts) in [
        (json!({}), true),
        (json!({"aud": ["other", "postfach"]}), true),
        (json!({"aud": "other"}), false),
        (json!({"aud": ["other"]}), false),
        (json!({"aud": "Postfach"}), false),
        (json!({"aud": {"postfach": 1}}), false),
        (json!({"aud": null}), false),
        (json!({"iss": "https://login.example.org/"}), false),
        (json!({"iss": [ISSUER]}), false),
        (json!({"iss": null}), false),
        (json!({"exp": early + 1}), true),
        (json!({"exp": early}), false),
        (json!({"exp": 1.8e9}), true),
        (json!({"exp": "2030-01-01"}), false),
        (json!({"exp": null}), false),
        (json!({"nbf": late}), true),
        (json!({"nbf": late + 1}), false),
        (json!({"nbf": "soon"}), false),
        (json!({"nbf": null}), true),
        (json!({"iat": NOW + 900}), true),
        (json!({"preferred_username": null}), false),
        (json!({"preferred_username": ["anna"]}), false),
    ] {
        let verdict = tokens.verdict(&ec.token(&head("ES256", "e"), &but(changes.clone()))).await;
        assert_eq!(verdict == genuine(), counts, "{changes}: {verdict:?}");
        assert_eq!(matches!(verdict, Verdict::Refused(_)), !counts, "{changes}");
    }
}

#[tokio::test]
async fn an_address_that_was_not_verified_names_nobody() {
    let ec = Pair::ec();
    let world = World::new(&[ec.jwk("e")]);
    let lines = "jwks = \"file:keys.json\"\nlogin_claim = \"email\"";
    let tokens = world.load(lines).expect("keys");
    for (verified, counts) in [(json!(true), true), (Value::Null, true), (json!(false), false)] {
        let changes = json!({"email": "anna@example.org", "email_verified": verified});
        let verdict = tokens.verdict(&ec.token(&head("ES256", "e"), &but(changes))).await;
        assert_eq!(verdict == Verdict::Genuine("anna@example.org".into()), counts, "{verdict:?}");
    }
}

#[tokio::test]
async fn keys_are_looked_for_again_once_a_minute_and_the_old_ones_stay_where_that_fails() {
    let (old, new, newer) = (Pair::ec(), Pair::ec(), Pair::ec());
    let world = World::new(&[old.jwk("old")]);
    let tokens = world.tokens();
    let by = |pair: &Pair, kid: &str| pair.token(&head("ES256", kid), &claims());
    let counts = async |token: BearerToken| tokens.verdict(&token).await == genuine();
    assert!(counts(by(&old, "old")).await);
    world.serve(&set(&[old.jwk("old"), new.jwk("new")]));
    assert!(counts(by(&new, "new")).await, "at once");
    world.serve(&set(&[newer.jwk("newer")]));
    let at = |secs| world.clock.set(Timestamp::from_seconds(NOW + secs));
    at(keys::RETRY_SECS - 1);
    assert!(!counts(by(&newer, "newer")).await, "a moment ago they were looked for");
    assert!(counts(by(&old, "old")).await);
    at(keys::RETRY_SECS);
    assert!(counts(by(&newer, "newer")).await);
    assert!(!counts(by(&old, "old")).await, "it is the issuer's no longer");
    for broken in ["", "{}", "<html>", r#"{"keys":[]}"#, r#"{"keys":[{"kty":"oct","k":"AA"}]}"#] {
        world.serve(broken);
        at(2 * keys::RETRY_SECS);
        assert!(!counts(by(&old, "old")).await);
        assert!(counts(by(&newer, "newer")).await, "{broken}");
    }
}

#[tokio::test]
async fn keys_without_names_are_replaced_as_well() {
    let (old, new) = (Pair::ec(), Pair::ec());
    let nameless = |pair: &Pair| {
        let mut key = pair.jwk("");
        key.as_object_mut().expect("an object").remove("kid");
        key
    };
    let world = World::new(&[nameless(&old)]);
    let tokens = world.tokens();
    world.serve(&set(&[nameless(&new)]));
    let token = new.token(&json!({"alg": "ES256"}), &claims());
    assert_eq!(tokens.verdict(&token).await, genuine());
    world.serve(&set(&[nameless(&old)]));
    let token = old.token(&json!({"alg": "ES256"}), &claims());
    assert!(matches!(tokens.verdict(&token).await, Verdict::Refused(_)), "not twice in a minute");
}

#[tokio::test]
async fn keys_that_suffice_are_looked_for_again_after_an_hour() {
    let (kept, revoked) = (Pair::ec(), Pair::ec());
    let world = World::new(&[kept.jwk("k"), revoked.jwk("r")]);
    let tokens = world.tokens();
    world.serve(&set(&[kept.jwk("k")]));
    let claims = but(json!({"exp": NOW + 9000}));
    let revoked = revoked.token(&head("ES256", "r"), &claims);
    world.clock.set(Timestamp::from_seconds(NOW + keys::REFRESH_SECS - 1));
    assert_eq!(tokens.verdict(&revoked).await, genuine());
    world.clock.set(Timestamp::from_seconds(NOW + keys::REFRESH_SECS));
    assert_eq!(tokens.verdict(&revoked).await, genuine(), "nobody waits for it");
    for _ in 0..200 {
        if tokens.verdict(&revoked).await != genuine() {
            return;
        }
        tokio::time::sleep(std::time::Duration::from_millis(10)).await;
    }
    panic!("the keys are still the old ones");
}

#[tokio::test]
async fn without_any_keys_nobody_can_tell() {
    let world = World::new(&[]);
    // nobody listens there
    let tokens = world.load("jwks = \"https://127.0.0.1:1/keys\"").expect("no files");
    let token = Pair::ec().token(&head("ES256", "e"), &claims());
    assert_eq!(tokens.verdict(&token).await, Verdict::Unknown);
    let never = Verdict::Refused("its signature is of a kind that does not count");
    let unsigned = format!("{}.{}.", encoded_json(&head("HS256", "r")), encoded_json(&claims()));
    assert_eq!(tokens.verdict(&BearerToken(unsigned)).await, never, "that can be told");
}

const HERE: IpAddr = IpAddr::V4(Ipv4Addr::new(192, 0, 2, 1));
const THERE: IpAddr = IpAddr::V4(Ipv4Addr::new(192, 0, 2, 2));

/// The issuer's key, and the daemon's side of a login: anna and ben, and what is declared.
struct Rig {
    pair: Pair,
    authenticator: Authenticator,
    declare: watch::Sender<Arc<Directory>>,
    _world: World,
}

impl Rig {
    fn new() -> Rig {
        let pair = Pair::ec();
        let world = World::new(&[pair.jwk("e")]);
        let user = |login: &str| {
            format!(
                "[[user]]\nlogin = \"{login}\"\nname = \"{login}\"\n\
                 password = \"{}\"\naddresses = [\"{login}@example.org\"]\n",
                password::NOBODY
            )
        };
        let text = format!(
            "[[domain]]\nname = \"example.org\"\n{}{}[[inbox]]\nname = \"Support\"\n\
             addresses = [\"support@example.org\"]\n",
            user("anna"),
            user("ben")
        );
        let directory = crate::directory::file::parse(&text, Path::new("d.toml")).expect("valid");
        let (declare, watched) = watch::channel(Arc::new(directory));
        let authenticator = Authenticator::new(watched, world.clock.clone());
        let authenticator = authenticator.with_tokens(Some(world.tokens()));
        Rig { pair, authenticator, declare, _world: world }
    }

    fn token(&self, name: &str) -> BearerToken {
        self.pair.token(&head("ES256", "e"), &but(json!({ "preferred_username": name })))
    }

    async fn shown(&self, peer: IpAddr, token: BearerToken, authzid: Option<&str>) -> Answer {
        let authzid = authzid.map(str::to_owned);
        self.authenticator.answer(peer, &Question::Token { authzid, token }).await
    }
}

#[tokio::test(start_paused = true)]
async fn a_token_logs_in_the_user_whom_it_names_by_login_or_own_address() {
    let rig = Rig::new();
    let anna = Answer::Accepted(Login::new("anna"));
    for (name, authzid, answer) in [
        ("anna", None, anna.clone()),
        ("ANNA", Some("Anna"), anna.clone()),
        ("anna@example.org", Some("anna"), anna.clone()),
        ("anna", Some("anna@example.org"), anna.clone()),
        ("anna", Some("ben"), Answer::NotAuthorized),
        ("anna", Some("support@example.org"), Answer::NotAuthorized),
        ("support@example.org", None, Answer::Wrong),
        ("carla", None, Answer::Wrong),
        ("carla", Some("anna"), Answer::Wrong),
        ("", None, Answer::Wrong),
    ] {
        let answered = rig.shown(HERE, rig.token(name), authzid).await;
        assert_eq!(answered, answer, "{name} as {authzid:?}");
    }
    let long = rig.token(&"a".repeat(LOGIN_BYTES_MAX + 1));
    assert_eq!(rig.shown(HERE, long, None).await, Answer::Wrong);
    rig.declare.send_replace(Arc::default());
    assert_eq!(rig.shown(HERE, rig.token("anna"), None).await, Answer::Wrong, "not declared now");
}

#[tokio::test(start_paused = true)]
async fn tokens_that_are_not_genuine_count_for_the_address_and_for_no_user() {
    let rig = Rig::new();
    let forged = || Pair::ec().token(&head("ES256", "e"), &claims());
    for n in 0..throttle::ADDRESS_FAILURES_MAX {
        assert_eq!(rig.shown(HERE, forged(), Some("anna")).await, Answer::Wrong, "{n}");
    }
    assert_eq!(rig.shown(HERE, rig.token("anna"), None).await, Answer::TryLater);
    let began = tokio::time::Instant::now();
    assert_eq!(rig.shown(THERE, forged(), Some("anna")).await, Answer::Wrong);
    assert!(began.elapsed().is_zero(), "anna has no failures");
    let answer = rig.shown(THERE, rig.token("anna"), None).await;
    assert_eq!(answer, Answer::Accepted(Login::new("anna")));
}

#[tokio::test(start_paused = true)]
async fn who_wants_to_be_somebody_else_with_a_genuine_token_is_slowed_and_refused() {
    let rig = Rig::new();
    let began = tokio::time::Instant::now();
    for _ in 0..throttle::PAIR_FAILURES_MAX {
        let answer = rig.shown(HERE, rig.token("anna"), Some("ben")).await;
        assert_eq!(answer, Answer::NotAuthorized);
    }
    assert!(began.elapsed().as_secs() > 30, "{:?}", began.elapsed());
    assert_eq!(rig.shown(HERE, rig.token("anna"), None).await, Answer::TryLater);
    let ben = Answer::Accepted(Login::new("ben"));
    assert_eq!(rig.shown(HERE, rig.token("ben"), None).await, ben, "it was not his doing");
}

#[tokio::test]
async fn where_tokens_are_not_taken_none_counts() {
    let rig = Rig::new();
    let plain = Authenticator::new(rig.declare.subscribe(), rig._world.clock.clone());
    assert!(!plain.takes_tokens() && rig.authenticator.takes_tokens());
    let question = Question::Token { authzid: None, token: rig.token("anna") };
    assert_eq!(plain.answer(HERE, &question).await, Answer::Wrong);
}

#[test]
fn keys_that_cannot_be_used_are_passed_over() {
    let (rsa, ec) = (Pair::rsa(), Pair::ec());
    let changed = |mut key: Value, name: &str, value: Value| {
        key[name] = value;
        key
    };
    let useless = [
        json!("x"),
        json!({"kty": "unheard-of", "kid": "u"}),
        json!({"kty": "RSA", "n": "AQAB"}),
        json!({"kty": "oct", "k": "AA"}),
        changed(rsa.jwk("enc"), "use", json!("enc")),
        changed(rsa.jwk("oaep"), "alg", json!("RSA-OAEP")),
        changed(rsa.jwk("rs512"), "alg", json!("RS512")),
        changed(ec.jwk("p384"), "crv", json!("P-384")),
    ];
    assert!(read_keys(set(&useless).as_bytes()).is_err());
    let with_good = [&useless[..], &[ec.jwk("good")]].concat();
    assert_eq!(read_keys(set(&with_good).as_bytes()).expect("a key").len(), 1);
    let many = vec![ec.jwk("e"); KEYS_MAX + 1];
    assert_eq!(read_keys(set(&many).as_bytes()).expect("keys").len(), KEYS_MAX);
}

#[test]
fn files_that_are_missing_or_of_no_use_are_faults_with_a_place() {
    let world = World::new(&[Pair::ec().jwk("e")]);
    fs::write(world.folder.join("empty"), "").expect("written");
    let longest = " ".repeat(keys::KEYS_BYTES_MAX - set(&[]).len());
    fs::write(world.folder.join("long"), set(&[]) + &longest + " ").expect("written");
    let introspection = "introspection = \"https://login.example.org/i\"\nclient_id = \"m\"\n";
    for (lines, place) in [
        ("jwks = \"file:missing.json\"".to_owned(), "p.toml:5:8: "),
        ("jwks = \"file:empty\"".to_owned(), "p.toml:5:8: "),
        ("jwks = \"file:long\"".to_owned(), "p.toml:5:8: "),
        ("ca = \"missing.pem\"".to_owned(), "p.toml:5:6: "),
        (format!("{introspection}client_secret = \"file:missing\""), "p.toml:7:17: "),
        (format!("{introspection}client_secret = \"file:empty\""), "p.toml:7:17: "),
    ] {
        let faults = world.load(&lines).err().expect("a fault");
        assert_eq!(faults.len(), 1);
        assert!(faults[0].to_string().contains(place), "{}", faults[0]);
    }
    assert!(world.load("").is_ok(), "and nobody is asked yet");
}
