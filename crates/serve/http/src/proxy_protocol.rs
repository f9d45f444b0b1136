//! The PROXY protocol header, versions 1 and 2 (HAProxy, "The PROXY protocol", sections 2.1 and 2.2).

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use weir_http::request::ProxyHeader;

/// Result of looking at the first bytes of a connection.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Parsed {
    Partial,
    Header { header: ProxyHeader, len: usize },
}

/// Why a header is refused.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Broken {
    Signature,
    Line,
    Version(u8),
    Command(u8),
    Length(usize),
    Tlv,
}

impl std::fmt::Display for Broken {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Signature => f.write_str("no PROXY protocol signature"),
            Self::Line => f.write_str("a PROXY line that is not of the form of version 1"),
            Self::Version(found) => write!(f, "unknown PROXY protocol version: {found}"),
            Self::Command(found) => write!(f, "unknown PROXY protocol command {found}"),
            Self::Length(found) => write!(f, "PROXY protocol header of {found} bytes, expected at most 4096"),
            Self::Tlv => f.write_str("a PROXY protocol TLV that runs over the end"),
        }
    }
}

const SIGNATURE: &[u8; 12] = b"\r\n\r\n\0\r\nQUIT\n";
const LINE_MAX: usize = 107;
const HEADER_MAX: usize = 4096;

/// Reads a header from the start of `bytes`.
pub(crate) fn parse(bytes: &[u8]) -> Result<Parsed, Broken> {
    if bytes.len() < SIGNATURE.len() && SIGNATURE.starts_with(bytes) {
        return Ok(Parsed::Partial);
    }
    if let Some(rest) = bytes.strip_prefix(SIGNATURE) {
        return binary(rest);
    }
    if !bytes.starts_with(b"PROXY ".get(..bytes.len().min(6)).unwrap_or_default()) {
        return Err(Broken::Signature);
    }
    match memchr::memchr(b'\n', bytes.get(..LINE_MAX).unwrap_or(bytes)) {
        Some(end) => line(&bytes[..end]).map(|header| Parsed::Header { header, len: end + 1 }),
        None if bytes.len() >= LINE_MAX => Err(Broken::Line),
        None => Ok(Parsed::Partial),
    }
}

fn line(line: &[u8]) -> Result<ProxyHeader, Broken> {
    let text = std::str::from_utf8(line).map_err(|_| Broken::Line)?;
    let text = text.strip_suffix('\r').ok_or(Broken::Line)?;
    let mut words = text.split(' ');
    let _proxy = words.next();
    match words.next() {
        Some("UNKNOWN") => return Ok(ProxyHeader::default()),
        Some("TCP4" | "TCP6") => {}
        _ => return Err(Broken::Line),
    }
    let mut address = || words.next().and_then(|word| word.parse::<IpAddr>().ok()).ok_or(Broken::Line);
    let (source, destination) = (address()?, address()?);
    let mut port = || words.next().and_then(|word| word.parse::<u16>().ok()).ok_or(Broken::Line);
    let (source_port, destination_port) = (port()?, port()?);
    if words.next().is_some() {
        return Err(Broken::Line);
    }
    Ok(ProxyHeader {
        source: Some((source, source_port)),
        destination: Some((destination, destination_port)),
        tlvs: Vec::new(),
    })
}

fn binary(rest: &[u8]) -> Result<Parsed, Broken> {
    let Some((head, rest)) = rest.split_first_chunk::<4>() else { return Ok(Parsed::Partial) };
    let [version_command, family, high, low] = *head;
    if version_command >> 4 != 2 {
        return Err(Broken::Version(version_command >> 4));
    }
    let length = usize::from(u16::from_be_bytes([high, low]));
    if length > HEADER_MAX {
        return Err(Broken::Length(length));
    }
    let Some(body) = rest.get(..length) else { return Ok(Parsed::Partial) };
    let len = SIGNATURE.len() + head.len() + length;
    // LOCAL: a connection of the proxy itself, such as a health check.
    if version_command & 15 == 0 {
        return Ok(Parsed::Header { header: ProxyHeader::default(), len });
    }
    if version_command & 15 != 1 {
        return Err(Broken::Command(version_command & 15));
    }
    let (ends, tlvs) = match family {
        0x11 | 0x12 => addresses::<4>(body, |octets| IpAddr::V4(Ipv4Addr::from(octets))),
        0x21 | 0x22 => addresses::<16>(body, |octets| IpAddr::V6(Ipv6Addr::from(octets))),
        _ => Some(((None, None), &body[body.len()..])),
    }
    .ok_or(Broken::Tlv)?;
    let header = ProxyHeader { source: ends.0, destination: ends.1, tlvs: tlv_list(tlvs)? };
    Ok(Parsed::Header { header, len })
}

type End = Option<(IpAddr, u16)>;

fn addresses<const N: usize>(body: &[u8], make: impl Fn([u8; N]) -> IpAddr) -> Option<((End, End), &[u8])> {
    let (source, rest) = body.split_first_chunk::<N>()?;
    let (destination, rest) = rest.split_first_chunk::<N>()?;
    let (ports, rest) = rest.split_first_chunk::<4>()?;
    let port = |high, low| u16::from_be_bytes([high, low]);
    let source = (make(*source), port(ports[0], ports[1]));
    let destination = (make(*destination), port(ports[2], ports[3]));
    Some(((Some(source), Some(destination)), rest))
}

fn tlv_list(mut rest: &[u8]) -> Result<Vec<(u8, Vec<u8>)>, Broken> {
    let mut found = Vec::new();
    while let Some((head, tail)) = rest.split_first_chunk::<3>() {
        let length = usize::from(u16::from_be_bytes([head[1], head[2]]));
        let (value, next) = tail.split_at_checked(length).ok_or(Broken::Tlv)?;
        found.push((head[0], value.to_vec()));
        rest = next;
    }
    Ok(found)
}
