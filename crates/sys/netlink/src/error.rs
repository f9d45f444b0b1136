//! Why the kernel did not do what was asked.

use std::io;

use rustix::io::Errno;

use crate::socket::Refusal;

/// A request that failed. Every variant carries what was asked, in words.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// `EPERM`
    #[error(
        "{request}: CAP_NET_ADMIN is missing: run as root or grant it with \
         `setcap cap_net_admin+ep` or systemd's AmbientCapabilities=CAP_NET_ADMIN"
    )]
    Permission { request: String },
    /// A name that does not resolve, or `ENODEV` for an index.
    #[error("{request}: there is no interface {interface}: create it or correct the name")]
    NoInterface { request: String, interface: String },
    /// Something else has the name.
    #[error("{request}: {found} exists already: delete it or choose another name")]
    Exists { request: String, found: String },
    /// The request contradicts itself; it was not sent.
    #[error("{request}: {reason}")]
    Invalid { request: String, reason: String },
    /// Any other refusal, with the kernel's own words if it had some.
    #[error("{request}: {meaning}")]
    Refused {
        request: String,
        /// the number of errno(3)
        errno: i32,
        meaning: String,
    },
    /// The conversation with the kernel failed: no reply in time, or replies lost.
    #[error("{request}: {source}")]
    Socket { request: String, source: io::Error },
}

impl Error {
    /// The errno that the kernel answered with, if it answered.
    #[must_use]
    pub const fn errno(&self) -> Option<i32> {
        match self {
            Self::Permission { .. } => Some(Errno::PERM.raw_os_error()),
            Self::NoInterface { .. } => Some(Errno::NODEV.raw_os_error()),
            Self::Exists { .. } => Some(Errno::EXIST.raw_os_error()),
            Self::Refused { errno, .. } => Some(*errno),
            Self::Invalid { .. } | Self::Socket { .. } => None,
        }
    }

    pub(crate) fn refused(request: String, interface: Option<u32>, refusal: Refusal) -> Self {
        let errno = Errno::from_raw_os_error(refusal.errno);
        match (errno, interface) {
            (Errno::PERM, _) => Self::Permission { request },
            (Errno::NODEV, Some(index)) => {
                Self::NoInterface { request, interface: format!("with index {index}") }
            }
            _ => Self::Refused { request, errno: refusal.errno, meaning: meaning(errno, refusal.text) },
        }
    }
}

/// The kernel's own words where it has some, ours for what an operator can repair, else those of strerror(3).
fn meaning(errno: Errno, text: Option<String>) -> String {
    let ours = match errno {
        Errno::ACCESS => "the kernel denies it; is IPv6 off (net.ipv6.conf.*.disable_ipv6)?",
        Errno::NETUNREACH | Errno::HOSTUNREACH => {
            "the gateway is on no network of this host: add the address first, or say onlink"
        }
        Errno::NETDOWN => "the interface is down: set it up first",
        Errno::NODEV => "the interface does not exist",
        Errno::ADDRNOTAVAIL => "the address is not there",
        Errno::AFNOSUPPORT | Errno::OPNOTSUPP => {
            "this kernel does not support it: load the module (macvlan, ipv6) or leave it out"
        }
        Errno::NOBUFS | Errno::NOMEM => "the kernel is out of memory for it",
        Errno::INVAL => "the kernel calls it contradictory (EINVAL)",
        _ => return text.unwrap_or_else(|| io::Error::from(errno).to_string()),
    };
    text.map_or_else(|| ours.to_owned(), |text| format!("{text} ({ours})"))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn refused(errno: Errno, text: Option<&str>) -> Error {
        let refusal = Refusal { errno: errno.raw_os_error(), text: text.map(str::to_owned) };
        Error::refused("add address 192.0.2.1/32".to_owned(), Some(7), refusal)
    }

    #[test]
    fn messages_say_what_was_asked_and_what_to_do() {
        let cases = [
            (
                refused(Errno::PERM, None),
                "add address 192.0.2.1/32: CAP_NET_ADMIN is missing: run as root or grant it with \
                 `setcap cap_net_admin+ep` or systemd's AmbientCapabilities=CAP_NET_ADMIN",
            ),
            (
                refused(Errno::NODEV, None),
                "add address 192.0.2.1/32: there is no interface with index 7: create it or correct the name",
            ),
            (
                refused(Errno::NETUNREACH, Some("Nexthop has invalid gateway")),
                "add address 192.0.2.1/32: Nexthop has invalid gateway (the gateway is on no network of this \
                 host: add the address first, or say onlink)",
            ),
            (refused(Errno::BUSY, Some("Busy with it")), "add address 192.0.2.1/32: Busy with it"),
        ];
        for (error, text) in cases {
            assert_eq!(error.to_string(), text);
        }
        assert_eq!(refused(Errno::BUSY, None).errno(), Some(16));
    }
}
