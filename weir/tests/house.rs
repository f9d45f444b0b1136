//! The rules of the house: which crate may import which, where unsafe code may be, how a crate begins.

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use serde_json::Value;

fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).parent().expect("the workspace is above").to_owned()
}

struct Crate {
    name: String,
    /// Folder below the root: `crates/core/model`, `weir`.
    folder: String,
    /// Names of the workspace's crates that it depends on, for itself, its tests or its build.
    imports: Vec<String>,
}

impl Crate {
    /// `core`, `proto`, `sys`, `serve`; for what is not below `crates/`, its own folder.
    fn floor(&self) -> &str {
        let below = self.folder.strip_prefix("crates/").unwrap_or(&self.folder);
        below.split('/').next().unwrap_or(below)
    }
}

fn crates() -> Vec<Crate> {
    let output = Command::new(env!("CARGO"))
        .args(["metadata", "--no-deps", "--format-version", "1", "--offline", "--manifest-path"])
        .arg(root().join("Cargo.toml"))
        .output()
        .expect("run cargo");
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    let metadata: Value = serde_json::from_slice(&output.stdout).expect("cargo prints JSON");
    let text = |value: &Value| value.as_str().expect("a string").to_owned();
    let packages = metadata["packages"].as_array().expect("packages");
    let names: Vec<String> = packages.iter().map(|package| text(&package["name"])).collect();
    packages
        .iter()
        .map(|package| {
            let manifest = PathBuf::from(text(&package["manifest_path"]));
            let folder = manifest.parent().expect("a folder").strip_prefix(root()).expect("below the root");
            let dependencies = package["dependencies"].as_array().expect("dependencies");
            Crate {
                name: text(&package["name"]),
                folder: folder.display().to_string(),
                imports: dependencies
                    .iter()
                    .map(|dependency| text(&dependency["name"]))
                    .filter(|name| names.contains(name))
                    .collect(),
            }
        })
        .collect()
}

/// Whether a crate of one floor may import another; the words say what it may import.
fn verdict(from: &Crate, to: &Crate) -> Result<(), &'static str> {
    let (allowed, rule) = match from.floor() {
        "core" => (to.floor() == "core", "core imports core only"),
        "proto" => (to.floor() == "core", "proto imports core only"),
        "sys" => (to.folder == "crates/core/model", "sys imports crates/core/model only"),
        "serve" => (
            matches!(to.floor(), "core" | "proto" | "sys"),
            "serve imports core, proto and sys, and never another serve",
        ),
        "weir" => (
            matches!(to.floor(), "core" | "proto" | "sys" | "serve" | "lab"),
            "the binary imports every floor and the laboratory that it carries, and not bench",
        ),
        _ => (false, "bench and lab drive binaries from outside and import nothing of the workspace"),
    };
    if allowed { Ok(()) } else { Err(rule) }
}

