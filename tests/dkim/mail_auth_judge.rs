//! mail-auth as the judge, with our keys in place of the DNS.

use std::borrow::Borrow;
use std::collections::HashMap;
use std::hash::Hash;
use std::time::Instant;

use mail_auth::common::parse::TxtRecordParser;
use mail_auth::common::verify::DomainKey;
use mail_auth::hickory_resolver::config::{ResolverConfig, ResolverOpts};
use mail_auth::{
    AuthenticatedMessage, DkimResult, MessageAuthenticator, Parameters, ResolverCache, Txt,
};
use postfach::outbound::dkim::SigningKey;

/// Knows the public keys.
pub(crate) struct Judge {
    authenticator: MessageAuthenticator,
    records: Records,
}

struct Records(HashMap<Box<str>, Txt>);

impl ResolverCache<Box<str>, Txt> for Records {
    fn get<Q>(&self, name: &Q) -> Option<Txt>
    where
        Box<str>: Borrow<Q>,
        Q: Hash + Eq + ?Sized,
    {
        self.0.get(name).cloned()
    }

    fn remove<Q>(&self, _: &Q) -> Option<Txt>
    where
        Box<str>: Borrow<Q>,
        Q: Hash + Eq + ?Sized,
    {
        None
    }

    fn insert(&self, _: Box<str>, _: Txt, _: Instant) {}
}

impl Judge {
    pub(crate) fn new(keys: &[SigningKey]) -> Judge {
        let record = |key: &SigningKey| {
            let name = format!("{}._domainkey.{}.", key.selector, key.domain);
            let record = key.pair.record().expect("public");
            let parsed = DomainKey::parse(record.as_bytes()).expect("a record");
            (name.into_boxed_str(), Txt::from(parsed))
        };
        let records = Records(keys.iter().map(record).collect());
        let nowhere = ResolverConfig::from_parts(None, vec![], vec![]);
        let authenticator = MessageAuthenticator::new(nowhere, ResolverOpts::default());
        Judge { authenticator: authenticator.expect("a resolver"), records }
    }

    /// `pass`, or why not, for each signature.
    pub(crate) async fn verdicts(&self, message: &[u8]) -> Vec<String> {
        let Some(message) = AuthenticatedMessage::parse(message) else { return Vec::new() };
        let parameters = Parameters::new(&message).with_txt_cache(&self.records);
        let outputs = self.authenticator.verify_dkim(parameters).await;
        let word = |result: &DkimResult| match result {
            DkimResult::Pass => "pass".to_owned(),
            other => format!("{other:?}"),
        };
        outputs.iter().map(|output| word(output.result())).collect()
    }
}
