//! What `[outbound]` may say and what it means.

use std::path::Path;

use super::*;
use crate::config::{Config, Fault, parse};

fn parsed(outbound: &str) -> Result<Config, Vec<Fault>> {
    let text = format!("hostname = \"m.example\"\n[outbound]\n{outbound}");
    parse(&text, Path::new("/etc/postfach/postfach.toml"))
}

fn meant(outbound: &str) -> Outbound {
    parsed(outbound).expect(outbound).outbound
}

/// One fault, at this place below `[outbound]`, that says this.
fn refused(outbound: &str, place: &str, words: &str) {
    let faults = parsed(outbound).map(|_| ()).expect_err(outbound);
    let told: Vec<String> = faults.iter().map(Fault::to_string).collect();
    assert_eq!(told.len(), 1, "{told:?}");
    let place = format!("/etc/postfach/postfach.toml:{place}: ");
    assert!(told[0].starts_with(&place) && told[0].contains(words), "{told:?}");
}

#[test]
fn without_a_word_mail_goes_by_mx_with_the_defaults() {
    let outbound = meant("");
    assert_eq!(outbound.routes, Routes::default());
    assert_eq!(outbound.retry, Policy::default());
    assert_eq!(outbound.limits, Limits::default());
    assert_eq!((outbound.resolver.len(), outbound.ca, outbound.login), (0, None, None));
    assert!(outbound.mta_sts && !outbound.dane);
    assert_eq!(meant("via = \"mx\"").routes.via, Via::Mx);
    assert_eq!(meant("via = \"hold\"").routes.via, Via::Hold);
}

#[test]
fn a_smarthost_has_a_user_and_a_password_file() {
    let outbound =
        meant("via = \"smtp://me%40x.example@smart.example\"\npassword = \"file:smart.secret\"");
    let Via::Server(server, Login::Configured) = &outbound.routes.via else {
        panic!("{:?}", outbound.routes.via)
    };
    assert_eq!((server.host.as_str(), server.port), ("smart.example", 587));
    let login = outbound.login.expect("a login");
    assert_eq!(login.user, "me@x.example");
    assert_eq!(login.password_path, Path::new("/etc/postfach/smart.secret"));
    let relay = meant("via = \"smtp://smart.example\"").routes.via;
    assert!(matches!(relay, Via::Server(Server { port: 25, .. }, Login::None)), "{relay:?}");
    let credential = meant("via = \"smtps://me@smart.example\"\npassword = \"credential:smart\"");
    let path = credential.login.expect("a login").password_path;
    assert!(path.ends_with("smart"), "{path:?}");
}

#[test]
fn all_keys_have_a_meaning() {
    let outbound = meant(
        "tls = \"verified\"\nmta_sts = false\nca = \"ca.pem\"\n\
         resolver = [\"127.0.0.1:5353\", \"::1\"]\n\
         port = 2525\nretry_first_secs = 1\nretry_max_secs = 2\ndelay_notice_secs = 3\n\
         expire_hours = 4\nconnections_max = 5\nconnections_per_destination_max = 6\n\
         [[outbound.destination]]\ndomain = \"Own.example\"\ntls = \"off\"\n\
         via = \"smtp://127.0.0.1:26\"\n[[outbound.destination]]\ndomain = \"b.example\"\n",
    );
    let expected = Policy {
        retry_first_secs: 1,
        retry_max_secs: 2,
        delay_notice_secs: 3,
        expire_secs: 4 * 3600,
    };
    assert_eq!(outbound.retry, expected);
    assert_eq!(outbound.limits, Limits { total: 5, per_destination: 6 });
    assert_eq!((outbound.routes.port, outbound.routes.tls), (2525, Security::Verified));
    assert!(!outbound.mta_sts);
    let resolver: Vec<String> = outbound.resolver.iter().map(ToString::to_string).collect();
    assert_eq!(resolver, ["127.0.0.1:5353", "[::1]:53"]);
    assert_eq!(outbound.ca.as_deref(), Some(Path::new("/etc/postfach/ca.pem")));
    let own = &outbound.routes.destinations["own.example"];
    assert_eq!(own.tls, Some(Security::Off));
    assert_eq!(own.via.as_ref().map(|server| server.port), Some(26));
    assert_eq!(outbound.routes.destinations["b.example"], Destination::default());
}

