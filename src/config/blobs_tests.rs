//! What `[store] blobs` and `[store.s3]` may say, and which faults are found where.

use std::path::Path;

use super::*;
use crate::config::written::Written as File;
use crate::directory::source::Source;

/// `blobs` and the lines of `[store.s3]`.
fn meant(blobs: &str, lines: &str) -> Result<Blobs, Vec<String>> {
    let text = format!("[store]\nblobs = \"{blobs}\"\n{lines}");
    let source = Source::new(Path::new("/etc/postfach/p.toml"), &text);
    let reading = source.read::<File>();
    let mut found = Findings::new(&source, reading.faults, reading.damaged);
    let store = reading.written.expect("TOML").store;
    let blobs = check(&mut found, store.blobs.as_ref(), store.s3);
    let told = |faults: Vec<crate::directory::source::Fault>| {
        faults.iter().map(ToString::to_string).collect::<Vec<_>>()
    };
    match found.finish() {
        Ok(warnings) if warnings.is_empty() => Ok(blobs),
        Ok(warnings) => Err(told(warnings)),
        Err(faults) => Err(told(faults)),
    }
}

fn bucket(blobs: &str, lines: &str) -> Bucket {
    match meant(blobs, &format!("[store.s3]\n{lines}")) {
        Ok(Blobs::Bucket(bucket)) => *bucket,
        other => panic!("no bucket: {other:?}"),
    }
}

fn fault(blobs: &str, lines: &str) -> String {
    let faults = meant(blobs, &format!("[store.s3]\n{lines}")).expect_err("a fault");
    assert_eq!(faults.len(), 1, "{faults:?}");
    faults[0].clone()
}

#[test]
fn messages_are_in_the_database_or_in_a_bucket() {
    assert_eq!(meant("database", ""), Ok(Blobs::Database));
    let plain = bucket("s3://mail", "");
    assert_eq!((plain.bucket.as_str(), plain.prefix.as_str()), ("mail", ""));
    assert_eq!((plain.endpoint, plain.region, plain.keys, plain.ca), (None, None, None, None));
    assert_eq!(plain.transport, Transport::Https);
    let below = bucket("s3://mail.example.org/post/fach/", "");
    assert_eq!((below.bucket.as_str(), below.prefix.as_str()), ("mail.example.org", "post/fach"));
    assert!(meant("/var/lib/blobs", "").expect_err("a fault")[0].contains("s3://bucket/prefix"));
}

#[test]
fn names_of_buckets_and_prefixes_have_limits() {
    let longest = format!("s3://{}/{}", "b".repeat(63), "p".repeat(PREFIX_BYTES_MAX));
    bucket(&longest, "");
    assert!(fault(&format!("s3://{}", "b".repeat(64)), "").contains("not the name of a bucket"));
    assert!(fault(&format!("{longest}p"), "").contains("names of objects"));
    for name in ["s3://", "s3://ab", "s3://Mail", "s3://-mail", "s3://mail.", "s3://a b c"] {
        assert!(fault(name, "").contains("not the name of a bucket"), "{name}");
    }
    for name in ["s3://mail/a//b", "s3://mail/../b", "s3://mail/ü"] {
        assert!(fault(name, "").contains("names of objects"), "{name}");
    }
}

#[test]
fn an_endpoint_is_a_url_with_tls_or_on_this_machine() {
    let https = bucket("s3://mail", "endpoint = \"https://s3.example.org:9000/\"\n");
    assert_eq!(https.endpoint.as_deref(), Some("https://s3.example.org:9000"));
    assert_eq!(https.transport, Transport::Https);
    for local in ["http://127.0.0.1:9000", "http://[::1]:9000", "http://localhost"] {
        let local = bucket("s3://mail", &format!("endpoint = \"{local}\"\n"));
        assert_eq!(local.transport, Transport::HttpAllowed);
    }
    let clear = "endpoint = \"http://s3.example.org\"\n";
    assert!(fault("s3://mail", clear).contains("p.toml:4:12: mail would travel in clear"));
    let allowed = bucket("s3://mail", &format!("{clear}allow_http = true\n"));
    assert_eq!(allowed.transport, Transport::HttpAllowed);
    for wrong in ["s3.example.org", "https://", "https://host/path", "https://h:0", "https://[x]"] {
        let fault = fault("s3://mail", &format!("endpoint = \"{wrong}\"\n"));
        assert!(fault.contains("not the URL of a server"), "{fault}");
    }
}

#[test]
fn a_key_has_a_name_and_a_secret_in_a_file() {
    let keys = "access_key = \"AKIA\"\nsecret_key = \"file:s3.secret\"\nregion = \"eu-1\"\n";
    let with_keys = bucket("s3://mail", &format!("{keys}ca = \"ca.pem\"\n"));
    let keys = with_keys.keys.expect("keys");
    assert_eq!(keys.access_key, "AKIA");
    assert_eq!(keys.secret_path, Path::new("/etc/postfach/s3.secret"));
    assert_eq!(with_keys.region.as_deref(), Some("eu-1"));
    assert_eq!(with_keys.ca.expect("an authority").0, Path::new("/etc/postfach/ca.pem"));
    let fault_of = |lines: &str| fault("s3://mail", lines);
    assert!(fault_of("access_key = \"AKIA\"\n").contains("`secret_key` is missing"));
    assert!(fault_of("secret_key = \"file:x\"\n").contains("`access_key` is missing"));
    let in_clear = fault_of("access_key = \"AKIA\"\nsecret_key = \"geheim\"\n");
    assert!(in_clear.contains("does not stand in the config itself"), "{in_clear}");
    assert!(fault_of("region = \"\"\n").contains("no name"));
    bucket("s3://mail", &format!("region = \"{}\"\n", "r".repeat(NAME_BYTES_MAX)));
    assert!(
        fault_of(&format!("region = \"{}\"\n", "r".repeat(NAME_BYTES_MAX + 1))).contains("name")
    );
}

#[test]
fn a_table_that_nobody_reads_is_warned_of() {
    let told = meant("database", "[store.s3]\nregion = \"eu-1\"\n").expect_err("a warning");
    assert!(told[0].contains("not kept in a bucket"), "{told:?}");
}
