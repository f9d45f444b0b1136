//! Durations in Go's spelling: `1h15m30.5s`, `-1.5h`, `300ms`.

/// Nanoseconds; nothing where Go's `time.ParseDuration` refuses (no unit, no digit, more than about 292 years).
pub(crate) fn parse(text: &str) -> Option<i64> {
    let (sign, mut rest) = match text.strip_prefix('-') {
        Some(rest) => (-1, rest),
        None => (1, text.strip_prefix('+').unwrap_or(text)),
    };
    if rest == "0" {
        return Some(0);
    }
    if rest.is_empty() {
        return None;
    }
    let mut total: i64 = 0;
    while !rest.is_empty() {
        let number_end = rest.find(|c: char| !c.is_ascii_digit() && c != '.').unwrap_or(rest.len());
        let (number, behind) = rest.split_at(number_end);
        let unit_end = behind.find(|c: char| c.is_ascii_digit() || c == '.').unwrap_or(behind.len());
        let (unit, behind) = behind.split_at(unit_end);
        total = total.checked_add(term(number, nanoseconds(unit)?)?)?;
        rest = behind;
    }
    Some(sign * total)
}

const fn nanoseconds(unit: &str) -> Option<i64> {
    Some(match unit.as_bytes() {
        b"ns" => 1,
        b"us" | b"\xc2\xb5s" | b"\xce\xbcs" => 1_000,
        b"ms" => 1_000_000,
        b"s" => 1_000_000_000,
        b"m" => 60_000_000_000,
        b"h" => 3_600_000_000_000,
        _ => return None,
    })
}

/// `number` times `unit`, the fraction cut to whole nanoseconds.
fn term(number: &str, unit: i64) -> Option<i64> {
    let (whole, fraction) = number.split_once('.').unwrap_or((number, ""));
    if (whole.is_empty() && fraction.is_empty()) || fraction.contains('.') {
        return None;
    }
    let whole: i64 = if whole.is_empty() { 0 } else { whole.parse().ok()? };
    let mut part: i64 = 0;
    let mut scale = unit;
    for digit in fraction.bytes() {
        // A tenth of the unit, of that a tenth, and so on; all units but a nanosecond divide by ten or are cut.
        part += i64::from(digit - b'0') * scale / 10;
        scale /= 10;
    }
    whole.checked_mul(unit)?.checked_add(part)
}

#[cfg(test)]
mod tests {
    use super::parse;

    #[test]
    fn what_go_reads_is_read() {
        for (text, nanos) in [
            ("0", 0),
            ("15s", 15_000_000_000),
            ("15000ms", 15_000_000_000),
            ("1h15m30.5s", 4_530_500_000_000),
            ("-1.5h", -5_400_000_000_000),
            ("+.5s", 500_000_000),
            ("1.s", 1_000_000_000),
            ("7us", 7_000),
            ("7µs", 7_000),
            ("3ns", 3),
        ] {
            assert_eq!(parse(text), Some(nanos), "{text}");
        }
    }

    #[test]
    fn what_go_refuses_is_refused() {
        for text in ["", "1", "s", ".s", "-", "1x", "1.2.3s", "1s1", "99999999999h", "1 s", "µ"] {
            assert_eq!(parse(text), None, "{text}");
        }
    }
}