#[test]
fn each_fault_has_its_place_and_says_what_to_do() {
    refused("via = \"smarthost\"", "3:7", "neither smtp:// nor smtps://");
    refused("via = \"smtp://me:x@smart.example\"", "3:7", "the password has a key of its own");
    refused("via = \"smtp://me@smart.example\"", "3:7", "add password = \"file:");
    let inline = "via = \"smtp://me@smart.example\"\npassword = \"geheim\"";
    refused(inline, "4:12", "does not stand in the config itself");
    refused("via = \"smtp://me@s\"\npassword = \"file:\"", "4:12", "credential:NAME");
    refused("tls = \"off\"", "3:7", "write \"opportunistic\" or \"verified\"");
    refused("resolver = [\"dns.example\"]", "3:13", "write an IP address");
    let words = "on this machine";
    refused("dane = true", "3:8", words);
    refused("dane = true\nresolver = [\"127.0.0.1\", \"192.0.2.1\"]", "3:8", words);
    refused("mta_sts = \"on\"", "3:11", "boolean");
    refused("port = 0", "3:8", "from 1 to 65535");
    refused("port = 65536", "3:8", "from 1 to 65535");
    refused("retry_first_secs = 0", "3:20", "from 1 to 2592000");
    refused("retry_first_secs = 20000", "3:20", "longer than the longest");
    refused("expire_hours = 721", "3:16", "from 1 to 720");
    refused("connections_max = 1001", "3:19", "from 1 to 1000");
    let entry = |rest: &str| format!("[[outbound.destination]]\n{rest}");
    refused(&entry("tls = \"off\""), "3:1", "`domain` is missing");
    refused(&entry("domain = \"a b\""), "4:10", "not a domain");
    refused(&entry("domain = \"a\"\ntls = \"on\""), "5:7", "or \"off\"");
    refused(&entry("domain = \"a\"\nvia = \"smtp://me@s\""), "5:7", "[outbound] via only");
    refused(&entry("domain = \"a\"\nvia = \"mx\""), "5:7", "smtp://relay");
    let twice = entry("domain = \"a\"\n[[outbound.destination]]\ndomain = \"A\"");
    refused(&twice, "6:10", "has an entry already");
    refused("vai = \"mx\"", "3:1", "unknown key `vai`");
}

#[test]
fn lists_and_numbers_hold_at_their_ends() {
    let resolvers = |count: usize| {
        let list = vec!["\"127.0.0.1\""; count].join(",");
        parsed(&format!("resolver = [{list}]")).map(|_| ()).map_err(|faults| faults.len())
    };
    assert_eq!((resolvers(RESOLVERS_MAX), resolvers(RESOLVERS_MAX + 1)), (Ok(()), Err(1)));
    let destinations = |count: usize| {
        let entry = |n| format!("[[outbound.destination]]\ndomain = \"d{n}\"\n");
        let text: String = (0..count).map(entry).collect();
        parsed(&text).map(|_| ()).map_err(|faults| faults.len())
    };
    assert_eq!(destinations(DESTINATIONS_MAX), Ok(()));
    assert_eq!(destinations(DESTINATIONS_MAX + 1), Err(1));
    assert_eq!(meant("expire_hours = 720").retry.expire_secs, SECS_MOST);
    assert_eq!(meant("connections_max = 1000").limits.total, 1000);
    assert_eq!(meant("port = 65535").routes.port, 65_535);
}

#[test]
fn a_password_that_nobody_uses_is_a_warning() {
    let warnings = parsed("password = \"file:x\"").expect("valid").warnings;
    let told: Vec<String> = warnings.iter().map(Fault::to_string).collect();
    assert!(told.iter().any(|t| t.contains(":3:12: nobody logs in")), "{told:?}");
}

#[test]
fn dane_believes_a_resolver_on_this_machine_only() {
    for resolver in ["127.0.0.1", "[::1]:5353", "::ffff:127.0.0.1"] {
        assert!(meant(&format!("dane = true\nresolver = [\"{resolver}\"]")).dane, "{resolver}");
    }
    assert!(!meant("dane = false\nresolver = [\"192.0.2.1\"]").dane);
}
