//! Recorded cases: each `keepalived/NAME.conf` is read as node `one`, and its tree and what is reported about it are
//! compared with `NAME.tree`. `WEIR_RECORD=1` writes the trees anew.

use std::fmt::Write;
use std::io;
use std::path::{Path, PathBuf};

use weir_syntax::keepalived::{Parsed, Settings, Statement, format, is_keepalived, parse, parse_text};
use weir_syntax::{Severity, Source, SourceFile, Word};

/// The folder of the cases, seen as `/cases`.
struct Cases(PathBuf);

impl Cases {
    fn new() -> Self {
        Self(Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/keepalived"))
    }

    fn real(&self, path: &str) -> PathBuf {
        self.0.join(path.trim_start_matches("/cases").trim_start_matches('/'))
    }
}

impl Source for Cases {
    fn read(&self, path: &str) -> io::Result<Vec<u8>> {
        std::fs::read(self.real(path))
    }

    /// Patterns with one star in the last part.
    fn glob(&self, pattern: &str) -> Vec<String> {
        let (folder, name) = pattern.rsplit_once('/').expect("patterns are completed");
        let (before, after) = name.split_once('*').expect("the cases use a star");
        let Ok(entries) = std::fs::read_dir(self.real(folder)) else { return Vec::new() };
        let names = entries.map(|entry| entry.expect("the folder can be read").file_name());
        let names = names.map(|name| name.into_string().expect("the names are UTF-8"));
        let mut found: Vec<_> = names
            .filter(|name| name.starts_with(before) && name.ends_with(after))
            .map(|name| format!("{folder}/{name}"))
            .collect();
        found.sort();
        found
    }

