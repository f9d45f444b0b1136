//! What a reader can wait for.

use serde::{Deserialize, Serialize};

/// A question whose answer may change. Every change names the topics that it touches; of keys it names only
/// [`Topic::Key`]: who wakes the waiters wakes those of each prefix of it too.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub enum Topic {
    /// One key, exactly.
    Key(Vec<u8>),
    /// All keys that begin with it.
    Prefix(Vec<u8>),
    /// All sessions: one, of a node, or the list.
    Sessions,
    /// The names of services and their tags.
    Services,
    /// The instances of a service, their nodes and all checks on them; lower case ([`Topic::service`]).
    Service(String),
    Nodes,
    /// One node, its services and checks; lower case ([`Topic::node`]).
    Node(String),
    /// Any check.
    Checks,
    /// Services and checks of the own node: what has to be probed.
    Agent,
    /// Everything: a snapshot was restored. Wakes every waiter.
    All,
}

impl Topic {
    /// The topic of a service; names are compared without case.
    #[must_use]
    pub fn service(name: &str) -> Self {
        Self::Service(name.to_lowercase())
    }

    /// The topic of a node; names are compared without case.
    #[must_use]
    pub fn node(name: &str) -> Self {
        Self::Node(name.to_lowercase())
    }
}
