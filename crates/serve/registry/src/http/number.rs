/// A number of a query, refused in the words of Go's `strconv.ParseUint` (base 10, 64 bits).
pub(crate) fn parse_u64(text: &str) -> Result<u64, String> {
    let what = if text.is_empty() || !text.bytes().all(|byte| byte.is_ascii_digit()) {
        "invalid syntax"
    } else {
        match text.parse() {
            Ok(number) => return Ok(number),
            Err(_) => "value out of range",
        }
    };
    Err(format!("strconv.ParseUint: parsing {text:?}: {what}"))
}

#[cfg(test)]
mod tests {
    use super::parse_u64;

    #[test]
    fn numbers_are_read_and_refused_as_go_does() {
        assert_eq!(parse_u64("18446744073709551615"), Ok(u64::MAX));
        assert_eq!(parse_u64(""), Err("strconv.ParseUint: parsing \"\": invalid syntax".to_owned()));
        assert_eq!(parse_u64("+1"), Err("strconv.ParseUint: parsing \"+1\": invalid syntax".to_owned()));
        assert_eq!(
            parse_u64("18446744073709551616"),
            Err("strconv.ParseUint: parsing \"18446744073709551616\": value out of range".to_owned())
        );
    }
}
