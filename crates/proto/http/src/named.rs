//! Values found by the rest of a variable's name: headers, trailers, arguments.
//! Which list a family of variables looks into is left to the evaluation.

fn same_name(header: &[u8], variable: &str) -> bool {
    header.len() == variable.len()
        && header
            .iter()
            .zip(variable.bytes())
            .all(|(&left, right)| left.to_ascii_lowercase() == right || (left == b'-' && right == b'_'))
}

pub(crate) fn join<'a>(
    fields: impl Iterator<Item = (&'a [u8], &'a [u8])>,
    name: &str,
    out: &mut Vec<u8>,
) -> bool {
    join_with(fields, name, b", ", out)
}

pub(crate) fn join_with<'a>(
    fields: impl Iterator<Item = (&'a [u8], &'a [u8])>,
    name: &str,
    separator: &[u8],
    out: &mut Vec<u8>,
) -> bool {
    let mut found = false;
    for (_, value) in fields.filter(|(header, _)| same_name(header, name)) {
        if found {
            out.extend_from_slice(separator);
        }
        out.extend_from_slice(value);
        found = true;
    }
    found
}

/// Appends the value of the argument `name` of a query, and tells whether it is there.
pub fn argument(args: &[u8], name: &[u8], out: &mut Vec<u8>) -> bool {
    for pair in args.split(|&byte| byte == b'&') {
        if let Some(at) = memchr::memchr(b'=', pair)
            && pair[..at].eq_ignore_ascii_case(name)
        {
            out.extend_from_slice(&pair[at + 1..]);
            return true;
        }
    }
    false
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn headers_of_one_name_are_joined() {
        let fields: [(&[u8], &[u8]); 3] = [(b"X-One", b"1"), (b"Other", b"o"), (b"x-one", b"2")];
        let mut out = Vec::new();
        assert!(join(fields.into_iter(), "x_one", &mut out));
        assert_eq!(out, b"1, 2");
        assert!(!join(fields.into_iter(), "x_two", &mut out));
    }

    #[test]
    fn an_argument_needs_its_equals_sign() {
        let mut out = Vec::new();
        assert!(!argument(b"a&ab=1", b"a", &mut out));
        assert!(argument(b"x=1&A=2&a=3", b"a", &mut out));
        assert_eq!(out, b"2");
    }
}
