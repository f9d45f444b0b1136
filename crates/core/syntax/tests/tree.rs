//! Trees, included files and the words of diagnostics.

use std::collections::BTreeMap;
use std::io;

use weir_syntax::{Directive, Parsed, Source, Span, parse, parse_all};

struct Disk(BTreeMap<&'static str, &'static [u8]>);

impl Source for Disk {
    fn read(&self, path: &str) -> io::Result<Vec<u8>> {
        self.0.get(path).map(|bytes| bytes.to_vec()).ok_or_else(|| io::Error::from_raw_os_error(2))
    }

    fn glob(&self, pattern: &str) -> Vec<String> {
        let (before, after) = pattern.split_once('*').expect("the tests use one star");
        let names = self.0.keys().filter(|name| name.starts_with(before) && name.ends_with(after));
        names.map(|name| (*name).to_owned()).collect()
    }
}

fn disk<const N: usize>(files: [(&'static str, &'static str); N]) -> Disk {
    Disk(files.into_iter().map(|(path, text)| (path, text.as_bytes())).collect())
}

fn read(disk: &Disk) -> Parsed {
    parse_all(None, "/conf/main.conf", "/conf/", disk)
}

/// The line that nginx prints for a flaw.
fn flaw<const N: usize>(files: [(&'static str, &'static str); N]) -> String {
    let parsed = read(&disk(files));
    parsed.flaw.expect("the files have a flaw").nginx_line(&parsed.tree.files)
}

fn outline(items: &[Directive]) -> String {
    let mut text = String::new();
    for item in items {
        text.push_str(&item.name.text);
        for word in &item.args {
            text.push('|');
            text.push_str(&word.text);
        }
        match &item.block {
            Some(inner) => text.push_str(&format!("{{{}}}", outline(inner))),
            None => text.push(';'),
        }
    }
    text
}

#[test]
fn included_files_stand_in_place() {
    let disk = disk([
        (
            "/conf/main.conf",
            "a 1;\nb {\n  include sub/*.conf;\n  include /other;\n  include sub/x.conf;\n}\nc;",
        ),
        ("/conf/sub/x.conf", "x;"),
        ("/conf/sub/y.conf", "y { z; }"),
        ("/other", ""),
    ]);
    let tree = parse("/conf/main.conf", "/conf", &disk).expect("the files are sound");
    assert_eq!(outline(&tree.items), "a|1;b{x;y{z;}x;}c;");
    let paths: Vec<_> = tree.files.iter().map(|file| file.path.as_str()).collect();
    assert_eq!(paths, ["/conf/main.conf", "/conf/sub/x.conf", "/conf/sub/y.conf", "/other"]);
    assert_eq!(tree.items[1].span, Span { file: 0, start: 5, end: 8 });
    let close = tree.items[1].close.expect("the block is closed");
    assert_eq!(tree.files[0].line(close.last().start), 6);
}

#[test]
fn flaws_name_the_line_on_which_the_parser_stood() {
    assert_eq!(
        flaw([("/conf/main.conf", "a {\n b;\n\n")]),
        "unexpected end of file, expecting \"}\" in /conf/main.conf:4"
    );
    assert_eq!(
        flaw([("/conf/main.conf", "a;\nb 'c\n;\n")]),
        "unexpected end of file, expecting \";\" or \"}\" in /conf/main.conf:4"
    );
    assert_eq!(flaw([("/conf/main.conf", "a;\n}\n")]), "unexpected \"}\" in /conf/main.conf:2");
    assert_eq!(flaw([("/conf/main.conf", "a\n  'b'x;\n")]), "unexpected \"x\" in /conf/main.conf:2");
    assert_eq!(
        flaw([("/conf/main.conf", "a {\n include\n gone;\n}")]),
        "open() \"/conf/gone\" failed (2: No such file or directory) in /conf/main.conf:3"
    );
    assert_eq!(flaw([]), "open() \"/conf/main.conf\" failed (2: No such file or directory)");
    assert_eq!(
        flaw([("/conf/main.conf", "a {\n include sub;\n}"), ("/conf/sub", "b;\n}\n")]),
        "unexpected \"}\" in /conf/sub:2"
    );
    assert_eq!(
        flaw([("/conf/main.conf", "include sub;"), ("/conf/sub", "\ninclude main.conf;")]),
        "open() \"/conf/main.conf\" failed (24: Too many open files) in /conf/sub:2"
    );
}

#[test]
fn what_stands_before_a_flaw_is_kept() {
    let parsed =
        read(&disk([("/conf/main.conf", "a;\nb { c;\n include sub;\n"), ("/conf/sub", "d { e; } }")]));
    assert_eq!(outline(&parsed.tree.items), "a;b{c;d{e;}}");
    assert_eq!(parsed.tree.items[1].close, None);
}

#[test]
fn deep_nesting_is_refused() {
    let text: &'static str = "a{".repeat(100_000).leak();
    let message = flaw([("/conf/main.conf", text)]);
    assert_eq!(message, "too many blocks within each other in /conf/main.conf:1");
}

#[test]
fn the_command_line() {
    let files = disk([("/conf/main.conf", "b;")]);
    let parsed = parse_all(Some("a 1; include /gone;"), "/conf/main.conf", "/conf", &files);
    let line = parsed.flaw.expect("the file is not there").nginx_line(&parsed.tree.files);
    assert_eq!(line, "open() \"/gone\" failed (2: No such file or directory) in command line");

    let parsed = parse_all(Some("a 1"), "/conf/main.conf", "/conf", &files);
    let line = parsed.flaw.expect("the semicolon is missing").nginx_line(&parsed.tree.files);
    assert_eq!(line, "unexpected end of parameter, expecting \";\" in command line");

    let parsed = parse_all(Some("a { }"), "/conf/main.conf", "/conf", &files);
    let line = parsed.flaw.expect("a block is refused").nginx_line(&parsed.tree.files);
    assert_eq!(line, "block directives are not supported in -g option in command line");

    let parsed = parse_all(Some("a 1;"), "/conf/main.conf", "/conf", &files);
    assert_eq!(outline(&parsed.tree.items), "a|1;b;");
}

#[test]
fn a_rendered_flaw_shows_its_line() {
    let parsed = read(&disk([("/conf/main.conf", "a;\n\tb {\n\t\tc 'd'e;\n")]));
    let flaw = parsed.flaw.expect("there is no space behind the quote");
    let expected = "error: unexpected \"e\"
 --> /conf/main.conf:3:8
  |
3 |         c 'd'e;
  |              ^
  = note: inside the block of \"b\"
  = help: put a space, \";\" or \"{\" behind the closing quote
";
    assert_eq!(flaw.render(&parsed.tree.files, false), expected);
}

#[test]
fn bytes_that_are_not_utf_8_survive() {
    let raw: &'static [u8] = b"a \xe9t\xe9 \xd0\xb6;";
    let disk = Disk(BTreeMap::from([("/conf/main.conf", raw)]));
    let tree = parse("/conf/main.conf", "/conf", &disk).expect("the file is sound");
    assert_eq!(tree.files[0].bytes().as_ref(), raw);
    assert_eq!(weir_syntax::encode(&tree.items[0].args[0].text).as_ref(), b"\xe9t\xe9");
}
