//! The sockets of the DNS interface.

use std::rc::Rc;
use std::sync::Arc;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use hickory_proto::rr::{Name, Record, RecordType};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream, UdpSocket};
use tokio::sync::Semaphore;
use tokio::task::JoinSet;
use weir_model::{Level, Registry};

use super::message::{Transport, Zone, respond};
use super::zone::{self, Found, Settings};
use crate::http::Shared;

/// Bytes of the longest question over UDP that is read; the rest of a longer one is lost and makes it malformed.
const LARGEST_QUESTION: usize = 4096;
/// TCP connections at once; those that come later wait to be accepted.
const MOST_CONNECTIONS: usize = 256;
/// An idle connection is closed after it (RFC 7766, 6.2.3: some seconds); a question and an answer may each take so long.
const IDLE: Duration = Duration::from_secs(10);
/// The pause after an error of a socket, so that a lasting one does not take the processor.
const PAUSE: Duration = Duration::from_millis(100);

/// Answers on both sockets until it is dropped.
pub(crate) async fn serve(context: Shared, registry: Registry, udp: UdpSocket, tcp: TcpListener) {
    let settings = Settings {
        datacenter: registry.datacenter,
        only_passing: registry.only_passing,
        ttl: u32::try_from(registry.dns_ttl.0 / 1000).unwrap_or(u32::MAX),
    };
    let live = Rc::new(Live { context, settings });
    tokio::join!(datagrams(&udp, &live), streams(tcp, &live));
}

/// The zone as it is now.
struct Live {
    context: Shared,
    settings: Settings,
}

impl Zone for Live {
    fn find(&self, name: &Name, kind: RecordType) -> Found {
        self.context.engine.read(|state| zone::find(state, &self.settings, serial(), name, kind))
    }

    fn soa(&self) -> Option<Record> {
        zone::soa(&self.settings, serial())
    }
}

/// Seconds since 1970, as Consul does: nobody transfers the zone.
fn serial() -> u32 {
    let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    u32::try_from(now.as_secs()).unwrap_or(u32::MAX)
}

async fn datagrams(socket: &UdpSocket, live: &Live) {
    let mut packet = vec![0; LARGEST_QUESTION];
    loop {
        match socket.recv_from(&mut packet).await {
            Ok((length, peer)) => {
                let question = packet.get(..length).unwrap_or_default();
                if let Some(answer) = respond(question, Transport::Udp, live) {
                    // Whoever cannot be reached asks again.
                    drop(socket.send_to(&answer, peer).await);
                }
            }
            Err(error) => failed(live, &error).await,
        }
    }
}

async fn streams(listener: TcpListener, live: &Rc<Live>) {
    let places = Arc::new(Semaphore::new(MOST_CONNECTIONS));
    let mut connections = JoinSet::new();
    loop {
        let place = places.clone().acquire_owned();
        let place = async { place.await.expect("the semaphore is never closed") };
        let place = tokio::select! {
            place = place => place,
            Some(_) = connections.join_next() => continue,
        };
        tokio::select! {
            accepted = listener.accept() => match accepted {
                Ok((stream, _)) => {
                    let live = live.clone();
                    connections.spawn_local(async move {
                        let _place = place;
                        stream_of(stream, &live).await;
                    });
                }
                Err(error) => failed(live, &error).await,
            },
            Some(_) = connections.join_next() => {}
        }
    }
}

/// One question after the other, each with its length before it (RFC 1035, 4.2.2).
async fn stream_of(mut stream: TcpStream, live: &Live) {
    loop {
        let question = match tokio::time::timeout(IDLE, framed(&mut stream)).await {
            Ok(Ok(question)) => question,
            // Closed, broken or idle: nothing is owed to it.
            Ok(Err(_)) | Err(_) => return,
        };
        let Some(answer) = respond(&question, Transport::Tcp, live) else { return };
        let Ok(length) = u16::try_from(answer.len()) else { return };
        let frame = [&length.to_be_bytes()[..], &answer].concat();
        if !matches!(tokio::time::timeout(IDLE, stream.write_all(&frame)).await, Ok(Ok(()))) {
            return;
        }
    }
}

async fn framed(stream: &mut TcpStream) -> std::io::Result<Vec<u8>> {
    let length = stream.read_u16().await?;
    let mut question = Vec::new();
    let read = stream.take(length.into()).read_to_end(&mut question).await?;
    if read < usize::from(length) {
        return Err(std::io::ErrorKind::UnexpectedEof.into());
    }
    Ok(question)
}

async fn failed(live: &Live, error: &std::io::Error) {
    use std::io::ErrorKind::{ConnectionAborted, ConnectionRefused, ConnectionReset, Interrupted};
    // An earlier answer met nobody, or a client gave up: the socket is sound.
    if !matches!(error.kind(), ConnectionAborted | ConnectionRefused | ConnectionReset | Interrupted) {
        live.context.log(Level::Error, format!("registry: a DNS socket failed: {error}; trying again"));
        tokio::time::sleep(PAUSE).await;
    }
}
