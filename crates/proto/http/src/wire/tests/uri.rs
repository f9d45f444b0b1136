//! Normal forms of targets, along nginx's `http_uri.t` and `merge_slashes.t`; escaping.

use crate::wire::uri::{Escape, Unescape, UriError, UriFlags, escape, normalize, unescape};

fn read(target: &str, merge_slashes: bool) -> Result<(String, String, UriFlags), UriError> {
    let (mut uri, mut args) = (b"before".to_vec(), b"before".to_vec());
    let flags = normalize(target.as_bytes(), merge_slashes, &mut uri, &mut args)?;
    let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
    Ok((text(&uri), text(&args), flags))
}

#[test]
fn normal_forms() {
    for (target, uri, args) in [
        ("/", "/", ""),
        ("", "/", ""),
        ("?args", "/", "args"),
        (".", "/", ""),
        ("a", "/a", ""),
        ("?args#frag", "/", "args"),
        ("/foo/bar/.?args", "/foo/bar/", "args"),
        ("/foo/bar/.#frag", "/foo/bar/", ""),
        ("/foo/bar/..?args", "/foo/", "args"),
        ("/foo/bar/..#frag", "/foo/", ""),
        ("/foo/bar/.", "/foo/bar/", ""),
        ("/foo/bar/..", "/foo/", ""),
        ("/foo/./bar/../baz", "/foo/baz", ""),
        ("/foo/...", "/foo/...", ""),
        ("/foo/..a/.b/c.", "/foo/..a/.b/c.", ""),
        ("/a//b///c", "/a/b/c", ""),
        ("/a/?x=//../%2f?#y?", "/a/", "x=//../%2f?"),
        ("/a?", "/a", ""),
        ("/a#b?c", "/a", ""),
        ("/a%20b", "/a b", ""),
        ("/a%2fb%2F%2e%2e/c", "/a/c", ""),
        ("/a/%2e", "/a/", ""),
        ("/a/.%2e/b", "/b", ""),
        ("/a%3fb%23c%25d?e", "/a?b#c%d", "e"),
        ("/a/%3f./b", "/a/?./b", ""),
        ("/a/..%3f", "/a/..?", ""),
        ("/%02", "/\u{2}", ""),
        ("/a+b%2bc", "/a+b+c", ""),
    ] {
        let found = read(target, true).expect(target);
        assert_eq!((found.0.as_str(), found.1.as_str()), (uri, args), "{target}");
    }
    for (target, uri) in [
        ("/foo//../bar", "/foo/bar"),
        ("/foo///../bar", "/foo//bar"),
        ("//a", "//a"),
        ("//..", "/"),
        ("/a//./b", "/a//b"),
    ] {
        assert_eq!(read(target, false).expect(target).0, uri, "{target}");
    }
}

#[test]
fn flags() {
    let flags = |target| read(target, true).map(|(_, _, flags)| (flags.quoted, flags.complex));
    assert_eq!(flags("/a?b%20"), Ok((false, false)));
    assert_eq!(flags("/a?b#c"), Ok((false, true)));
    assert_eq!(flags("/a/./b"), Ok((false, true)));
    assert_eq!(flags("/a%20").map(|flags| flags.0), Ok(true));
}

#[test]
fn refused() {
    for (target, error) in [
        ("/foo/bar%", UriError::Quoting),
        ("/foo/bar%1", UriError::Quoting),
        ("/foo/bar%1?a", UriError::Quoting),
        ("/%g0", UriError::Quoting),
        ("/%0g", UriError::Quoting),
        ("/a%00b", UriError::Nul),
        ("/..", UriError::AboveRoot),
        ("/../a", UriError::AboveRoot),
        ("/a/../..", UriError::AboveRoot),
        ("/a/../../b", UriError::AboveRoot),
        ("/..?a", UriError::AboveRoot),
        ("/%2e%2e/a", UriError::AboveRoot),
    ] {
        assert_eq!(read(target, true).expect_err(target), error, "{target}");
    }
}

#[test]
fn escaping() {
    let all: Vec<u8> = (0x20..0x80).collect();
    let escaped = |kind| {
        let mut out = Vec::new();
        escape(kind, &all, &mut out);
        String::from_utf8(out)
            .expect("ASCII")
            .split('%')
            .skip(1)
            .map(|part| part[..2].to_owned())
            .collect::<Vec<_>>()
    };
    let common = ["20", "22", "23", "25", "3C", "3E", "5C", "5E", "60", "7B", "7C", "7D", "7F"];
    let with = |more: &[&str]| {
        let mut all: Vec<String> = common.iter().chain(more).map(|text| (*text).to_owned()).collect();
        all.sort();
        all
    };
    assert_eq!(escaped(Escape::Uri), with(&["3F"]));
    assert_eq!(escaped(Escape::Args), with(&["26", "2B", "3B", "3F"]));
    assert_eq!(escaped(Escape::Html), with(&["27"]));
    let component = escaped(Escape::UriComponent);
    assert_eq!(component.len(), 96 - 26 * 2 - 10 - 4);
    let mut out = b"x".to_vec();
    escape(Escape::Uri, b"/\x00\xffa", &mut out);
    assert_eq!(out, b"x/%00%FFa");
}

#[test]
fn unescaping() {
    for (kind, src, expected) in [
        (Unescape::Plain, "a%20b%3fc?d%41", "a b?c?dA"),
        (Unescape::Uri, "a%20b?c%20", "a b?c%20"),
        (Unescape::Uri, "a%3fb%20", "a?b%20"),
        (Unescape::Redirect, "a%20%25%26%41%7f%e9?b%41", "a%20%25&A%7f%e9?b%41"),
        (Unescape::Redirect, "a%3Fb%41", "a?b%41"),
        (Unescape::Plain, "a%gb%4gc%", "agbc"),
        (Unescape::Plain, "%4", ""),
        (Unescape::Uri, "%?a%41", "?aA"),
    ] {
        let mut out = b"x".to_vec();
        unescape(kind, src.as_bytes(), &mut out);
        assert_eq!(String::from_utf8_lossy(&out), format!("x{expected}"), "{kind:?} {src}");
    }
}
