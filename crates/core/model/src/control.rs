//! What runs beside the traffic: the embedded registry and the API for people and scripts.

use std::net::SocketAddr;

use serde::{Deserialize, Serialize};

use crate::source::Secret;
use crate::{ListenAddress, Millis};

/// `registry { }`: the embedded registry with Consul's API.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Registry {
    pub listen: Vec<ListenAddress>,
    /// UDP and TCP.
    pub dns: Vec<SocketAddr>,
    /// The folder of the database; absolute.
    pub data: String,
    pub datacenter: String,
    /// Absent: the machine's name.
    pub node: Option<String>,
    /// The address that DNS and the catalog give for the node.
    pub address: std::net::IpAddr,
    /// Absent: everybody who can connect may write.
    pub write_token: Option<Secret>,
    /// Absent: everybody who can connect may read.
    pub read_token: Option<Secret>,
    /// PEM files of certificate and key; absent: plain text.
    pub tls: Option<(String, String)>,
    /// DNS answers leave out services with a warning as well.
    pub only_passing: bool,
    pub dns_ttl: Millis,
}

impl Default for Registry {
    fn default() -> Self {
        Self {
            listen: Vec::new(),
            dns: Vec::new(),
            data: String::new(),
            datacenter: "dc1".to_owned(),
            node: None,
            address: std::net::Ipv4Addr::LOCALHOST.into(),
            write_token: None,
            read_token: None,
            tls: None,
            only_passing: false,
            dns_ttl: Millis(0),
        }
    }
}

/// The control API: a socket in the file system, and TCP where `admin { }` says so.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Admin {
    /// Absent: the default of this user; absolute.
    pub socket: Option<String>,
    pub listen: Vec<ListenAddress>,
    /// Needed over TCP for what changes something.
    pub write_token: Option<Secret>,
    /// Absent: everybody who can connect may read.
    pub read_token: Option<Secret>,
}
