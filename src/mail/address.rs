//! Addresses of an SMTP envelope. Knows no directory.

use std::fmt;

use serde::{Deserialize, Serialize};

/// A mailbox address `local@domain`, as in an SMTP path without its angle brackets. RFC 5321 §4.1.2
///
/// The local part is kept without quotes and with its case; the domain is lower case (U-labels are
/// not folded to A-labels here: an address that looks like ours must be spelled like ours).
#[derive(Clone, PartialEq, Eq, Hash, Debug, PartialOrd, Ord, Serialize, Deserialize)]
pub struct Address {
    local: String,
    domain: String,
}

impl Address {
    /// Puts the two parts together; the domain is folded to ASCII lower case.
    pub fn new(local: &str, domain: &str) -> Address {
        Address { local: local.to_owned(), domain: domain.to_ascii_lowercase() }
    }

    /// Splits `text` at its last `@`; `None` when a part is missing.
    pub fn parse(text: &str) -> Option<Address> {
        let (local, domain) = text.rsplit_once('@')?;
        (!local.is_empty() && !domain.is_empty()).then(|| Address::new(local, domain))
    }

    /// The local part, unquoted.
    pub fn local(&self) -> &str {
        &self.local
    }

    /// The domain in lower case.
    pub fn domain(&self) -> &str {
        &self.domain
    }

    /// The form for look-ups: all of it in ASCII lower case. Deliberately not Unicode's: it would
    /// fold look-alikes (KELVIN SIGN) into ASCII letters.
    pub fn key(&self) -> String {
        format!("{}@{}", self.local.to_ascii_lowercase(), self.domain)
    }
}

/// The local part is quoted where the grammar needs it. RFC 5321 §4.1.2
impl fmt::Display for Address {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let plain = |c: char| c.is_alphanumeric() || "!#$%&'*+-/=?^_`{|}~.".contains(c);
        let dots =
            self.local.starts_with('.') || self.local.ends_with('.') || self.local.contains("..");
        if self.local.chars().all(plain) && !dots {
            return write!(f, "{}@{}", self.local, self.domain);
        }
        f.write_str("\"")?;
        for c in self.local.chars() {
            if matches!(c, '"' | '\\') {
                f.write_str("\\")?;
            }
            write!(f, "{c}")?;
        }
        write!(f, "\"@{}", self.domain)
    }
}
