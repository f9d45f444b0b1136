//! Links, and macvlans for virtual MAC addresses.

use netlink_packet_core::{NLM_F_CREATE, NLM_F_EXCL};
use netlink_packet_route::RouteNetlinkMessage;
use netlink_packet_route::link::{
    InfoData, InfoKind, InfoMacVlan, LinkAttribute, LinkFlags, LinkInfo as Info, LinkMessage, MacVlanMode,
};
use rustix::io::Errno;
use weir_model::vrrp::Mac;

use crate::socket::Request;
use crate::{Error, Netlink, decode};

const MACVLAN: &str = "macvlan";

/// A network interface, as the kernel has it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LinkInfo {
    pub index: u32,
    pub name: String,
    /// Set up, with carrier, and ready to pass packets.
    pub up: bool,
    /// Set up by the administrator, whatever the cable says.
    pub admin_up: bool,
    /// `None` if its hardware addresses are not of six bytes.
    pub mac: Option<Mac>,
    /// bytes
    pub mtu: u32,
    /// The driver of a virtual link, such as `macvlan`, `vlan`, `veth`.
    pub kind: Option<String>,
    /// Index of the link below (macvlan, vlan) or at the other end (veth), if it is in the same namespace.
    pub parent: Option<u32>,
    pub loopback: bool,
}

impl Netlink {
    /// Makes a macvlan in private mode on `base` with a hardware address of its own (RFC 9568 section 7.3), and sets
    /// it up. One that is there already with this name, base, address and mode is kept.
    ///
    /// # Errors
    /// [`Error::Exists`] if another link has the name; [`Error::NoInterface`] without a base; else the refusal.
    pub fn add_macvlan(&mut self, name: &str, base: u32, mac: Mac) -> Result<(), Error> {
        let describe = || format!("add macvlan {name} with {mac} on the interface with index {base}");
        check_name("name", name).map_err(|reason| Error::Invalid { request: describe(), reason })?;
        let message = RouteNetlinkMessage::NewLink(macvlan(name, base, mac));
        let request = Request { message, flags: NLM_F_CREATE | NLM_F_EXCL };
        match self.ask(vec![request], describe)? {
            Ok(()) => Ok(()),
            Err(refusal) if refusal.errno == Errno::EXIST.raw_os_error() => {
                let index = self.same_macvlan(name, base, mac, describe)?;
                self.set_up(index)
            }
            Err(refusal) => Err(Error::refused(describe(), Some(base), refusal)),
        }
    }

    /// Deletes a virtual link; one that is absent counts as deleted.
    ///
    /// # Errors
    /// The refusal; hardware cannot be deleted.
    pub fn delete_link(&mut self, index: u32) -> Result<(), Error> {
        let describe = || format!("delete the link with index {index}");
        let mut message = LinkMessage::default();
        message.header.index = index;
        let request = Request { message: RouteNetlinkMessage::DelLink(message), flags: 0 };
        match self.ask(vec![request], describe)? {
            Err(refusal) if refusal.errno != Errno::NODEV.raw_os_error() => {
                Err(Error::refused(describe(), Some(index), refusal))
            }
            _ => Ok(()),
        }
    }

    /// Sets a link up.
    ///
    /// # Errors
    /// [`Error::NoInterface`] if it is absent; else the refusal.
    pub fn set_up(&mut self, index: u32) -> Result<(), Error> {
        let describe = || format!("set up the link with index {index}");
        let mut message = LinkMessage::default();
        message.header.index = index;
        message.header.flags = LinkFlags::Up;
        message.header.change_mask = LinkFlags::Up;
        let request = Request { message: RouteNetlinkMessage::SetLink(message), flags: 0 };
        self.ask(vec![request], describe)?.map_err(|refusal| Error::refused(describe(), Some(index), refusal))
    }

    /// The index of the link of that name if it is the macvlan that was asked for.
    fn same_macvlan(
        &mut self,
        name: &str,
        base: u32,
        mac: Mac,
        describe: impl Fn() -> String,
    ) -> Result<u32, Error> {
        let found = self
            .link_dump(|payload| Some((decode::link(payload)?, decode::macvlan_mode(payload))))
            .map_err(|source| Error::Socket { request: describe(), source })?
            .into_iter()
            .find(|(link, _)| link.name == name);
        let Some((link, mode)) = found else {
            let found = format!("a link with the alternative name {name}");
            return Err(Error::Exists { request: describe(), found });
        };
        let kind = link.kind.as_deref();
        let private = mode == Some(MacVlanMode::Private.into());
        if kind == Some(MACVLAN) && link.parent == Some(base) && link.mac == Some(mac) && private {
            return Ok(link.index);
        }
        Err(Error::Exists { request: describe(), found: other(&link, private) })
    }
}

/// What the kernel takes as the name of an interface or a label: 1 to 15 bytes (`IFNAMSIZ` with its NUL).
pub(crate) fn check_name(what: &str, name: &str) -> Result<(), String> {
    match name.len() {
        1..=15 if !name.contains('\0') => Ok(()),
        1..=15 => Err(format!("the {what} {name:?} has a NUL byte, expected none")),
        length => Err(format!("the {what} has {length} bytes, expected 1 to 15")),
    }
}

/// A link in words, to tell what stands in the way.
fn other(link: &LinkInfo, private: bool) -> String {
    let kind = link.kind.as_deref().unwrap_or("hardware");
    let mode = if kind == MACVLAN && !private { " that is not private" } else { "" };
    let mac = link.mac.map(|mac| format!(" with {mac}")).unwrap_or_default();
    let base = link.parent.map(|parent| format!(" on the interface with index {parent}")).unwrap_or_default();
    format!("{} ({kind}{mode}{mac}{base})", link.name)
}

fn macvlan(name: &str, base: u32, mac: Mac) -> LinkMessage {
    let mut message = LinkMessage::default();
    message.header.flags = LinkFlags::Up;
    message.header.change_mask = LinkFlags::Up;
    message.attributes = vec![
        LinkAttribute::IfName(name.to_owned()),
        LinkAttribute::Link(base),
        LinkAttribute::Address(mac.0.to_vec()),
        LinkAttribute::LinkInfo(vec![
            Info::Kind(InfoKind::MacVlan),
            Info::Data(InfoData::MacVlan(vec![InfoMacVlan::Mode(MacVlanMode::Private)])),
        ]),
    ];
    message
}
