//! Any bytes as a configuration file that includes itself or a second one: no panic, spans that lie within their
//! files, flaws that name a file, and a layout that stays as it is when it is laid out again.
//! The first NUL byte parts the main file from the included one.
#![no_main]

use std::io;

use libfuzzer_sys::fuzz_target;
use weir_syntax::{Directive, Source, Tree, format, parse_all};

/// `/main` and `/part`.
struct Files<'a> {
    main: &'a [u8],
    part: &'a [u8],
}

impl Source for Files<'_> {
    fn read(&self, path: &str) -> io::Result<Vec<u8>> {
        match path {
            "/main" => Ok(self.main.to_vec()),
            "/part" => Ok(self.part.to_vec()),
            _ => Err(io::ErrorKind::NotFound.into()),
        }
    }

    fn glob(&self, pattern: &str) -> Vec<String> {
        if pattern.starts_with("/p") { vec!["/part".to_owned()] } else { Vec::new() }
    }
}

fuzz_target!(|data: &[u8]| {
    let at = data.iter().position(|&byte| byte == 0).unwrap_or(data.len());
    let (main, part) = data.split_at(at);
    let parsed = parse_all(None, "/main", "/", &Files { main, part });
    check(&parsed.tree, &parsed.tree.items);
    if parsed.flaw.is_none() {
        for file in &parsed.tree.files {
            let once = format(&file.text);
            assert_eq!(once, format(&once));
        }
    }
});

fn check(tree: &Tree, items: &[Directive]) {
    for item in items {
        for span in [item.span, item.name.span].into_iter().chain(item.args.iter().map(|word| word.span)) {
            let file = tree.files.get(span.file as usize).expect("a span names a file that was read");
            assert!(
                file.text.get(span.start as usize..span.end as usize).is_some(),
                "a span lies between characters"
            );
        }
        check(tree, item.block.as_deref().unwrap_or_default());
    }
}