#[test]
fn no_forbidden_edges() {
    let crates = crates();
    assert!(crates.len() >= 10, "the workspace was found: {}", crates.len());
    let by_name: BTreeMap<&str, &Crate> = crates.iter().map(|one| (one.name.as_str(), one)).collect();
    let mut wrong = Vec::new();
    for from in &crates {
        for name in &from.imports {
            if let Err(rule) = verdict(from, by_name[name.as_str()]) {
                wrong.push(format!("{} imports {name}: {rule}", from.name));
            }
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

#[test]
fn the_rules_refuse_what_they_should() {
    let at = |folder: &str| Crate { name: folder.into(), folder: folder.into(), imports: Vec::new() };
    for (from, to, allowed) in [
        ("crates/core/config", "crates/core/model", true),
        ("crates/core/config", "crates/proto/http", false),
        ("crates/core/config", "crates/sys/net", false),
        ("crates/proto/http", "crates/core/balance", true),
        ("crates/proto/vrrp", "crates/proto/http", false),
        ("crates/proto/http", "crates/sys/log", false),
        ("crates/sys/net", "crates/core/model", true),
        ("crates/sys/net", "crates/core/config", false),
        ("crates/sys/log", "crates/sys/net", false),
        ("crates/serve/http", "crates/sys/net", true),
        ("crates/serve/http", "crates/serve/vrrp", false),
        ("crates/serve/http", "weir", false),
        ("weir", "crates/serve/http", true),
        ("weir", "bench", false),
        ("weir", "lab", true),
        ("crates/serve/vrrp", "lab", false),
        ("bench", "lab", false),
        ("bench", "crates/core/model", false),
        ("lab", "weir", false),
    ] {
        assert_eq!(verdict(&at(from), &at(to)).is_ok(), allowed, "{from} -> {to}");
    }
}

/// All Rust files below a folder.
fn sources(folder: &Path, found: &mut Vec<PathBuf>) {
    for entry in fs::read_dir(folder).expect("a folder").map(|entry| entry.expect("an entry")) {
        let path = entry.path();
        if entry.file_type().expect("a type").is_dir() {
            if entry.file_name() != "target" {
                sources(&path, found);
            }
        } else if path.extension().is_some_and(|extension| extension == "rs") {
            found.push(path);
        }
    }
}

/// The line without its comment and without what stands in plain string literals.
fn code(line: &str) -> String {
    let mut code = String::new();
    let mut quoted = false;
    let mut letters = line.chars().peekable();
    while let Some(letter) = letters.next() {
        match letter {
            '\\' if quoted => drop(letters.next()),
            '"' => quoted = !quoted,
            '/' if !quoted && letters.peek() == Some(&'/') => break,
            other if !quoted => code.push(other),
            _ => {}
        }
    }
    code
}

fn says_unsafe(line: &str) -> bool {
    code(line).split(|c: char| !c.is_alphanumeric() && c != '_').any(|word| word == concat!("un", "safe"))
}

#[test]
fn unsafe_code_is_in_one_crate() {
    assert!(says_unsafe("    let x = unsafe { read() }; // why"));
    assert!(!says_unsafe("#![forbid(unsafe_code)] // unsafe"));
    assert!(!says_unsafe("    \"no unsafe here\""));
    let mut files = Vec::new();
    for folder in ["crates", "weir", "bench", "fuzz", "lab"] {
        let folder = root().join(folder);
        if folder.exists() {
            sources(&folder, &mut files);
        }
    }
    assert!(files.len() > 50, "the sources were found: {}", files.len());
    let own = Path::new(file!()).file_name().expect("a name");
    for file in files {
        let name = file.strip_prefix(root()).expect("below the root").display().to_string();
        if name.starts_with("crates/sys/net/") || file.file_name() == Some(own) {
            continue;
        }
        let text = fs::read_to_string(&file).expect("text");
        for (number, line) in text.lines().enumerate() {
            assert!(!says_unsafe(line), "{name}:{}: unsafe code outside crates/sys/net: {line}", number + 1);
        }
    }
}

#[test]
fn every_crate_says_what_it_is_for() {
    for one in crates() {
        let source = root().join(&one.folder).join("src");
        let files: Vec<PathBuf> =
            ["lib.rs", "main.rs"].iter().map(|file| source.join(file)).filter(|file| file.exists()).collect();
        assert!(!files.is_empty(), "{} has neither lib.rs nor main.rs", one.name);
        for file in files {
            let text = fs::read_to_string(&file).expect("text");
            let lines: Vec<&str> = text.lines().take_while(|line| line.starts_with("//! ")).collect();
            assert!(
                lines.len() >= 2,
                "{}: begins with {} lines of //!; expected one that says what the crate is for and one that \
                 says what it leaves to others",
                file.display(),
                lines.len()
            );
        }
    }
}

#[test]
fn every_crate_takes_the_common_lints() {
    for one in crates() {
        let manifest = fs::read_to_string(root().join(&one.folder).join("Cargo.toml")).expect("a manifest");
        let common = manifest.contains("[lints]\nworkspace = true");
        let own =
            one.folder == "crates/sys/net" && manifest.contains("undocumented_unsafe_blocks = \"deny\"");
        assert!(common || own, "{}: expected `[lints] workspace = true` in its Cargo.toml", one.name);
    }
}
