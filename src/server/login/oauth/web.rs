//! Requests to the identity provider: its address by the system's names, verified TLS, a limit of
//! time and of how many at once. Knows no answer.

use std::io;
use std::net::SocketAddr;
use std::time::Duration;

use tokio::net::lookup_host;
use tokio::sync::Semaphore;
use tokio::time::timeout;
use tokio_rustls::TlsConnector;

use crate::server::https::{self, Call, Form, Url};

/// How long a request may take, its wait for others included.
const TIMEOUT: Duration = Duration::from_secs(10);
/// Requests at a time.
const REQUESTS_MAX: usize = 16;

/// The way there.
pub(super) struct Web {
    tls: TlsConnector,
    places: Semaphore,
}

impl Web {
    pub(super) fn new(tls: TlsConnector) -> Web {
        Web { tls, places: Semaphore::new(REQUESTS_MAX) }
    }

    /// What is answered with 200.
    pub(super) async fn text(
        &self,
        url: &Url,
        form: Option<Form>,
        answer_bytes_max: usize,
    ) -> io::Result<Vec<u8>> {
        let answer = timeout(TIMEOUT, async {
            let _place = self.places.acquire().await.map_err(io::Error::other)?;
            let found = lookup_host((url.host(), url.port())).await?;
            let addresses: Vec<SocketAddr> = found.collect();
            https::fetch(&self.tls, &addresses, Call { url, form, answer_bytes_max }).await
        });
        let answer =
            answer.await.map_err(|_| io::Error::from(io::ErrorKind::TimedOut)).flatten()?;
        Ok(answer.body.to_vec())
    }
}
