//! Connections come in here; each has a task of its own.

use std::collections::HashMap;
use std::net::IpAddr;
use std::rc::Rc;
use std::time::Duration;

use tokio::net::{TcpListener, UnixListener};
use tokio_rustls::TlsAcceptor;
use weir_model::Level;

use super::connection;
use super::thread::Service;
use crate::http::Rights;

/// Of one address. Far above what an honest host needs for its watchers, far below the memory of a machine.
const MOST_PER_ADDRESS: usize = 16_384;
/// Of all addresses.
const MOST: usize = 65_536;
/// What a handshake may take.
const HANDSHAKE_TIME: Duration = Duration::from_secs(15);
/// The pause after an accept that failed for want of descriptors or memory.
const PAUSE: Duration = Duration::from_millis(100);

/// Connections by address.
#[derive(Debug, Default)]
pub(super) struct Counts {
    by_address: HashMap<IpAddr, usize>,
    all: usize,
}

impl Counts {
    fn add(&mut self, address: IpAddr) -> bool {
        let count = self.by_address.entry(address).or_default();
        if *count >= MOST_PER_ADDRESS || self.all >= MOST {
            return false;
        }
        *count += 1;
        self.all += 1;
        true
    }

    fn remove(&mut self, address: IpAddr) {
        self.all = self.all.saturating_sub(1);
        if let Some(count) = self.by_address.get_mut(&address) {
            *count -= 1;
            if *count == 0 {
                self.by_address.remove(&address);
            }
        }
    }
}

/// One counted connection.
struct Place {
    address: IpAddr,
    service: Rc<Service>,
}

impl Place {
    fn take(address: IpAddr, service: &Rc<Service>) -> Option<Self> {
        let free = service.counts.borrow_mut().add(address);
        free.then(|| Self { address, service: service.clone() })
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        self.service.counts.borrow_mut().remove(self.address);
    }
}

pub(super) async fn tcp(listener: TcpListener, tls: Option<TlsAcceptor>, service: Rc<Service>) {
    loop {
        let (stream, peer) = match listener.accept().await {
            Ok(accepted) => accepted,
            Err(error) => {
                failed(&service, &error).await;
                continue;
            }
        };
        let Some(place) = Place::take(peer.ip(), &service) else { continue };
        // Without it a small answer may wait for an acknowledgement; nothing else is lost where it cannot be set.
        drop(stream.set_nodelay(true));
        let service = service.clone();
        match &tls {
            None => drop(tokio::task::spawn_local(async move {
                let _place = place;
                connection::serve(stream, service, Rights::Token).await;
            })),
            Some(acceptor) => {
                let handshake = tokio::time::timeout(HANDSHAKE_TIME, acceptor.accept(stream));
                drop(tokio::task::spawn_local(async move {
                    let _place = place;
                    // A failed handshake is the client's fault, and its alert tells it why.
                    if let Ok(Ok(stream)) = handshake.await {
                        connection::serve(stream, service, Rights::Token).await;
                    }
                }));
            }
        }
    }
}

pub(super) async fn unix(listener: UnixListener, service: Rc<Service>) {
    loop {
        match listener.accept().await {
            Ok((stream, _)) => {
                drop(tokio::task::spawn_local(connection::serve(stream, service.clone(), Rights::Token)));
            }
            Err(error) => failed(&service, &error).await,
        }
    }
}

/// A connection that its client gave up is nothing; anything else is logged, and a pause lets others free what lacks.
async fn failed(service: &Service, error: &std::io::Error) {
    use std::io::ErrorKind::{ConnectionAborted, ConnectionReset, Interrupted};
    if !matches!(error.kind(), ConnectionAborted | ConnectionReset | Interrupted) {
        service.context.log(Level::Crit, format!("registry: cannot accept a connection: {error}"));
        tokio::time::sleep(PAUSE).await;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_address_cannot_take_all_places() {
        let mut counts = Counts::default();
        let (one, other) = (IpAddr::from([192, 0, 2, 1]), IpAddr::from([192, 0, 2, 2]));
        assert!((0..MOST_PER_ADDRESS).all(|_| counts.add(one)));
        assert!(!counts.add(one));
        assert!(counts.add(other));
        counts.remove(one);
        assert!(counts.add(one));
        counts.remove(other);
        assert_eq!(counts.by_address.len(), 1);
    }
}
