//! Address families, and what has to be of one.

use std::net::IpAddr;

use netlink_packet_route::AddressFamily;
use weir_model::vrrp::Family;

pub(crate) const fn address_family(family: Family) -> AddressFamily {
    match family {
        Family::V4 => AddressFamily::Inet,
        Family::V6 => AddressFamily::Inet6,
    }
}

pub(crate) const fn family_of(address: IpAddr) -> Family {
    match address {
        IpAddr::V4(_) => Family::V4,
        IpAddr::V6(_) => Family::V6,
    }
}

/// Whether the address is of the family of the `whole`, such as "route", in which it plays the `role`.
pub(crate) fn check_family(family: Family, whole: &str, role: &str, address: IpAddr) -> Result<(), String> {
    if family_of(address) == family {
        return Ok(());
    }
    Err(format!("the {role} {address} is of another family than the {whole}"))
}

/// As [`check_family`], and whether the length of the prefix is possible.
pub(crate) fn check_prefix(
    family: Family,
    whole: &str,
    role: &str,
    (address, length): (IpAddr, u8),
) -> Result<(), String> {
    check_family(family, whole, role, address)?;
    let longest = match family {
        Family::V4 => 32,
        Family::V6 => 128,
    };
    if length <= longest {
        return Ok(());
    }
    Err(format!("the {role} has a prefix length of {length}, expected at most {longest}"))
}
