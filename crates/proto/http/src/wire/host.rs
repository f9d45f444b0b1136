//! Host names of requests, as nginx 1.31 reads them (RFC 3986, 3.2.2).
//! Finding the server of a name is left to routing.

/// What follows the name.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct HostParts {
    /// The port, when one other than 0 is named.
    pub port: Option<u16>,
}

/// Why a host is refused.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum HostError {
    #[error("the host is empty, expected a name or an address")]
    Empty,
    #[error("the host has two dots in a row")]
    DoubleDot,
    #[error("byte 0x{0:02x} cannot be part of a host")]
    Byte(u8),
    #[error("the address literal has no \"]\"")]
    Literal,
    #[error("the port is not a number up to 65535")]
    Port,
}

/// Writes the name of a host in lower case, without port and without the dot at its end, over `out`.
///
/// # Errors
/// The check that failed; `out` is empty then.
pub fn parse_host(value: &[u8], out: &mut Vec<u8>) -> Result<HostParts, HostError> {
    out.clear();
    let (name, port) = split(value)?;
    out.extend(name.iter().map(u8::to_ascii_lowercase));
    Ok(HostParts { port })
}

/// The name as sent, without the dot at its end, and the port.
pub(super) fn split(value: &[u8]) -> Result<(&[u8], Option<u16>), HostError> {
    let literal = value.first() == Some(&b'[');
    let (name, rest) = if literal {
        let end = memchr::memchr(b']', value).ok_or(HostError::Literal)? + 1;
        value.split_at_checked(end).unwrap_or_default()
    } else {
        let end = memchr::memchr(b':', value).unwrap_or(value.len());
        value.split_at_checked(end).unwrap_or_default()
    };
    let inner = if literal { name.get(1..name.len() - 1).unwrap_or_default() } else { name };
    let extra = if literal { b':' } else { b'%' };
    let mut previous = 0;
    for &byte in inner {
        if !is_reg_name(byte) && byte != extra {
            return Err(HostError::Byte(byte));
        }
        if byte == b'.' && previous == b'.' {
            return Err(HostError::DoubleDot);
        }
        previous = byte;
    }
    let port = match rest {
        [] => None,
        [b':', digits @ ..] => port(digits)?,
        [byte, ..] => return Err(HostError::Byte(*byte)),
    };
    let name = if literal { name } else { name.strip_suffix(b".").unwrap_or(name) };
    if name.is_empty() { Err(HostError::Empty) } else { Ok((name, port)) }
}

fn port(digits: &[u8]) -> Result<Option<u16>, HostError> {
    let number = digits.iter().try_fold(0_u16, |sum, &byte| {
        let digit = byte.wrapping_sub(b'0');
        if digit > 9 { None } else { sum.checked_mul(10)?.checked_add(u16::from(digit)) }
    });
    number.map(|port| (port != 0).then_some(port)).ok_or(HostError::Port)
}

/// Unreserved characters and sub-delimiters.
fn is_reg_name(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || b"-._~!$&'()*+,;=".contains(&byte)
}
