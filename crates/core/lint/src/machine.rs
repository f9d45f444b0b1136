//! The machine as far as rules ask about it.

use std::net::IpAddr;

use weir_model::vrrp::{Globals, Script};

/// This host. Only nodes that are this host are compared with it.
pub trait Machine {
    /// Whether there is a network interface of this name.
    fn has_interface(&self, name: &str) -> bool;

    /// Whether one of the interfaces has this address now.
    fn has_address(&self, address: &IpAddr) -> bool;

    /// The name of the host, as `router_id` may repeat it.
    fn host_name(&self) -> &str;

    /// Whether a script can be run, and by nobody else be changed.
    ///
    /// # Errors
    /// Why not.
    fn script(&self, script: &Script, globals: &Globals) -> Result<(), ScriptFault>;

    /// Whether a file is there and everybody may read it.
    fn is_readable_by_all(&self, path: &str) -> bool {
        let _ = path;
        false
    }
}

/// What is wrong with a script; the texts name the path.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum ScriptFault {
    /// It cannot be started: keepalived leaves it out and says so in its log alone.
    Unusable(String),
    /// It runs, and others than its user can change what it does.
    Exposed(String),
}
