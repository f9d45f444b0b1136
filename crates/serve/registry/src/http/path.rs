//! Paths as Go's ServeMux treats them: empty and dotted segments are not served but redirected.

/// The shortest path that names the same as the absolute `path`: without empty segments, `.` and `..`; a slash at the end
/// stays.
pub(crate) fn clean(path: &[u8]) -> Vec<u8> {
    let mut kept: Vec<&[u8]> = Vec::new();
    for segment in path.split(|byte| *byte == b'/') {
        match segment {
            b"" | b"." => {}
            b".." => {
                kept.pop();
            }
            other => kept.push(other),
        }
    }
    let mut cleaned = Vec::with_capacity(path.len());
    for segment in &kept {
        cleaned.push(b'/');
        cleaned.extend_from_slice(segment);
    }
    if kept.is_empty() || path.ends_with(b"/") {
        cleaned.push(b'/');
    }
    cleaned
}

/// `path` with everything escaped that cannot stand in a path (RFC 3986, section 3.3).
pub(crate) fn escape(path: &[u8]) -> String {
    let mut text = String::with_capacity(path.len());
    for &byte in path {
        if byte.is_ascii_alphanumeric() || b"-_.~$&+,/:;=@".contains(&byte) {
            text.push(char::from(byte));
        } else {
            text.push_str(&format!("%{byte:02X}"));
        }
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_path_is_cleaned_as_go_does() {
        for (path, cleaned) in [
            ("/v1/kv/a//b", "/v1/kv/a/b"),
            ("/v1//kv/a/", "/v1/kv/a/"),
            ("/v1/kv/a/../b", "/v1/kv/b"),
            ("/v1/kv/./b", "/v1/kv/b"),
            ("/../..", "/"),
            ("//", "/"),
            ("", "/"),
            ("/v1/kv/a.b", "/v1/kv/a.b"),
        ] {
            assert_eq!(clean(path.as_bytes()), cleaned.as_bytes(), "{path}");
        }
    }

    #[test]
    fn what_a_path_cannot_hold_is_escaped() {
        assert_eq!(escape(b"/v1/kv/a b\xff?"), "/v1/kv/a%20b%FF%3F");
    }
}
