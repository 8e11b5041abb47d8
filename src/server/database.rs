//! The database of the config, opened: what stands in its way is found at start. Knows no table.

use std::path::Path;
use std::sync::Arc;

use super::bucket;
use super::outgoing::password;
use super::relay;
use crate::config::{Database, Fault, News};
use crate::store::StoreError;
use crate::store::postgres::{self, Options, Postgres, Target, Tasks, Transport};
use crate::store::text::TextIndexing;
use crate::sys::Clock;

/// Opens it, and makes its tables if there are none.
pub async fn open(
    database: &Database,
    data_dir: &Path,
    clock: Arc<dyn Clock>,
) -> Result<(Postgres, Tasks), Vec<Fault>> {
    let target = target(database).await?;
    let text_index = match database.text_index {
        TextIndexing::On => Some(data_dir.to_owned()),
        TextIndexing::Off => {
            postgres::remove_text_index(data_dir).map_err(|error| {
                let remedy = "remove it, and see who may write there";
                vec![database.place.fault(format!("the index of texts: {error}"), remedy)]
            })?;
            None
        }
    };
    let listen = database.news == News::Told;
    let options = Options { listen, text_index, ..Options::default() };
    let opened = postgres::open(target, options, clock).await;
    opened.map_err(|error| vec![fault(database, &error)])
}

/// Opens it as it is, to read: nothing is made or changed, and nobody follows.
pub async fn open_to_read(
    database: &Database,
    clock: Arc<dyn Clock>,
) -> Result<Postgres, Vec<Fault>> {
    let target = target(database).await?;
    let opened = postgres::open_to_read(target, Options::default(), clock).await;
    opened.map_err(|error| vec![fault(database, &error)])
}

fn fault(database: &Database, error: &StoreError) -> Fault {
    let remedy = "see that the server runs, that the user and the database are there, and that url \
                  and password of [store] say so";
    let why = match error {
        StoreError::Unavailable(why) | StoreError::NoSpace(why) => why.clone(),
        other => other.to_string(),
    };
    database.place.fault(format!("the store cannot be opened: {why}"), remedy)
}

/// The database and its bucket, which is tried.
pub async fn target(database: &Database) -> Result<Target, Vec<Fault>> {
    let target = address(database).map_err(|fault| vec![fault])?;
    Ok(target.with_objects(bucket::open(&database.blobs).await?))
}

fn address(database: &Database) -> Result<Target, Fault> {
    let mut address = database.address.clone();
    if let Some((path, place)) = &database.password_path {
        let password = password(path).map_err(|why| {
            let remedy = "put the password on the first line of this file, readable for the daemon";
            place.fault(format!("{}: {why}", path.display()), remedy)
        })?;
        address = address.with_password(&password);
    }
    let tls = match address.transport() {
        Transport::Clear => None,
        Transport::Tls => {
            let authority = database.ca.as_ref();
            let place = authority.map_or(&database.place, |(_, place)| place);
            let trusted = relay::verified(authority.map(|(path, _)| path.as_path()));
            let trusted = trusted.map_err(|fault| {
                place.fault(
                    format!("TLS: {fault}"),
                    "name a PEM file with the authority's certificate",
                )
            })?;
            Some((**trusted.config()).clone())
        }
    };
    Ok(Target::new(&address, tls))
}
