//! What is run and registered.

use std::net::{IpAddr, SocketAddr};
use std::time::Duration;

use crate::check::Check;

/// How an instance is known in the registry.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Form {
    /// A service of Consul's agent API.
    Service,
    /// A key `PREFIX/ADDRESS:PORT` with the attributes of nginx-upsync as its value; the prefix has no slash at its ends.
    Key { prefix: String },
}

/// Where the application is reached.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Place {
    Address(IpAddr),
    /// The local address from which this machine reaches the registry: host names or addresses with ports.
    Towards(Vec<(String, u16)>),
}

/// One instance of a service.
#[derive(Clone, Debug)]
pub struct Plan {
    pub service: String,
    pub port: u16,
    pub place: Place,
    /// Absent: `SERVICE-ADDRESS-PORT`.
    pub id: Option<String>,
    pub tags: Vec<String>,
    pub meta: Vec<(String, String)>,
    pub weight: u16,
    pub form: Form,
    pub check: Check,
    /// From probe to probe; a probe may take as long, and at least a second.
    pub interval: Duration,
    /// Probes in a row that change the verdict.
    pub rise: u32,
    pub fall: u32,
    /// Zero: the application may start as slowly as it likes.
    pub start_deadline: Duration,
    pub drain_timeout: Duration,
    /// The application says by `sd_notify` when it is ready, instead of the first check, and when it stops.
    pub notify: bool,
    /// `NOTIFY_SOCKET` as this process was given it, by systemd for instance: it is told of readiness and of the drain. The
    /// application never sees it.
    pub supervisor: Option<std::ffi::OsString>,
    /// What proxies call the upstream.
    pub upstream: String,
    /// Of a lease in Consul: at least 10 s.
    pub ttl: Duration,
    /// The application and its words; never empty.
    pub command: Vec<std::ffi::OsString>,
}

/// A plan whose address is known.
#[derive(Clone, Debug)]
pub(crate) struct Instance {
    pub(crate) plan: Plan,
    pub(crate) address: SocketAddr,
    pub(crate) id: String,
}

impl Instance {
    /// Fails as long as the registry's name is not known or there is no way to it.
    pub(crate) async fn of(plan: &Plan) -> Result<Self, String> {
        let ip = match &plan.place {
            Place::Address(ip) => *ip,
            Place::Towards(hosts) => towards(hosts).await?,
        };
        let id = plan.id.clone().unwrap_or_else(|| format!("{}-{ip}-{}", plan.service, plan.port));
        Ok(Self { plan: plan.clone(), address: SocketAddr::new(ip, plan.port), id })
    }
}

/// Sends nothing: the kernel says which of its addresses it would use.
async fn towards(hosts: &[(String, u16)]) -> Result<IpAddr, String> {
    let mut problem = "no registry".to_owned();
    for (host, port) in hosts {
        let found = tokio::net::lookup_host((host.as_str(), *port)).await;
        for address in found.map_err(|error| problem = format!("{host}: {error}")).into_iter().flatten() {
            let any: SocketAddr =
                if address.is_ipv4() { ([0, 0, 0, 0], 0).into() } else { ([0; 16], 0).into() };
            let local = std::net::UdpSocket::bind(any)
                .and_then(|socket| socket.connect(address).and_then(|()| socket.local_addr()));
            match local {
                Ok(local) => return Ok(local.ip()),
                Err(error) => problem = format!("{address}: {error}"),
            }
        }
    }
    Err(format!("the own address is not known: {problem}; give it by --address"))
}
