//! Connections to the endpoints of a store.

use std::io;
use std::time::Duration;

use bytes::Bytes;
use http_body_util::Full;
use hyper::client::conn::http1::{self, SendRequest};
use hyper_util::rt::TokioIo;
use socket2::{SockRef, TcpKeepalive};
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::{TcpStream, UnixStream};
use tokio_rustls::TlsConnector;
use tokio_rustls::rustls::pki_types::ServerName;
use weir_model::{Endpoint, Store};

use super::{ClientError, Connector};

/// How long an endpoint may take until it can be asked.
const CONNECT: Duration = Duration::from_secs(3);

/// What carries requests: any of the transports.
trait Io: AsyncRead + AsyncWrite + Send + Unpin {}

impl<T: AsyncRead + AsyncWrite + Send + Unpin> Io for T {}

/// The endpoint for people: `http://127.0.0.1:8500`.
pub(crate) fn name(store: &Store, endpoint: &Endpoint) -> String {
    let scheme = if store.tls.is_some() { "https" } else { "http" };
    match endpoint {
        Endpoint::Embedded => "registry".to_owned(),
        Endpoint::Host { host, port } if host.contains(':') => format!("{scheme}://[{host}]:{port}"),
        Endpoint::Host { host, port } => format!("{scheme}://{host}:{port}"),
        Endpoint::Unix(path) => format!("unix:{path}"),
    }
}

/// What `Host` says.
pub(crate) fn host(endpoint: &Endpoint) -> String {
    match endpoint {
        Endpoint::Embedded | Endpoint::Unix(_) => "localhost".to_owned(),
        Endpoint::Host { host, port } if host.contains(':') => format!("[{host}]:{port}"),
        Endpoint::Host { host, port } => format!("{host}:{port}"),
    }
}

/// Opens a connection and drives it in a task of its own; it ends with its sender.
pub(crate) async fn connect(
    store: &Store,
    endpoint: &Endpoint,
    embedded: Option<&Connector>,
) -> Result<SendRequest<Full<Bytes>>, ClientError> {
    let name = name(store, endpoint);
    let late = |_| {
        let source =
            io::Error::new(io::ErrorKind::TimedOut, format!("nothing within {} s", CONNECT.as_secs()));
        ClientError::Connect { endpoint: name.clone(), source }
    };
    let stream =
        tokio::time::timeout(CONNECT, open(store, endpoint, embedded, &name)).await.map_err(late)??;
    let handshake = http1::handshake(TokioIo::new(stream)).await;
    let (sender, connection) = handshake.map_err(|error| ClientError::exchange(&name, &error))?;
    // What goes wrong with the connection is told to who waits for an answer on it.
    tokio::spawn(async move {
        let _ = connection.await;
    });
    Ok(sender)
}

async fn open(
    store: &Store,
    endpoint: &Endpoint,
    embedded: Option<&Connector>,
    name: &str,
) -> Result<Box<dyn Io>, ClientError> {
    let failed = |source| ClientError::Connect { endpoint: name.to_owned(), source };
    match endpoint {
        Endpoint::Embedded => match embedded {
            Some(connector) => Ok(Box::new(connector())),
            None => Err(ClientError::NoRegistry { endpoint: name.to_owned() }),
        },
        Endpoint::Unix(path) => {
            let stream = UnixStream::connect(path).await.map_err(failed)?;
            secured(store, "localhost", stream, name).await
        }
        Endpoint::Host { host, port } => {
            let stream = TcpStream::connect((host.as_str(), *port)).await.map_err(failed)?;
            watch(&stream).map_err(failed)?;
            secured(store, host, stream, name).await
        }
    }
}

/// A blocking query is silent for minutes: an end that went away without a word is found within half a minute.
fn watch(stream: &TcpStream) -> io::Result<()> {
    stream.set_nodelay(true)?;
    let keepalive = TcpKeepalive::new()
        .with_time(Duration::from_secs(15))
        .with_interval(Duration::from_secs(5))
        .with_retries(3);
    let socket = SockRef::from(stream);
    socket.set_tcp_keepalive(&keepalive)?;
    socket.set_tcp_user_timeout(Some(Duration::from_secs(30)))
}

/// With TLS, if the store has it.
async fn secured<S: Io + 'static>(
    store: &Store,
    host: &str,
    stream: S,
    name: &str,
) -> Result<Box<dyn Io>, ClientError> {
    let Some(tls) = &store.tls else { return Ok(Box::new(stream)) };
    // The files are read for each connection: certificates are renewed while the process runs.
    let config = weir_tls::client_config(tls)
        .map_err(|source| ClientError::Settings { endpoint: name.to_owned(), source: Box::new(source) })?;
    let failed = |source| ClientError::Tls { endpoint: name.to_owned(), source };
    let server_name = ServerName::try_from(tls.server_name.as_deref().unwrap_or(host).to_owned())
        .map_err(|error| failed(io::Error::new(io::ErrorKind::InvalidInput, error)))?;
    let stream = TlsConnector::from(config).connect(server_name, stream).await.map_err(failed)?;
    Ok(Box::new(stream))
}
