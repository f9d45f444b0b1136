//! Whatever a file holds: reading it never panics, and laying it out changes no word.

use std::io;

use proptest::prelude::*;
use weir_syntax::{Directive, Source, format, keepalived, parse, parse_all};

struct One(Vec<u8>);

impl Source for One {
    fn read(&self, _: &str) -> io::Result<Vec<u8>> {
        Ok(self.0.clone())
    }

    fn glob(&self, _: &str) -> Vec<String> {
        Vec::new()
    }
}

fn outline(items: &[Directive], text: &mut String) {
    for item in items {
        for word in std::iter::once(&item.name).chain(&item.args) {
            text.push_str(&format!("{:?} ", (&word.text, word.quoted)));
        }
        if let Some(block) = &item.block {
            text.push('{');
            outline(block, text);
            text.push('}');
        }
    }
}

/// The words of a text, when it can be read.
fn words(text: &str) -> Option<String> {
    let tree = parse("/f", "/", &One(text.as_bytes().to_vec())).ok()?;
    let mut words = String::new();
    outline(&tree.items, &mut words);
    Some(words)
}

proptest! {
    #[test]
    fn bytes_never_panic(bytes in proptest::collection::vec(any::<u8>(), 0..200)) {
        let parsed = parse_all(Some("a;"), "/f", "/", &One(bytes));
        if let Some(flaw) = parsed.flaw {
            prop_assert!(!flaw.nginx_line(&parsed.tree.files).is_empty());
            prop_assert!(!flaw.render(&parsed.tree.files, true).is_empty());
        }
    }

    #[test]
    fn texts_never_panic_and_keep_their_words(text in "[ab\u{e9}$#{};'\"\\\\() \n\t]{0,60}") {
        let once = format(&text);
        if let Some(before) = words(&text) {
            prop_assert_eq!(words(&once), Some(before));
            prop_assert_eq!(format(&once), once);
        }
    }
}

/// `/f` is the text, `/g` a part that includes it again.
struct Two(String);

impl Source for Two {
    fn read(&self, path: &str) -> io::Result<Vec<u8>> {
        match path {
            "/f" => Ok(self.0.clone().into_bytes()),
            "/g" => Ok(b"a\ninclude f\n}".to_vec()),
            _ => Err(io::ErrorKind::NotFound.into()),
        }
    }

    fn glob(&self, _: &str) -> Vec<String> {
        vec!["/g".to_owned()]
    }
}

fn keepalived_words(items: &[keepalived::Statement], text: &mut String) {
    for item in items {
        for word in std::iter::once(&item.name).chain(&item.args) {
            text.push_str(&format!("{:?} ", (&word.text, word.quoted)));
        }
        text.push_str(&format!("<{}>", item.rest));
        if let Some(block) = &item.block {
            text.push('{');
            keepalived_words(block, text);
            text.push('}');
        }
    }
}

fn keepalived_outline(text: &str) -> String {
    let settings = keepalived::Settings { node: "a".to_owned(), ..keepalived::Settings::default() };
    let parsed = keepalived::parse("/f", &settings, &Two(text.to_owned()));
    let mut words = String::new();
    keepalived_words(&parsed.tree.items, &mut words);
    for diagnostic in &parsed.diagnostics {
        assert!(!diagnostic.render(&parsed.tree.files, true).is_empty());
    }
    words
}

proptest! {
    #[test]
    fn keepalived_bytes_never_panic(bytes in proptest::collection::vec(any::<u8>(), 0..300)) {
        let parsed = keepalived::parse("/f", &keepalived::Settings::default(), &One(bytes));
        for diagnostic in &parsed.diagnostics {
            prop_assert!(!diagnostic.render(&parsed.tree.files, false).is_empty());
        }
    }

    #[test]
    fn keepalived_texts_never_panic_and_keep_their_words(
        text in "([ab\u{e9}$#!{}\"\\\\(),@^=\t \n\r]|\\$a=|\\$\\{a\\}|\\$a\n|~SEQ\\(a,2\\)|~LST\\(a,b\\)|include g\n|group|\\\\\n|@a ){0,20}"
    ) {
        let once = keepalived::format(&text);
        prop_assert_eq!(keepalived::format(&once), once.as_str());
        let before = keepalived_outline(&text);
        // A carriage return parts words where it does not end a line.
        if !text.contains('\r') {
            prop_assert_eq!(keepalived_outline(&once), before);
        }
        let _ = keepalived::is_keepalived(&text);
    }
}
