//! `postfach dkim-key`: makes the two keys of a domain, and says what to publish in the DNS, how to
//! check that, and what to write into `postfach.toml`. Keys that are there are kept and shown
//! again; none is ever overwritten.

use std::fs::{self, DirBuilder, OpenOptions};
use std::io::{self, Write};
use std::os::unix::fs::{DirBuilderExt, MetadataExt, OpenOptionsExt, fchown, lchown};
use std::path::Path;
use std::process::ExitCode;

use super::check::refuse;
use super::{Outcome, to_stdout};
use crate::config::{self, Config, dkim_file, dkim_folder};
use crate::directory::{file, name};
use crate::outbound::dkim::{Algorithm, KeyPair};
use crate::sys::{Clock, SystemClock};

/// Most bytes of one string in a TXT record. RFC 1035 §3.3.14
const TXT_STRING_BYTES_MAX: usize = 255;
/// Nobody but the daemon reads the keys.
const FOLDER_MODE: u32 = 0o700;
const KEY_MODE: u32 = 0o600;
/// Seconds of a mean year: which one it is need not be right on New Year's Eve.
const YEAR_SECS: i64 = 31_556_952;
/// The keys of a domain, and how the selector of each ends. Two keys cannot share a selector.
/// RFC 6376 §3.6.2.2
const KINDS: [(Algorithm, &str); 2] =
    [(Algorithm::RsaSha256, "rsa"), (Algorithm::Ed25519Sha256, "ed25519")];

/// What the command line says.
pub struct Options {
    /// The domain that is to sign.
    pub domain: String,
    /// What both selectors begin with; the year when it is left out.
    pub selector: Option<String>,
}

/// `dkim-key` on the terminal.
pub fn run(path: &Path, options: &Options) -> ExitCode {
    to_stdout(|out| report(path, options, out))
}

/// Makes the keys and writes what is to be done with them.
pub fn report(path: &Path, options: &Options, out: &mut dyn Write) -> io::Result<Outcome> {
    let config = match config::load(path) {
        Ok(config) => config,
        Err(faults) => return refuse(&faults, out),
    };
    let domain = options.domain.to_ascii_lowercase();
    let year = || (1970 + SystemClock.now().seconds() / YEAR_SECS).to_string();
    let selector = options.selector.clone().unwrap_or_else(year).to_ascii_lowercase();
    if !name::is_domain(&domain) {
        writeln!(out, "{domain:?} is not a domain; write --domain example.org")?;
        return Ok(Outcome::Refused);
    }
    let fits = |(_, kind): &(Algorithm, &str)| name::is_selector(&format!("{selector}-{kind}"));
    if !KINDS.iter().all(fits) {
        writeln!(
            out,
            "{selector:?} is not a selector; write letters and digits: --selector 2026a"
        )?;
        return Ok(Outcome::Refused);
    }
    let mut keys = Vec::new();
    for (algorithm, kind) in KINDS {
        let selector = format!("{selector}-{kind}");
        match ensure(&config, &domain, (&selector, algorithm)) {
            Ok((pair, made)) => keys.push(Key { selector, pair, made }),
            Err(why) => {
                writeln!(out, "no key: {why}")?;
                return Ok(Outcome::Refused);
            }
        }
    }
    tell(&config, (path, &domain), &keys, out)?;
    Ok(Outcome::Done)
}

struct Key {
    selector: String,
    pair: KeyPair,
    made: Made,
}

/// Whether a key was made.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Made {
    Now,
    Earlier,
}

/// The key in its file, made when there is none.
fn ensure(
    config: &Config,
    domain: &str,
    (selector, algorithm): (&str, Algorithm),
) -> Result<(KeyPair, Made), String> {
    let folder = dkim_folder(&config.data_dir);
    let path = folder.join(dkim_file(domain, selector));
    let at = |why: &dyn std::fmt::Display| format!("{}: {why}", path.display());
    if let Some(pem) = existing(&path).map_err(|e| at(&e))? {
        let pair = KeyPair::from_pem(&pem).map_err(|fault| {
            at(&format!("this file {fault}; remove it, or choose another --selector"))
        })?;
        return Ok((pair, Made::Earlier));
    }
    let owner = fs::metadata(&config.data_dir).map_err(|e| {
        let advice = "start the daemon once, or make this folder for the daemon's user";
        format!("{}: {e}; {advice}", config.data_dir.display())
    })?;
    let owner = (owner.uid(), owner.gid());
    let pair = KeyPair::generate(algorithm).map_err(|e| at(&e))?;
    let pem = pair.to_pem().map_err(|e| at(&e))?;
    make_folder(&folder, owner).map_err(|e| format!("{}: {e}", folder.display()))?;
    write_new(&path, &pem, owner).map_err(|e| at(&e))?;
    Ok((pair, Made::Now))
}

