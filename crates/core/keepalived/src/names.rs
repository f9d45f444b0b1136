//! The names that iproute2 has for the kernel's numbers: tables, scopes, protocols.

use weir_syntax::Word;

use crate::scope::Scope;

/// A routing table by name or number; 254 is main.
pub(crate) fn table(word: &Word, scope: &mut Scope<'_>) -> Option<u32> {
    let known = match word.text.as_str() {
        "local" => Some(255),
        "main" => Some(254),
        "default" => Some(253),
        text => number(text).or_else(|| scope.env.routing_table(text)),
    };
    if known.is_none() {
        let message = format!("no routing table has the name {:?}; the line is ignored", word.text);
        scope.advise(word.span, message, "use its number, or add it to /etc/iproute2/rt_tables");
    }
    known
}

/// The scope of an address or route as the kernel's number.
pub(crate) fn scope_number(text: &str) -> Option<u8> {
    Some(match text {
        "global" | "universe" => 0,
        "site" => 200,
        "link" => 253,
        "host" => 254,
        "nowhere" => 255,
        _ => return number(text).and_then(|number| u8::try_from(number).ok()),
    })
}

/// Who made a route as the kernel's number (`/etc/iproute2/rt_protos`).
pub(crate) fn protocol(text: &str) -> Option<u8> {
    Some(match text {
        "redirect" => 1,
        "kernel" => 2,
        "boot" => 3,
        "static" => 4,
        "gated" => 8,
        "ra" => 9,
        "mrt" => 10,
        "zebra" => 11,
        "bird" => 12,
        "dnrouted" => 13,
        "xorp" => 14,
        "ntk" => 15,
        "dhcp" => 16,
        "keepalived" => KEEPALIVED,
        "babel" => 42,
        "bgp" => 186,
        "isis" => 187,
        "ospf" => 188,
        "rip" => 189,
        "eigrp" => 192,
        _ => return number(text).and_then(|number| u8::try_from(number).ok()),
    })
}

/// The protocol number of keepalived's routes.
pub(crate) const KEEPALIVED: u8 = 18;

/// A number in decimal, in octal behind 0, or in hexadecimal behind 0x, as C reads it.
pub(crate) fn number(text: &str) -> Option<u32> {
    if let Some(digits) = text.strip_prefix("0x").or_else(|| text.strip_prefix("0X")) {
        return u32::from_str_radix(digits, 16).ok().filter(|_| !digits.starts_with('+'));
    }
    if text.starts_with('+') {
        return None;
    }
    match text.strip_prefix('0') {
        Some(digits) if !digits.is_empty() => {
            u32::from_str_radix(digits, 8).ok().filter(|_| !digits.starts_with('+'))
        }
        _ => text.parse().ok(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_are_those_of_c() {
        assert_eq!(number("10"), Some(10));
        assert_eq!(number("0x1f"), Some(31));
        assert_eq!(number("010"), Some(8));
        assert_eq!(number("0"), Some(0));
        for wrong in ["", "-1", "+1", "0x", "08", "0x+1", "0+7", "1a", "4294967296"] {
            assert_eq!(number(wrong), None, "{wrong:?}");
        }
    }
}
