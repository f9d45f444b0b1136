//! Every `cases/NAME.conf` is loaded and compared with `NAME.json` (the model, without what has its default) or
//! `NAME.err`, each after the diagnostics as they are printed. `WEIR_RECORD=1` writes the expectations anew.

mod support;

use std::fmt::Write;
use std::path::{Path, PathBuf};

use serde_json::Value;
use support::Machine;
use weir_model::vrrp::{Address, Globals, Instance, Vrrp};
use weir_syntax::{Diagnostic, SourceFile};

#[test]
fn cases() {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/cases");
    let mut files: Vec<PathBuf> = std::fs::read_dir(&folder)
        .expect("the folder is there")
        .map(|entry| entry.expect("it can be read").path())
        .filter(|path| path.extension().is_some_and(|ending| ending == "conf"))
        .collect();
    files.sort();
    assert!(!files.is_empty(), "no cases in {}", folder.display());
    let failed: Vec<String> = files.iter().filter_map(|path| check(path).err()).collect();
    assert!(failed.is_empty(), "{}", failed.join("\n"));
}

fn check(path: &Path) -> Result<(), String> {
    let text = std::fs::read_to_string(path).map_err(|error| format!("{}: {error}", path.display()))?;
    let (ending, other, got) = outcome(&text);
    let expected = path.with_extension(ending);
    if std::env::var_os("WEIR_RECORD").is_some() {
        // A case that changes sides leaves nothing behind.
        let _ = std::fs::remove_file(path.with_extension(other));
        return std::fs::write(&expected, got).map_err(|error| error.to_string());
    }
    let wanted = std::fs::read_to_string(&expected)
        .map_err(|error| format!("{}: {error}; it should hold:\n{got}", expected.display()))?;
    if wanted == got {
        return Ok(());
    }
    let line = wanted.lines().zip(got.lines()).position(|(a, b)| a != b).unwrap_or(0);
    let at = |text: &str| text.lines().nth(line).unwrap_or_default().to_owned();
    Err(format!("{}:{}: wanted {:?}, got {:?}", expected.display(), line + 1, at(&wanted), at(&got)))
}

fn outcome(text: &str) -> (&'static str, &'static str, String) {
    match Machine::with(text).load() {
        Ok(loaded) => {
            let shown = commented(&loaded.warnings, &loaded.tree.files);
            ("json", "err", format!("{shown}{}\n", json(&loaded.vrrp)))
        }
        Err(failure) => ("err", "json", printed(&failure.diagnostics, &failure.tree.files)),
    }
}

fn printed(diagnostics: &[Diagnostic], files: &[SourceFile]) -> String {
    diagnostics.iter().map(|diagnostic| diagnostic.render(files, false)).collect::<Vec<_>>().join("\n")
}

fn commented(diagnostics: &[Diagnostic], files: &[SourceFile]) -> String {
    let mut shown = String::new();
    for line in printed(diagnostics, files).lines() {
        let _ = writeln!(shown, "{}", format!("// {line}").trim_end());
    }
    shown
}

fn json(vrrp: &Vrrp) -> String {
    let value = |data| serde_json::to_value(data).expect("the model is plain data");
    let mut shown = serde_json::to_value(vrrp).expect("the model is plain data");
    strip(&mut shown["globals"], &serde_json::to_value(Globals::default()).expect("the model is plain data"));
    for instance in shown["instances"].as_array_mut().into_iter().flatten() {
        for list in ["addresses", "excluded"] {
            plain(&mut instance[list]);
        }
        strip(instance, &value(Instance::new("", "", 0)));
    }
    plain(&mut shown["static_addresses"]);
    strip(&mut shown, &serde_json::to_value(Vrrp::default()).expect("the model is plain data"));
    serde_json::to_string_pretty(&shown).expect("a value is text")
}

/// Leaves of addresses what their lines say.
fn plain(list: &mut Value) {
    for shown in list.as_array_mut().into_iter().flatten() {
        let address: Address = serde_json::from_value(shown.clone()).expect("it was written from one");
        let Value::String(text) = shown["address"].take() else { continue };
        strip(shown, &serde_json::to_value(Address::new(address.address)).expect("the model is plain data"));
        shown["address"] = Value::String(text);
    }
}

/// Takes out of an object what is equal to the same key of another.
fn strip(value: &mut Value, defaults: &Value) {
    let (Value::Object(value), Value::Object(defaults)) = (value, defaults) else { return };
    value.retain(|key, inner| defaults.get(key) != Some(&*inner));
    for (key, inner) in value.iter_mut() {
        if let Some(defaults) = defaults.get(key) {
            strip(inner, defaults);
        }
    }
}