fn existing(path: &Path) -> io::Result<Option<Vec<u8>>> {
    match fs::read(path) {
        Ok(pem) => Ok(Some(pem)),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
        Err(error) => Err(error),
    }
}

/// What root makes belongs to the daemon's user.
fn make_folder(folder: &Path, owner: (u32, u32)) -> io::Result<()> {
    if !folder.exists() {
        DirBuilder::new().mode(FOLDER_MODE).create(folder)?;
        let present = fs::metadata(folder)?;
        if (present.uid(), present.gid()) != owner {
            lchown(folder, Some(owner.0), Some(owner.1))?;
        }
    }
    Ok(())
}

/// Writes beside and links: the file is whole when it is seen, and none is overwritten.
fn write_new(path: &Path, pem: &str, owner: (u32, u32)) -> io::Result<()> {
    let beside = path.with_extension(format!("new-{}", std::process::id()));
    let written = || -> io::Result<()> {
        let mut options = OpenOptions::new();
        let mut file = options.write(true).create_new(true).mode(KEY_MODE).open(&beside)?;
        file.write_all(pem.as_bytes())?;
        let present = file.metadata()?;
        if (present.uid(), present.gid()) != owner {
            fchown(&file, Some(owner.0), Some(owner.1))?;
        }
        file.sync_all()?;
        fs::hard_link(&beside, path)
    };
    let written = written();
    fs::remove_file(&beside)?;
    written?;
    fs::File::open(path.parent().unwrap_or(path))?.sync_all()
}

fn tell(
    config: &Config,
    (path, domain): (&Path, &str),
    keys: &[Key],
    out: &mut dyn Write,
) -> io::Result<()> {
    let file = |key: &Key| dkim_folder(&config.data_dir).join(dkim_file(domain, &key.selector));
    for key in keys {
        let what = if key.made == Made::Now { "Made" } else { "Kept, for it was there:" };
        writeln!(out, "{what} {} ({})", file(key).display(), key.pair.algorithm().name())?;
    }
    if let Ok(directory) = file::load(&config.directory_path)
        && !directory.domains.contains_key(domain)
    {
        let directory = config.directory_path.display();
        writeln!(out, "warning: {domain} is not declared; add it as [[domain]] to {directory}")?;
    }
    writeln!(out, "\n1. Publish these two records in the DNS:\n")?;
    for key in keys {
        let record = key.pair.record().map_err(io::Error::other)?;
        writeln!(out, "{}", txt(&name_of(domain, key), &record))?;
    }
    writeln!(out, "\n2. Look whether they can be seen; each must answer with its p=:\n")?;
    for key in keys {
        writeln!(out, "dig +short TXT {}", name_of(domain, key))?;
    }
    let path = path.display();
    writeln!(out, "\n3. Then add this to {path}, and reload (systemctl reload postfach):")?;
    for key in keys {
        let (selector, file) = (&key.selector, file(key).display().to_string());
        writeln!(out, "\n[[dkim]]\ndomain = {domain:?}\nselector = {selector:?}\nkey = {file:?}")?;
    }
    Ok(())
}

fn name_of(domain: &str, key: &Key) -> String {
    format!("{}._domainkey.{domain}", key.selector)
}

/// A TXT record as a zone file has it: the text in strings that are short enough, which their
/// reader puts together again. RFC 6376 §3.6.2.2
fn txt(name: &str, text: &str) -> String {
    let mut strings = Vec::new();
    let mut rest = text;
    while !rest.is_empty() {
        let (string, after) = rest.split_at(rest.len().min(TXT_STRING_BYTES_MAX));
        strings.push(format!("\"{string}\""));
        rest = after;
    }
    format!("{name}. IN TXT ( {} )", strings.join("\n    "))
}

#[cfg(test)]
#[path = "dkim_key_tests.rs"]
mod tests;
