//! What the API asks of the process.

use std::future::Future;

use weir_directory::{Applied, Change, SetError, UpstreamStatus};

/// The directory of peers, as far as it is reached from outside of its thread. A future that is dropped asks no more.
pub trait Control: Clone + Send + Sync + 'static {
    /// All upstreams, in the order of the configuration.
    fn upstreams(&self) -> impl Future<Output = Vec<UpstreamStatus>> + Send;

    /// One upstream; absent: there is none of this name.
    fn upstream(&self, name: String) -> impl Future<Output = Option<UpstreamStatus>> + Send;

    /// An order; returns the change that has to be served for it to be in force everywhere.
    fn set(&self, change: Change) -> impl Future<Output = Result<u64, SetError>> + Send;

    /// Returns when all data threads serve `change`.
    fn served(&self, change: u64) -> impl Future<Output = ()> + Send;

    /// Returns when no request runs at the peer, or there is no such peer.
    fn quiet(&self, upstream: String, peer: String) -> impl Future<Output = ()> + Send;

    /// Returns when all data threads serve the list of index `index` or a later one; absent, at once: there is no such
    /// upstream, or no source of it counts its changes.
    fn wait_applied(&self, upstream: String, index: u64) -> impl Future<Output = Option<Applied>> + Send;

    /// How far the lists of an upstream have come; absent as with `wait_applied`.
    fn applied(&self, upstream: String) -> impl Future<Output = Option<Applied>> + Send;

    /// A number that is another one when `upstreams` would answer something else, ages and requests aside; never 0.
    fn version(&self) -> impl Future<Output = u64> + Send;

    /// Returns when the version is another one than `version`.
    fn changed(&self, version: u64) -> impl Future<Output = ()> + Send;
}
