//! Every `cases/NAME.conf` is loaded and compared with `NAME.json` (the model, without settings that have
//! their defaults) or `NAME.err` (the diagnostics as they are printed). `WEIR_RECORD=1` writes the
//! expectations anew.

mod support;

use std::fmt::Write;
use std::path::{Path, PathBuf};

use serde_json::Value;
use support::Machine;
use weir_model::{Config, Settings};

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
            let mut shown = String::new();
            for warning in &loaded.warnings {
                let _ = writeln!(shown, "// {}", warning.nginx_line(&loaded.tree.files));
            }
            ("json", "err", format!("{shown}{}\n", json(&loaded.config)))
        }
        Err(failure) => {
            let files = &failure.tree.files;
            let mut shown = String::new();
            for diagnostic in &failure.diagnostics {
                let _ =
                    writeln!(shown, "{}\n{}", diagnostic.nginx_line(files), diagnostic.render(files, false));
            }
            ("err", "json", shown)
        }
    }
}

fn json(config: &Config) -> String {
    let mut value = serde_json::to_value(config).expect("the model is plain data");
    let defaults = serde_json::to_value(Settings::default()).expect("the model is plain data");
    let locations = value.pointer_mut("/http/locations").and_then(Value::as_array_mut);
    for location in locations.into_iter().flatten() {
        strip(&mut location["settings"], &defaults);
    }
    serde_json::to_string_pretty(&value).expect("a value is text")
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