    fn is_executable(&self, path: &str) -> bool {
        path.ends_with(".sh")
    }
}

fn settings() -> Settings {
    Settings {
        config_id: None,
        node: "one.example".to_owned(),
        environment: vec![("SITE".to_owned(), "north".to_owned())],
    }
}

/// One statement a line: place, words, and what stands behind the keyword when the words do not say it.
fn outline(files: &[SourceFile], items: &[Statement], depth: usize, out: &mut String) {
    for item in items {
        let file = &files[item.span.file as usize];
        let (line, column) = file.position(item.span.start);
        let name = file.path.rsplit('/').next().unwrap_or_default();
        let _ = write!(out, "{:20}{:depth$}", format!("{name}:{line}:{column}"), "", depth = 2 * depth);
        let words: Vec<_> = std::iter::once(&item.name).chain(&item.args).map(word).collect();
        out.push_str(&words.join(" "));
        let plain: Vec<_> = item.args.iter().map(|word| word.text.as_str()).collect();
        if plain.join(" ") != item.rest {
            let _ = write!(out, "    <{}>", item.rest);
        }
        out.push_str(if item.block.is_some() { " {\n" } else { "\n" });
        if let Some(block) = &item.block {
            outline(files, block, depth + 1, out);
            let close = item.close.map(|close| files[close.file as usize].line(close.start));
            let place = close.map_or("never".to_owned(), |line| format!(":{line}"));
            let _ = writeln!(out, "{place:20}{:depth$}}}", "", depth = 2 * depth);
        }
    }
}

fn word(word: &Word) -> String {
    if word.quoted { format!("{:?}", word.text) } else { word.text.escape_debug().to_string() }
}

fn dump(parsed: &Parsed) -> String {
    let mut out = String::new();
    outline(&parsed.tree.files, &parsed.tree.items, 0, &mut out);
    for diagnostic in &parsed.diagnostics {
        out.push('\n');
        out.push_str(&diagnostic.render(&parsed.tree.files, false));
    }
    out
}

#[test]
fn cases() {
    let cases = Cases::new();
    let entries = std::fs::read_dir(&cases.0).expect("the folder of the cases is there");
    let names = entries.map(|entry| entry.expect("the folder can be read").file_name());
    let mut names: Vec<_> =
        names.filter_map(|name| Some(name.to_str()?.strip_suffix(".conf")?.to_owned())).collect();
    names.sort();
    assert!(names.len() > 5, "the cases are there");
    for name in names {
        let parsed = parse(&format!("/cases/{name}.conf"), &settings(), &cases);
        let (seen, path) = (dump(&parsed), cases.0.join(format!("{name}.tree")));
        if std::env::var_os("WEIR_RECORD").is_some() {
            std::fs::write(&path, &seen).expect("the tree can be written");
        }
        let wanted = std::fs::read_to_string(&path).unwrap_or_default();
        assert_eq!(seen, wanted, "{name}");
        let text = &parsed.tree.files[0].text;
        assert!(is_keepalived(text), "{name}");
        let once = format(text);
        assert_eq!(once, format(&once), "{name}");
        let again = parse_text(&format!("/cases/{name}.conf"), &once, &settings(), &cases);
        assert_eq!(words(&again.tree.items), words(&parsed.tree.items), "{name} laid out");
    }
}

fn words(items: &[Statement]) -> String {
    let mut out = String::new();
    for item in items {
        let shown: Vec<_> = std::iter::once(&item.name).chain(&item.args).map(word).collect();
        let _ = writeln!(out, "{} <{}>", shown.join(" "), item.rest);
        if let Some(block) = &item.block {
            let _ = writeln!(out, "{{\n{}}}", words(block));
        }
    }
    out
}

fn of(text: &str) -> Parsed {
    parse_text("/cases/text.conf", text, &settings(), &Cases::new())
}

fn messages(parsed: &Parsed) -> Vec<&str> {
    parsed.diagnostics.iter().map(|diagnostic| diagnostic.message.as_str()).collect()
}

#[test]
fn a_file_that_is_missing() {
    let parsed = parse("/cases/gone.conf", &settings(), &Cases::new());
    assert_eq!(messages(&parsed), ["file \"/cases/gone.conf\" not found"]);
    assert_eq!(parsed.diagnostics[0].severity, Severity::Error);
    assert!(parsed.tree.items.is_empty());
}

#[test]
fn a_line_holds_1022_bytes() {
    let fits = format!("a {}\n", "x".repeat(1020));
    assert!(of(&fits).diagnostics.is_empty());
    let parsed = of(&format!("a {}\nb\n", "x".repeat(1021)));
    assert_eq!(messages(&parsed), ["a line of 1023 bytes is skipped"]);
    assert_eq!(parsed.diagnostics[0].help, ["part it: keepalived reads at most 1022 bytes a line"]);
    assert_eq!(words(&parsed.tree.items), "b <>\n");
}

#[test]
fn a_line_with_nul_is_skipped() {
    let parsed = of("a\nb\0c\nd\n");
    assert_eq!(messages(&parsed), ["a line with a NUL byte is skipped"]);
    assert_eq!(words(&parsed.tree.items), "a <>\nd <>\n");
}

#[test]
fn bytes_that_are_not_utf_8_survive() {
    struct Latin;
    impl Source for Latin {
        fn read(&self, _: &str) -> io::Result<Vec<u8>> {
            Ok(b"router_id caf\xe9\n".to_vec())
        }

        fn glob(&self, _: &str) -> Vec<String> {
            Vec::new()
        }
    }
    let parsed = parse("/k.conf", &settings(), &Latin);
    assert_eq!(weir_syntax::encode(&parsed.tree.items[0].args[0].text).as_ref(), b"caf\xe9");
}

#[test]
fn expansion_ends() {
    for (text, message) in [
        ("$A=${A}\nx $A\n", "definition \"A\" is used within itself, or the line has more than 1000 uses"),
        ("$A=${A}b\nx $A\n", "definition \"A\" is used within itself, or the line has more than 1000 uses"),
        ("$A=12345678${A}\nx $A\n", "with definition \"A\" the line has more than 1023 bytes"),
        (
            "$A=${B}${B}\n$B=${C}${C}\n$C=0123456789abcdef0123456789abcdef${A}\nx $A\n",
            "with definition \"C\" the line has more than 1023 bytes",
        ),
        ("$A=~${A}\nx $A\n", "the definitions of this line lead to new ones without end"),
        ("$A= \\\n x \\\n $A\n$A\n", "a definition is used within its own lines"),
        ("~SEQ(A,1,9000000000) x\n", "definitions, sequences and repeated includes make too many lines"),
        (
            "~SEQ(A,1,9000000000) ~SEQ(B,1,2) \n",
            "definitions, sequences and repeated includes make too many lines",
        ),
    ] {
        let parsed = of(text);
        assert!(messages(&parsed).contains(&message), "{text}: {:?}", messages(&parsed));
    }
}

#[test]
fn deep_blocks_are_left_out() {
    let parsed = of(&format!("{}x\n{}y\n", "a {\n".repeat(300), "}\n".repeat(300)));
    let reported = messages(&parsed);
    assert!(reported.iter().all(|message| *message == "too many blocks within each other"), "{reported:?}");
    assert_eq!(parsed.tree.items.len(), 2);
    assert_eq!(parsed.tree.items[1].name.text, "y");
}

#[test]
fn reports_end() {
    let parsed = of(&"}\n".repeat(5000));
    assert_eq!(parsed.diagnostics.len(), 1001);
    let last = parsed.diagnostics.last().expect("there are some");
    assert_eq!(last.message, "the first 1000 problems are listed, further ones are not");
}

#[test]
fn random_numbers_are_the_same_again() {
    let text = "global_defs {\n random_seed 7\n}\na ${_RANDOM} ${_RANDOM 3 4} ${_RANDOM 32766}\n";
    let (first, second) = (of(text), of(text));
    assert_eq!(first.tree.items, second.tree.items);
    let numbers: Vec<u32> =
        first.tree.items[1].args.iter().map(|word| word.text.parse().expect("a number")).collect();
    assert!(numbers[0] <= 32767 && (3..=4).contains(&numbers[1]) && (32766..=32767).contains(&numbers[2]));
}

#[test]
fn the_identity_is_given_or_the_first_label_of_the_node() {
    let text = "@one a\n@two b\n@^one c\n@^two d\n@one\n@ e\n@^ f\n";
    assert_eq!(words(&of(text).tree.items), "a <>\nd <>\nf <>\n");
    let settings = Settings { config_id: Some("two".to_owned()), ..settings() };
    let parsed = parse_text("/k", text, &settings, &Cases::new());
    assert_eq!(words(&parsed.tree.items), "b <>\nc <>\nf <>\n");
}
