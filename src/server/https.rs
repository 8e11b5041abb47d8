//! One request over HTTPS: verified TLS, one answer of limited size, no redirects, nothing kept
//! open. How long it may take is its caller's business. Knows neither what is asked nor what is
//! answered.

use std::io;
use std::net::SocketAddr;

use http_body_util::{BodyExt, Full, Limited};
use hyper::body::Bytes;
use hyper::client::conn::http1;
use hyper::header::{ACCEPT, AUTHORIZATION, CONTENT_TYPE, HOST, USER_AGENT};
use hyper::{Method, Request, Response, StatusCode, Uri};
use hyper_util::rt::TokioIo;
use tokio::net::TcpStream;
use tokio_rustls::TlsConnector;
use tokio_rustls::client::TlsStream;
use tokio_rustls::rustls::pki_types::ServerName;

/// Where HTTPS is served.
pub const PORT: u16 = 443;
/// Longest URL.
pub const URL_BYTES_MAX: usize = 2048;
/// Longest header of an answer.
const HEAD_BYTES_MAX: usize = 32 * 1024;
/// Addresses of a host that are tried.
const ADDRESSES_MAX: usize = 4;

/// Where something is served.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Url {
    host: String,
    port: u16,
    /// With its query.
    path: String,
}

/// What is asked.
pub(super) struct Call<'a> {
    /// Where.
    pub(super) url: &'a Url,
    /// Sent with POST; without one it is a GET.
    pub(super) form: Option<Form>,
    /// Longest answer that is read.
    pub(super) answer_bytes_max: usize,
}

/// What is sent; without Debug, as it may hold secrets.
pub(super) struct Form {
    /// The value of `Authorization`.
    pub(super) authorization: String,
    /// In `application/x-www-form-urlencoded`.
    pub(super) body: String,
}

/// What was answered with 200.
pub(super) struct Answer {
    /// Without parameters, in lower case; empty when there is none.
    pub(super) media_type: String,
    /// All of it.
    pub(super) body: Bytes,
}

impl Url {
    /// Of its parts.
    pub fn new(host: &str, port: u16, path: &str) -> Url {
        Url { host: host.to_owned(), port, path: path.to_owned() }
    }

    /// Reads `https://host:port/path?query`; otherwise says what is wrong with it.
    pub fn parse(text: &str) -> Result<Url, &'static str> {
        if text.len() > URL_BYTES_MAX {
            return Err("is longer than 2048 bytes");
        }
        let uri: Uri = text.parse().map_err(|_| "is not a URL")?;
        if uri.scheme_str() != Some("https") {
            return Err("does not begin with https://");
        }
        let authority = uri.authority().ok_or("names no host")?;
        if authority.as_str().contains('@') || text.contains('#') {
            return Err("names a user or a fragment");
        }
        let host = authority.host().trim_start_matches('[').trim_end_matches(']');
        let written = authority.as_str().rsplit_once(':').map(|(_, port)| port);
        let port = match authority.port_u16() {
            Some(port) => port,
            None if written.is_some() && !authority.as_str().ends_with(']') => {
                return Err("has a port that is none");
            }
            None => PORT,
        };
        if host.is_empty() || ServerName::try_from(host).is_err() {
            return Err("names no host");
        }
        let path = uri.path_and_query().map_or("/", |path| path.as_str());
        Ok(Url::new(host, port, path))
    }

    /// The host's name or address.
    pub fn host(&self) -> &str {
        &self.host
    }

    /// The port.
    pub fn port(&self) -> u16 {
        self.port
    }

    /// As it stands in `Host`. RFC 9110 §7.2
    fn authority(&self) -> String {
        let host =
            if self.host.contains(':') { format!("[{}]", self.host) } else { self.host.clone() };
        if self.port == PORT { host } else { format!("{host}:{}", self.port) }
    }
}

