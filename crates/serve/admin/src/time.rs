//! Spans of time as people write them.

use std::time::Duration;

/// Reads `500ms`, `30s`, `10m`, `2h`, `1d`; a bare number is seconds.
///
/// # Errors
/// What was found and what was expected.
pub fn parse_time(text: &str) -> Result<Duration, String> {
    let digits = text.find(|c: char| !c.is_ascii_digit()).unwrap_or(text.len());
    let (number, unit) = text.split_at(digits);
    let number: u64 =
        number.parse().map_err(|_| format!("\"{text}\" is no time; expected 500ms, 30s, 10m, 2h or 1d"))?;
    let seconds = match unit {
        "ms" => return Ok(Duration::from_millis(number)),
        "" | "s" => 1,
        "m" => 60,
        "h" => 3600,
        "d" => 86_400,
        _ => return Err(format!("\"{unit}\" is no unit of time; expected ms, s, m, h or d")),
    };
    Ok(Duration::from_secs(number.saturating_mul(seconds)))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn units_and_their_absence() {
        assert_eq!(parse_time("500ms"), Ok(Duration::from_millis(500)));
        assert_eq!(parse_time("7"), Ok(Duration::from_secs(7)));
        assert_eq!(parse_time("10m"), Ok(Duration::from_secs(600)));
        assert_eq!(parse_time("2h"), Ok(Duration::from_secs(7200)));
        assert_eq!(parse_time("1d"), Ok(Duration::from_secs(86_400)));
    }

    #[test]
    fn what_is_no_time_is_named() {
        assert_eq!(parse_time("soon").expect_err("no digits").split(';').next(), Some("\"soon\" is no time"));
        assert_eq!(
            parse_time("3w").expect_err("no such unit"),
            "\"w\" is no unit of time; expected ms, s, m, h or d"
        );
        assert!(parse_time("99999999999999999999s").is_err());
    }
}
