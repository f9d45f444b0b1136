//! Every `cases/RULE.fires.txt` and `cases/RULE.quiet.txt` holds the files of a group, each behind a line `--- NAME`;
//! what is found in them is compared with the `.out` beside it. `WEIR_RECORD=1` writes the expectations anew.

use std::collections::BTreeMap;
use std::fmt::Write;
use std::io;
use std::net::IpAddr;
use std::path::{Path, PathBuf};

use weir_config::Options;
use weir_lint::{Machine, Node, ScriptFault, lint, rules};
use weir_model::vrrp::{Globals, Script};
use weir_syntax::Source;
use weir_syntax::keepalived::Settings;

/// The files of a group.
struct Files(BTreeMap<String, String>);

impl Files {
    fn new(text: &str) -> Self {
        let mut files: BTreeMap<String, String> = BTreeMap::new();
        let mut name = String::new();
        for line in text.lines() {
            match line.strip_prefix("--- ") {
                Some(next) => name = next.to_owned(),
                None => {
                    let file = files.entry(name.clone()).or_default();
                    file.push_str(line);
                    file.push('\n');
                }
            }
        }
        Self(files)
    }
}

impl Source for Files {
    fn read(&self, path: &str) -> io::Result<Vec<u8>> {
        let text = self.0.get(path).ok_or_else(|| io::Error::from_raw_os_error(2))?;
        Ok(text.as_bytes().to_vec())
    }

    fn glob(&self, _: &str) -> Vec<String> {
        Vec::new()
    }
}

impl weir_keepalived::Environment for Files {}

impl weir_config::Environment for Files {
    fn resolve(&self, host: &str) -> io::Result<Vec<IpAddr>> {
        host.parse().map(|address| vec![address]).map_err(io::Error::other)
    }

    fn hostname(&self) -> String {
        "box.test".to_owned()
    }

    fn effective_uid(&self) -> u32 {
        0
    }
}

/// A host called box with eth0 and 192.0.2.1; scripts below /good can be run, those below /open by all be changed; every
/// user can read files whose names begin with `open`.
struct Box;

impl Machine for Box {
    fn has_interface(&self, name: &str) -> bool {
        name == "eth0"
    }

    fn has_address(&self, address: &IpAddr) -> bool {
        *address == IpAddr::from([192, 0, 2, 1])
    }

    fn host_name(&self) -> &str {
        "box.test"
    }

    fn is_readable_by_all(&self, path: &str) -> bool {
        path.starts_with("open")
    }

    fn script(&self, script: &Script, _: &Globals) -> Result<(), ScriptFault> {
        match script.argv.first().map_or("", String::as_str) {
            path if path.starts_with("/good/") => Ok(()),
            path if path.starts_with("/open/") => Err(ScriptFault::Exposed(format!("{path}: open to all"))),
            path => Err(ScriptFault::Unusable(format!("{path}: not there"))),
        }
    }
}

/// What is found, and the rules that found it.
fn outcome(text: &str) -> (String, Vec<&'static str>) {
    let files = Files::new(text);
    let proxies: Vec<weir_config::Loaded> = files
        .0
        .keys()
        .filter(|name| name.ends_with("nginx.conf"))
        .map(|name| {
            let options = Options { prefix: String::new(), conf_path: name.clone(), ..Options::default() };
            weir_config::load(&options, &files).unwrap_or_else(|failure| panic!("{failure}"))
        })
        .collect();
    let routers: Vec<(&String, weir_keepalived::Loaded)> = files
        .0
        .keys()
        .filter(|name| name.ends_with(".conf") && !name.contains("nginx"))
        .map(|name| {
            let loaded = weir_keepalived::load(name, &Settings::default(), &files);
            (name, loaded.unwrap_or_else(|failure| panic!("{failure}")))
        })
        .collect();
    let mut nodes: Vec<Node<'_>> = routers
        .iter()
        .map(|(name, loaded)| Node {
            name: name.trim_end_matches(".conf").to_owned(),
            nginx: proxies.iter().collect(),
            keepalived: Some(loaded),
            here: false,
        })
        .collect();
    if nodes.is_empty() {
        let nginx = proxies.iter().collect();
        nodes.push(Node { name: "box".to_owned(), nginx, keepalived: None, here: true });
    }
    let mut shown = String::new();
    let mut ids = Vec::new();
    for finding in lint(&nodes, Some(&Box)) {
        let diagnostic = finding.diagnostic.render(finding.place.files, false);
        let _ = writeln!(shown, "[{}] {}\n{diagnostic}", finding.rule.id, finding.nodes.join(", "));
        ids.push(finding.rule.id);
    }
    (shown, ids)
}

fn folder() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/cases")
}

#[test]
fn cases() {
    let mut files: Vec<PathBuf> = std::fs::read_dir(folder())
        .expect("the folder is there")
        .map(|entry| entry.expect("it can be read").path())
        .filter(|path| path.extension().is_some_and(|ending| ending == "txt"))
        .collect();
    files.sort();
    assert!(!files.is_empty(), "no cases in {}", folder().display());
    let failed: Vec<String> = files.iter().filter_map(|path| check(path).err()).collect();
    assert!(failed.is_empty(), "{}", failed.join("\n"));
}

fn check(path: &Path) -> Result<(), String> {
    let text = std::fs::read_to_string(path).map_err(|error| error.to_string())?;
    let (got, ids) = outcome(&text);
    let stem = path.file_stem().expect("a file has a name").to_string_lossy().into_owned();
    let (rule, kind) = stem.split_once('.').expect("RULE.fires.txt or RULE.quiet.txt");
    if ids.contains(&rule) != (kind == "fires") {
        return Err(format!("{}: found {ids:?}", path.display()));
    }
    let expected = path.with_extension("out");
    if std::env::var_os("WEIR_RECORD").is_some() {
        return std::fs::write(&expected, got).map_err(|error| error.to_string());
    }
    let wanted = std::fs::read_to_string(&expected)
        .map_err(|error| format!("{}: {error}; it should hold:\n{got}", expected.display()))?;
    if wanted == got { Ok(()) } else { Err(format!("{}: wanted\n{wanted}\ngot\n{got}", expected.display())) }
}

#[test]
fn every_rule_fires_and_rests() {
    let mut ids: Vec<&str> = Vec::new();
    for rule in rules() {
        assert!(!ids.contains(&rule.id), "{} stands in the catalogue twice", rule.id);
        ids.push(rule.id);
        for kind in ["fires", "quiet"] {
            let case = folder().join(format!("{}.{kind}.txt", rule.id));
            assert!(case.exists(), "{} is missing", case.display());
        }
    }
}

#[test]
fn no_password_is_shown() {
    let text = std::fs::read_to_string(folder().join("vrrp-authentication.fires.txt")).expect("the case");
    let (shown, _) = outcome(&text);
    assert!(text.contains("sesame") && !shown.contains("sesame"), "{shown}");
}

#[test]
fn one_node_is_not_compared() {
    let text = std::fs::read_to_string(folder().join("vrrp-alone.fires.txt")).expect("the case");
    let one = text.split("--- lb02.conf").next().expect("the first file");
    assert_eq!(outcome(one).1, Vec::<&str>::new());
}
