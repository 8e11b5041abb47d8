//! The keys of this moment that sign outgoing mail: read from their files at start and on reload.
//! Signs nothing itself.

use std::collections::BTreeMap;
use std::fs::File;
use std::io::{self, Read};
use std::path::Path;
use std::sync::Arc;

use arc_swap::ArcSwap;

use crate::config::{DkimKey, Fault};
use crate::delivery;
use crate::directory::Directory;
use crate::outbound::dkim::{KeyPair, SigningKey};

/// Longest key file that is read, in bytes.
const KEY_FILE_BYTES_MAX: u64 = 64 * 1024;

/// All keys by domain; no Debug, for they are secrets.
type Keys = BTreeMap<String, Arc<[SigningKey]>>;

/// Who signs for which domain.
#[derive(Default)]
pub struct Signers(ArcSwap<Keys>);

impl Signers {
    /// Reads all keys, or says what is wrong with them.
    pub fn load(config: &[DkimKey], directory: &Directory) -> Result<Signers, Vec<Fault>> {
        Ok(Signers(ArcSwap::from_pointee(read_all(config, directory)?)))
    }

    /// Reads the keys again. At a fault the old ones stay.
    pub fn reload(&self, config: &[DkimKey], directory: &Directory) -> Result<(), Vec<Fault>> {
        self.0.store(Arc::new(read_all(config, directory)?));
        Ok(())
    }

    /// The keys that sign mail from a domain (in lower case), in the order of the file; `None` when
    /// it does not sign. The domain of From must be this one, not one below it.
    pub fn keys(&self, domain: &str) -> Option<Arc<[SigningKey]>> {
        self.0.load().get(domain).cloned()
    }

    /// Each domain that signs, with its keys.
    pub fn all(&self) -> Vec<(String, Arc<[SigningKey]>)> {
        self.0.load().iter().map(|(domain, keys)| (domain.clone(), keys.clone())).collect()
    }
}

impl delivery::Keys for Signers {
    fn of(&self, domain: &str) -> Option<Arc<[SigningKey]>> {
        self.keys(domain)
    }
}

fn read_all(config: &[DkimKey], directory: &Directory) -> Result<Keys, Vec<Fault>> {
    let mut faults = Vec::new();
    let mut keys: BTreeMap<String, Vec<SigningKey>> = BTreeMap::new();
    for key in config {
        if !directory.domains.contains_key(&key.domain) {
            let message = format!("the domain {} is not declared in the directory", key.domain);
            let remedy = format!("add [[domain]] with name = {:?}, or take this out", key.domain);
            faults.push(key.domain_place.fault(message, remedy));
        }
        match read(&key.file) {
            Ok(pair) => {
                let (domain, selector) = (key.domain.clone(), key.selector.clone());
                let key = SigningKey { domain, selector, pair: Arc::new(pair) };
                keys.entry(key.domain.clone()).or_default().push(key);
            }
            Err(why) => {
                let message = format!("the DKIM key {} {why}", key.file.display());
                let remedy = format!("`postfach dkim-key --domain {}` makes keys", key.domain);
                faults.push(key.file_place.fault(message, remedy));
            }
        }
    }
    if !faults.is_empty() {
        return Err(faults);
    }
    Ok(keys.into_iter().map(|(domain, keys)| (domain, keys.into())).collect())
}

/// The key in a file, or why there is none, as the end of a sentence.
fn read(path: &Path) -> Result<KeyPair, String> {
    let unreadable = |error: io::Error| {
        format!("cannot be read: {error}; it must exist and be readable by the daemon's user")
    };
    let mut pem = Vec::new();
    let file = File::open(path).map_err(unreadable)?;
    file.take(KEY_FILE_BYTES_MAX + 1).read_to_end(&mut pem).map_err(unreadable)?;
    if pem.len() as u64 > KEY_FILE_BYTES_MAX {
        return Err("is longer than 64 KiB; it should be a PEM file".to_owned());
    }
    KeyPair::from_pem(&pem).map_err(|fault| fault.to_string())
}

#[cfg(test)]
mod tests {
    use std::fs;
    use std::path::PathBuf;

    use super::*;
    use crate::config;
    use crate::directory::file;
    use crate::outbound::dkim::Algorithm;

    struct Scratch(PathBuf);

    impl Scratch {
        fn new(name: &str) -> Scratch {
            let name = format!("postfach-signers-{name}-{}", std::process::id());
            let path = std::env::temp_dir().join(name);
            fs::create_dir_all(&path).expect("a folder");
            Scratch(path)
        }

