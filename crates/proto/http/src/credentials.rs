//! Name and password of `Authorization: Basic` (RFC 7617).
//! Whether they are right is left to weir-serve-http.

/// The user of `Authorization: Basic` (RFC 7617, section 2).
#[must_use]
pub fn basic_user(header: Option<&[u8]>) -> Option<Vec<u8>> {
    basic_credentials(header).map(|(user, _)| user)
}

/// User and password of `Authorization: Basic`.
#[must_use]
pub fn basic_credentials(header: Option<&[u8]>) -> Option<(Vec<u8>, Vec<u8>)> {
    let header = header?;
    let (scheme, rest) = header.split_at_checked(6)?;
    if !scheme.eq_ignore_ascii_case(b"basic ") {
        return None;
    }
    let text = decode_base64(rest.trim_ascii())?;
    let colon = memchr::memchr(b':', &text)?;
    Some((text.get(..colon)?.to_vec(), text.get(colon + 1..)?.to_vec()))
}

fn decode_base64(text: &[u8]) -> Option<Vec<u8>> {
    let mut out = Vec::with_capacity(text.len() / 4 * 3 + 3);
    let (mut bits, mut count) = (0_u32, 0);
    for &byte in text.iter().take_while(|&&byte| byte != b'=') {
        let value = match byte {
            b'A'..=b'Z' => byte - b'A',
            b'a'..=b'z' => byte - b'a' + 26,
            b'0'..=b'9' => byte - b'0' + 52,
            b'+' => 62,
            b'/' => 63,
            _ => return None,
        };
        bits = (bits << 6) | u32::from(value);
        count += 6;
        if count >= 8 {
            count -= 8;
            out.push((bits >> count) as u8);
            bits &= (1 << count) - 1;
        }
    }
    Some(out)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn name_and_password_are_split_at_the_first_colon() {
        let both = basic_credentials(Some(b"basic dXNlcjpwYTpzcw=="));
        assert_eq!(both, Some((b"user".to_vec(), b"pa:ss".to_vec())));
        assert_eq!(basic_user(Some(b"Basic dXNlcjpwYTpzcw==")), Some(b"user".to_vec()));
    }

    #[test]
    fn what_is_no_basic_header_gives_nothing() {
        for header in ["Bearer dXNlcjpw", "Basic", "Basic !!!!", "Basic dXNlcg=="] {
            assert_eq!(basic_credentials(Some(header.as_bytes())), None, "{header}");
        }
        assert_eq!(basic_credentials(None), None);
    }
}
