//! Whatever a file holds: reading it never panics, and laying it out changes no word.

use std::io;

use proptest::prelude::*;
use weir_syntax::{Directive, Source, format, parse, parse_all};

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
