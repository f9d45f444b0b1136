//! TLS towards what is checked.

use std::sync::{Arc, OnceLock};

use tokio::net::TcpStream;
use tokio_rustls::TlsConnector;
use tokio_rustls::client::TlsStream;
use tokio_rustls::rustls::ClientConfig;
use tokio_rustls::rustls::pki_types::ServerName;
use weir_model::source::ClientTls;

/// Speaks TLS over `stream`. `host` may be an IPv6 address in brackets.
pub(crate) async fn handshake(
    stream: TcpStream,
    host: &str,
    skip_verify: bool,
    alpn: &[&[u8]],
) -> Result<TlsStream<TcpStream>, String> {
    let wanted = host.trim_start_matches('[').trim_end_matches(']');
    let wanted = ServerName::try_from(wanted.to_owned())
        .map_err(|_| format!("{wanted:?} cannot be the name of a certificate"))?;
    let mut config = settings(skip_verify)?;
    if !alpn.is_empty() {
        let config = Arc::make_mut(&mut config);
        config.alpn_protocols = alpn.iter().map(|protocol| protocol.to_vec()).collect();
    }
    TlsConnector::from(config).connect(wanted, stream).await.map_err(|error| format!("TLS: {error}"))
}

/// Made once: the roots of the machine are hundreds of files.
fn settings(skip_verify: bool) -> Result<Arc<ClientConfig>, String> {
    static VERIFIED: OnceLock<Result<Arc<ClientConfig>, String>> = OnceLock::new();
    static UNVERIFIED: OnceLock<Result<Arc<ClientConfig>, String>> = OnceLock::new();
    let made = if skip_verify {
        UNVERIFIED.get_or_init(|| weir_tls::unverified_client_config().map_err(|error| error.to_string()))
    } else {
        VERIFIED
            .get_or_init(|| weir_tls::client_config(&ClientTls::default()).map_err(|error| error.to_string()))
    };
    made.clone()
}
