//! What `[[dkim]]` means: which key signs for which domain. Opens no file, and knows not which
//! domains there are.

use std::path::Path;

use toml::Spanned;

use super::network::reference;
use super::written::{Dkim, Text};
use super::{DkimKey, dkim_file, dkim_folder};
use crate::directory::findings::Findings;
use crate::directory::name;

/// Most keys of one domain: a pair, and a second one while keys change.
pub(super) const KEYS_PER_DOMAIN_MAX: usize = 4;

/// Reads all keys.
pub(super) fn keys(
    found: &mut Findings,
    written: Vec<Spanned<Dkim>>,
    data_dir: &Path,
) -> Vec<DkimKey> {
    let mut keys: Vec<DkimKey> = Vec::new();
    for entry in written {
        let (table, Dkim { domain, selector, key }) = (entry.span(), entry.into_inner());
        let domain_at = domain.as_ref().map_or(table.clone(), Spanned::span);
        let selector_at = selector.as_ref().map_or(table.clone(), Spanned::span);
        let file_at = key.as_ref().map_or(table.clone(), Spanned::span);
        if domain.is_none() {
            found.missing(table.clone(), "domain", "write domain = \"example.org\"");
        }
        if selector.is_none() {
            found.missing(table, "selector", "write what `postfach dkim-key` printed");
        }
        let (Some(domain), Some(selector)) = (domain, selector) else { continue };
        let (domain, selector) = (self::domain(found, domain), self::selector(found, selector));
        let same_domain = keys.iter().filter(|other| other.domain == domain);
        if same_domain.clone().any(|other| other.selector == selector) {
            let message = format!("the selector {selector:?} of {domain} stands there twice");
            found.fault(selector_at, message, "give each key a selector of its own");
        } else if same_domain.count() >= KEYS_PER_DOMAIN_MAX {
            let message = format!("{domain} has too many keys");
            found.fault(domain_at.clone(), message, "leave 4 of them at most");
        }
        let default = || dkim_folder(data_dir).join(dkim_file(&domain, &selector));
        keys.push(DkimKey {
            file: key.map_or_else(default, |key| reference(found, key.get_ref())),
            domain_place: found.place(domain_at),
            file_place: found.place(file_at),
            domain,
            selector,
        });
    }
    keys
}

fn domain(found: &mut Findings, text: Text) -> String {
    let domain = text.get_ref().to_ascii_lowercase();
    if !name::is_domain(&domain) {
        let remedy = "write a name like \"example.org\"";
        found.fault(text.span(), format!("{domain:?} is not a domain"), remedy);
    }
    domain
}

/// RFC 6376 §3.1
fn selector(found: &mut Findings, text: Text) -> String {
    let selector = text.get_ref().to_ascii_lowercase();
    if !name::is_selector(&selector) {
        let remedy = "write letters, digits and hyphens, like \"2026a-rsa\"";
        found.fault(text.span(), format!("{selector:?} is not a selector"), remedy);
    }
    selector
}
