//! Links, addresses with leases, routes and rules of the kernel over rtnetlink: synchronous, without files.
//! What to hold and when, interface names and sysctls are left to the caller.

mod address;
mod decode;
mod error;
mod family;
mod link;
mod monitor;
mod netlink;
mod route;
mod rule;
mod socket;

pub use address::{ADDRESS_PROTOCOL, AddressInfo, AddressWish};
pub use error::Error;
pub use link::LinkInfo;
pub use monitor::{Event, Monitor};
pub use netlink::Netlink;
pub use route::ROUTE_PROTOCOL;
