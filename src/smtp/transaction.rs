//! One mail transaction: what MAIL and RCPT said, until the content has been taken or refused.
//! RFC 5321 §3.3

use super::parameters::{MailParameters, RcptParameters};
use super::path::Path;
use crate::mail::address::Address;

/// The envelope of one message.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Transaction {
    /// Where reports go; `None`: nowhere, it is a report itself.
    pub reverse_path: Option<Address>,
    /// What MAIL said beside it.
    pub parameters: MailParameters,
    /// Those that were accepted, in their order.
    pub recipients: Vec<Recipient>,
}

/// A recipient that was accepted.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Recipient {
    /// `Path::Address` or `Path::Postmaster`.
    pub path: Path,
    /// What RCPT said beside it.
    pub parameters: RcptParameters,
}

impl Transaction {
    /// A transaction that MAIL has begun.
    pub fn new(reverse_path: Path, parameters: MailParameters) -> Transaction {
        let reverse_path = match reverse_path {
            Path::Address(address) => Some(address),
            Path::Null | Path::Postmaster => None,
        };
        Transaction { reverse_path, parameters, recipients: Vec::new() }
    }
}