/// Asks the host at one of these addresses.
pub(super) async fn fetch(
    tls: &TlsConnector,
    addresses: &[SocketAddr],
    call: Call<'_>,
) -> io::Result<Answer> {
    let stream = connect(tls, addresses, call.url.host()).await?;
    let mut builder = http1::Builder::new();
    builder.max_buf_size(HEAD_BYTES_MAX);
    let (mut sender, connection) =
        builder.handshake(TokioIo::new(stream)).await.map_err(io::Error::other)?;
    // It ends when `sender` and the answer are dropped, so it does not outlive a time-out.
    tokio::spawn(connection);
    let answer_bytes_max = call.answer_bytes_max;
    let answer = sender.send_request(request(call)?).await.map_err(io::Error::other)?;
    // Redirects are not followed: what stands elsewhere may be somebody else's.
    if answer.status() != StatusCode::OK {
        return Err(io::Error::other(format!("the host answers {}", answer.status())));
    }
    let media_type = media_type(&answer);
    let body = Limited::new(answer.into_body(), answer_bytes_max).collect().await;
    Ok(Answer { media_type, body: body.map_err(io::Error::other)?.to_bytes() })
}

/// A connection whose certificate is the host's.
async fn connect(
    tls: &TlsConnector,
    addresses: &[SocketAddr],
    host: &str,
) -> io::Result<TlsStream<TcpStream>> {
    let name = ServerName::try_from(host.to_owned()).map_err(io::Error::other)?;
    let mut last = io::Error::other("the host has no address");
    for address in addresses.iter().take(ADDRESSES_MAX) {
        match TcpStream::connect(address).await {
            Ok(socket) => return tls.connect(name, socket).await,
            Err(error) => last = error,
        }
    }
    Err(last)
}

fn request(call: Call<'_>) -> io::Result<Request<Full<Bytes>>> {
    let request = Request::builder()
        .uri(&call.url.path)
        .header(HOST, call.url.authority())
        .header(USER_AGENT, "postfach");
    let request = match call.form {
        None => request.body(Full::default()),
        Some(form) => request
            .method(Method::POST)
            .header(ACCEPT, "application/json")
            .header(AUTHORIZATION, form.authorization)
            .header(CONTENT_TYPE, "application/x-www-form-urlencoded")
            .body(Full::from(form.body)),
    };
    request.map_err(io::Error::other)
}

fn media_type<T>(answer: &Response<T>) -> String {
    let value = answer.headers().get(CONTENT_TYPE).and_then(|value| value.to_str().ok());
    let kind = value.and_then(|kind| kind.split(';').next()).unwrap_or_default();
    kind.trim().to_ascii_lowercase()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn urls_name_a_host_a_port_and_a_path() {
        for (text, host, port, path, authority) in [
            ("https://login.example.org", "login.example.org", 443, "/", "login.example.org"),
            ("https://a.example:8443/k?x=1", "a.example", 8443, "/k?x=1", "a.example:8443"),
            ("https://[::1]/keys", "::1", 443, "/keys", "[::1]"),
            ("https://[::1]:8443/keys", "::1", 8443, "/keys", "[::1]:8443"),
            ("https://192.0.2.1/", "192.0.2.1", 443, "/", "192.0.2.1"),
        ] {
            let url = Url::parse(text).expect(text);
            assert_eq!(url, Url::new(host, port, path), "{text}");
            assert_eq!(url.authority(), authority);
        }
    }

    #[test]
    fn other_urls_are_none() {
        for text in [
            "",
            "login.example.org",
            "http://login.example.org/",
            "https:///keys",
            "https://user@login.example.org/",
            "https://login.example.org/#keys",
            "https://login.example.org:/",
            "https://login.example.org:99999/",
            "https://a b/",
            "https://a_b!/",
            "file:keys.json",
        ] {
            assert!(Url::parse(text).is_err(), "{text}");
        }
        let long = |bytes: usize| format!("https://a/{}", "x".repeat(bytes - 10));
        assert!(Url::parse(&long(URL_BYTES_MAX)).is_ok());
        assert!(Url::parse(&long(URL_BYTES_MAX + 1)).is_err());
    }
}