        fn write(&self, file: &str, text: &[u8]) {
            fs::write(self.0.join(file), text).expect("written");
        }

        fn config(&self, tables: &str) -> Vec<DkimKey> {
            let text = format!("hostname = \"m\"\n{tables}");
            config::parse(&text, &self.0.join("p.toml")).expect("valid").dkim
        }
    }

    impl Drop for Scratch {
        fn drop(&mut self) {
            let _ = fs::remove_dir_all(&self.0);
        }
    }

    fn directory() -> Directory {
        let text = "[[domain]]\nname = \"example.org\"\n[[domain]]\nname = \"example.net\"\n";
        file::parse(text, Path::new("d.toml")).expect("valid")
    }

    fn pem(algorithm: Algorithm) -> Vec<u8> {
        let pair = KeyPair::generate(algorithm).expect("made");
        pair.to_pem().expect("written").into_bytes()
    }

    const TABLES: &str = "[[dkim]]\ndomain = \"Example.org\"\nselector = \"r\"\nkey = \"r.pem\"\n\
                          [[dkim]]\ndomain = \"example.org\"\nselector = \"e\"\nkey = \"e.pem\"\n";

    #[test]
    fn a_domain_signs_with_its_keys_in_the_order_of_the_file() {
        let scratch = Scratch::new("order");
        scratch.write("r.pem", &pem(Algorithm::RsaSha256));
        scratch.write("e.pem", &pem(Algorithm::Ed25519Sha256));
        let signers = Signers::load(&scratch.config(TABLES), &directory()).expect("read");
        let keys = signers.keys("example.org").expect("it signs");
        let selectors: Vec<&str> = keys.iter().map(|key| key.selector.as_str()).collect();
        assert_eq!(selectors, ["r", "e"]);
        assert!(keys.iter().all(|key| key.domain == "example.org"));
        assert!(signers.keys("example.net").is_none() && signers.keys("a.example.org").is_none());
        assert_eq!(signers.all().len(), 1);
    }

    #[test]
    fn each_fault_has_its_place_and_says_what_to_do() {
        let scratch = Scratch::new("faults");
        scratch.write("r.pem", b"nothing");
        scratch.write("long.pem", &b"x".repeat(64 * 1024 + 1));
        let more = "[[dkim]]\ndomain = \"example.com\"\nselector = \"a\"\nkey = \"long.pem\"\n";
        let config = scratch.config(&format!("{TABLES}{more}"));
        let faults = Signers::load(&config, &directory()).err().expect("refused");
        let faults: Vec<String> = faults.iter().map(Fault::to_string).collect();
        for (fault, words) in faults.iter().zip([
            "p.toml:5:7: the DKIM key ",
            "p.toml:9:7: the DKIM key ",
            "p.toml:11:10: the domain example.com is not declared",
            "p.toml:13:7: the DKIM key ",
        ]) {
            assert!(fault.contains(words), "{words}: {faults:?}");
        }
        assert!(faults[0].contains("BEGIN PRIVATE KEY"), "{faults:?}");
        assert!(faults[1].contains("must exist and be readable"), "{faults:?}");
        assert!(faults[3].contains("longer than 64 KiB"), "{faults:?}");
        assert!(faults[3].contains("postfach dkim-key --domain example.com"), "{faults:?}");
        assert_eq!(faults.len(), 4);
    }

    #[test]
    fn a_reload_takes_new_keys_and_at_a_fault_keeps_the_old_ones() {
        let scratch = Scratch::new("reload");
        scratch.write("r.pem", &pem(Algorithm::Ed25519Sha256));
        scratch.write("e.pem", &pem(Algorithm::Ed25519Sha256));
        let config = scratch.config(TABLES);
        let signers = Signers::load(&config, &directory()).expect("read");
        let first = signers.keys("example.org").expect("it signs");
        scratch.write("e.pem", b"");
        assert!(signers.reload(&config, &directory()).is_err());
        assert!(Arc::ptr_eq(&first, &signers.keys("example.org").expect("it signs")));
        assert!(signers.reload(&config[..1], &directory()).is_ok());
        assert_eq!(signers.keys("example.org").expect("it signs").len(), 1);
        assert!(signers.reload(&[], &directory()).is_ok());
        assert!(signers.keys("example.org").is_none());
    }
}
