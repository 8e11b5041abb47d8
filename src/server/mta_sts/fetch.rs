//! Fetches one policy over HTTPS. RFC 8461 §3.3

use std::io;
use std::net::IpAddr;

use http_body_util::{BodyExt, Empty, Limited};
use hyper::body::{Bytes, Incoming};
use hyper::client::conn::http1;
use hyper::header::{CONTENT_TYPE, HOST, USER_AGENT};
use hyper::{Request, Response, StatusCode};
use hyper_util::rt::TokioIo;
use tokio::net::TcpStream;
use tokio::time::timeout;
use tokio_rustls::client::TlsStream;
use tokio_rustls::rustls::pki_types::ServerName;

use super::Policies;
use crate::outbound::mta_sts::Policy;

/// Longest policy that is read. RFC 8461 §3.3
pub(super) const POLICY_BYTES_MAX: usize = 64 * 1024;
/// Longest header of an answer.
const HEAD_BYTES_MAX: usize = 32 * 1024;
/// Addresses of a policy's host that are tried.
const ADDRESSES_MAX: usize = 4;
const PATH: &str = "/.well-known/mta-sts.txt";

/// The policy that a domain serves at this moment.
pub(super) async fn policy(policies: &Policies, domain: &str) -> io::Result<Policy> {
    let fetched = timeout(policies.settings.timeout, text(policies, domain)).await;
    let text = fetched.map_err(|_| io::Error::from(io::ErrorKind::TimedOut)).flatten()?;
    Policy::parse(&text).map_err(io::Error::other)
}

async fn text(policies: &Policies, domain: &str) -> io::Result<Bytes> {
    let host = format!("mta-sts.{domain}");
    let addresses = policies.names.addresses(&host).await?;
    let stream = connect(policies, &host, &addresses).await?;
    let mut builder = http1::Builder::new();
    builder.max_buf_size(HEAD_BYTES_MAX);
    let (mut sender, connection) =
        builder.handshake(TokioIo::new(stream)).await.map_err(io::Error::other)?;
    // It ends when `sender` and the answer are dropped, so it does not outlive a time-out.
    tokio::spawn(connection);
    let request = Request::get(PATH).header(HOST, &host).header(USER_AGENT, "postfach");
    let request = request.body(Empty::<Bytes>::new()).map_err(io::Error::other)?;
    let answer = sender.send_request(request).await.map_err(io::Error::other)?;
    check(&answer)?;
    let body = Limited::new(answer.into_body(), POLICY_BYTES_MAX).collect().await;
    Ok(body.map_err(io::Error::other)?.to_bytes())
}

/// A connection whose certificate is the host's.
async fn connect(
    policies: &Policies,
    host: &str,
    addresses: &[IpAddr],
) -> io::Result<TlsStream<TcpStream>> {
    let name = ServerName::try_from(host.to_owned()).map_err(io::Error::other)?;
    let mut last = io::Error::other("the policy's host has no address");
    for address in addresses.iter().take(ADDRESSES_MAX) {
        match TcpStream::connect((*address, policies.settings.port)).await {
            Ok(socket) => return policies.tls.connect(name, socket).await,
            Err(error) => last = error,
        }
    }
    Err(last)
}

/// Only 200 counts, and redirects are not followed. A page of another kind could have been put
/// there by somebody else than the host's owner. RFC 8461 §3.3
fn check(answer: &Response<Incoming>) -> io::Result<()> {
    if answer.status() != StatusCode::OK {
        return Err(io::Error::other(format!("the policy's host answers {}", answer.status())));
    }
    let kind = answer.headers().get(CONTENT_TYPE).and_then(|value| value.to_str().ok());
    let kind = kind.and_then(|kind| kind.split(';').next()).unwrap_or_default().trim();
    if !kind.eq_ignore_ascii_case("text/plain") {
        return Err(io::Error::other("the policy's host does not answer with text/plain"));
    }
    Ok(())
}
