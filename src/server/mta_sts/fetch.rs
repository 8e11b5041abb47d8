//! Fetches one policy over HTTPS. RFC 8461 §3.3

use std::io;
use std::net::SocketAddr;

use tokio::time::timeout;

use super::Policies;
use crate::outbound::mta_sts::Policy;
use crate::server::https::{self, Answer, Call, Url};

/// Longest policy that is read. RFC 8461 §3.3
pub(super) const POLICY_BYTES_MAX: usize = 64 * 1024;
const PATH: &str = "/.well-known/mta-sts.txt";

/// The policy that a domain serves at this moment.
pub(super) async fn policy(policies: &Policies, domain: &str) -> io::Result<Policy> {
    let fetched = timeout(policies.settings.timeout, answer(policies, domain)).await;
    let answer = fetched.map_err(|_| io::Error::from(io::ErrorKind::TimedOut)).flatten()?;
    // A page of another kind could have been put there by somebody else than the host's owner.
    if answer.media_type != "text/plain" {
        return Err(io::Error::other("the policy's host does not answer with text/plain"));
    }
    Policy::parse(&answer.body).map_err(io::Error::other)
}

async fn answer(policies: &Policies, domain: &str) -> io::Result<Answer> {
    let host = format!("mta-sts.{domain}");
    let addresses = policies.names.addresses(&host).await?;
    let at = |address| SocketAddr::new(address, policies.settings.port);
    let addresses: Vec<SocketAddr> = addresses.into_iter().map(at).collect();
    let url = Url::new(&host, https::PORT, PATH);
    let call = Call { url: &url, form: None, answer_bytes_max: POLICY_BYTES_MAX };
    https::fetch(&policies.tls, &addresses, call).await
}
