//! Where the PostgreSQL engine's database is: `[store] url` and what belongs to it. Opens no socket
//! and no file.

use std::path::PathBuf;

use super::blobs::{self, Blobs};
use super::network;
use super::written::Store as Written;
use crate::directory::findings::Findings;
use crate::directory::source::Place;
use crate::store::postgres::Address;
use crate::store::text::TextIndexing;

/// A database, and how it is reached.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Database {
    /// Where it is.
    pub address: Address,
    /// The file that holds the password, and where it is named; only its first line counts.
    pub password_path: Option<(PathBuf, Place)>,
    /// An authority that is trusted beside the system's, and where it is named.
    pub ca: Option<(PathBuf, Place)>,
    /// How a node learns what others do.
    pub news: News,
    /// Where message bytes are.
    pub blobs: Blobs,
    /// Whether this node has an index of texts, in its `data_dir`.
    pub text_index: TextIndexing,
    /// Where the URL stands.
    pub place: Place,
}

/// `store.listen`
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum News {
    /// The server tells it (LISTEN).
    Told,
    /// The server is asked for it all the time: for those that have no LISTEN.
    Asked,
}

const URL: &str = "write one like url = \"postgres://postfach@db.example.org/postfach\"";

/// What the table says; `None`: it lacks what is needed.
pub(super) fn check(
    found: &mut Findings,
    written: Written,
    (engine, text_index): (std::ops::Range<usize>, TextIndexing),
) -> Option<Database> {
    let blobs = blobs::check(found, written.blobs.as_ref(), written.s3);
    let Some(url) = written.url else {
        found.missing(engine, "url", URL);
        return None;
    };
    let place = |found: &Findings, text: &super::written::Text| found.place(text.span());
    let password_path = written.password.and_then(|text| {
        let path = network::secret(found, &text)?;
        Some((path, place(found, &text)))
    });
    let ca =
        written.ca.map(|text| (network::reference(found, text.get_ref()), place(found, &text)));
    let address = Address::parse(url.get_ref());
    let address = address.map_err(|why| {
        let remedy = match why.contains("password") {
            true => "write password = \"file:database.secret\" beside it",
            false => URL,
        };
        found.fault(url.span(), format!("this is not where a database is: {why}"), remedy);
    });
    let news = if written.listen == Some(false) { News::Asked } else { News::Told };
    Some(Database {
        address: address.ok()?,
        password_path,
        ca,
        news,
        blobs,
        text_index,
        place: place(found, &url),
    })
}

#[cfg(test)]
#[path = "database_tests.rs"]
mod tests;
