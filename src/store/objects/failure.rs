//! What the client's errors mean to who asked. The texts are for the log: the server's own words
//! are kept, but not the request, in which there may be keys.

use std::error::Error;

use crate::store::StoreError;

/// Longest text of a server that is repeated.
const WORDS_CHARS_MAX: usize = 200;

/// `doing` and `bucket` make the sentence that the log shows.
pub(super) fn failed(doing: &str, bucket: &str, error: &object_store::Error) -> StoreError {
    let why = || format!("{doing} {bucket}: {}", told(error));
    match error {
        object_store::Error::NotFound { .. } if !is_bucket_missing(error) => StoreError::Gone,
        _ if is_full(error) => StoreError::NoSpace(why()),
        _ => StoreError::Unavailable(why()),
    }
}

/// Bytes that are not what was stored.
pub(super) fn corrupt(bucket: &str, what: &str) -> StoreError {
    StoreError::Corrupt(format!("{bucket}: {what}"))
}

/// The innermost cause, and what the server says itself.
pub(super) fn told(error: &object_store::Error) -> String {
    let words = chain(error).last().map(ToString::to_string).unwrap_or_default();
    let said = |name| element(&words, name);
    let words = match (said("Code"), said("Message")) {
        (Some(code), Some(message)) => format!("{code}: {message}"),
        (Some(code), None) => code.to_owned(),
        // a page of somebody else's, or of a proxy
        (None, _) if words.contains('<') => words.split('<').next().unwrap_or_default().to_owned(),
        (None, _) => words.clone(),
    };
    let words = words.trim_matches([' ', ':']).chars().take(WORDS_CHARS_MAX).collect();
    match error {
        object_store::Error::PermissionDenied { .. } => format!("not allowed ({words})"),
        object_store::Error::Unauthenticated { .. } => format!("who we are is refused ({words})"),
        _ => words,
    }
}

fn is_bucket_missing(error: &object_store::Error) -> bool {
    chain(error).any(|cause| cause.to_string().contains("<Code>NoSuchBucket</Code>"))
}

/// As MinIO and others say it; Amazon's never is.
fn is_full(error: &object_store::Error) -> bool {
    let full = ["507 Insufficient Storage", "StorageFull</Code>", "<Code>QuotaExceeded</Code>"];
    chain(error).any(|cause| full.iter().any(|word| cause.to_string().contains(word)))
}

fn chain(error: &object_store::Error) -> impl Iterator<Item = &(dyn Error + 'static)> {
    let first: &(dyn Error + 'static) = error;
    std::iter::successors(Some(first), |error| (*error).source())
}

/// What stands in an element of XML, as these servers write it.
fn element<'a>(text: &'a str, name: &str) -> Option<&'a str> {
    let (_, rest) = text.split_once(&format!("<{name}>"))?;
    rest.split_once(&format!("</{name}>")).map(|(text, _)| text)
}
