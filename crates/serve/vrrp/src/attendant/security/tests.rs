use super::*;
use std::os::unix::fs::{PermissionsExt, symlink};

fn script(words: &[&str]) -> Script {
    Script { argv: words.iter().map(|w| (*w).to_owned()).collect(), user: None }
}

fn file(folder: &Path, name: &str, mode: u32) -> String {
    let path = folder.join(name);
    fs::write(&path, "#!/bin/sh\n").expect("writable");
    fs::set_permissions(&path, fs::Permissions::from_mode(mode)).expect("own file");
    path.display().to_string()
}

/// Scripts run as who runs the test.
fn globals() -> Globals {
    Globals::default()
}

#[test]
fn a_bare_name_is_found_in_path_and_arguments_are_kept() {
    let program = resolve(&script(&["sh", "-c", "a b"]), &globals()).expect("every system has sh");
    assert!(program.path.is_absolute() && program.path.ends_with("sh"), "{program:?}");
    assert_eq!(program.args, ["-c", "a b"]);
    let refusal = resolve(&script(&["no-such-program"]), &globals());
    assert_eq!(refusal, Err(Refusal::NotInPath { script: "no-such-program".into() }));
}

#[test]
fn a_link_to_a_folder_is_resolved_and_the_program_keeps_its_name() {
    let folder = tempfile::tempdir().expect("temp folder");
    let real = fs::canonicalize(folder.path()).expect("it is there");
    fs::create_dir(real.join("one")).expect("writable");
    file(&real.join("one"), "busy", 0o755);
    symlink("busy", real.join("one/check")).expect("writable");
    symlink("one", real.join("two")).expect("writable");
    let path = real.join("two/check").display().to_string();
    let program = resolve(&script(&[&path]), &globals()).expect("it is there");
    assert_eq!(program.path, real.join("one/check"));
}

#[test]
fn what_cannot_run_is_named() {
    let folder = tempfile::tempdir().expect("temp folder");
    let plain = file(folder.path(), "plain", 0o644);
    let refusal = resolve(&script(&[&plain]), &globals()).expect_err("not executable");
    assert!(refusal.to_string().contains("plain is not executable for uid "), "{refusal}");
    let refusal = resolve(&script(&["/"]), &globals()).expect_err("a folder");
    assert_eq!(refusal, Refusal::NotAFile { path: "/".into() });
    let user = ScriptUser { user: "no-such-user".into(), group: None };
    let refusal = resolve(&Script { user: Some(user), ..script(&["sh"]) }, &globals());
    assert_eq!(refusal, Err(Refusal::UnknownUser { user: "no-such-user".into() }));
    let user = ScriptUser { user: "root".into(), group: Some("no-such-group".into()) };
    let refusal = resolve(&Script { user: Some(user), ..script(&["sh"]) }, &globals());
    assert_eq!(refusal, Err(Refusal::UnknownGroup { group: "no-such-group".into() }));
}

#[test]
fn a_part_that_others_may_change_is_named() {
    let folder = tempfile::tempdir().expect("temp folder");
    let real = fs::canonicalize(folder.path()).expect("it is there");
    let open = real.join("open");
    fs::create_dir(&open).expect("writable");
    fs::set_permissions(&open, fs::Permissions::from_mode(0o777)).expect("own folder");
    let path = file(&open, "check", 0o755);
    if !weir_net::is_root() {
        // Whoever is not root owns the folder, and is named for that.
        assert!(exposed_part(&open).is_some_and(|e| matches!(e.by, Writer::Owner(_))));
        return;
    }
    let mine = Some(ScriptUser { user: "root".into(), group: None });
    let globals = Globals { script_user: mine, ..Globals::default() };
    let program = resolve(&script(&[&path]), &globals).expect("only a warning");
    let exposure = program.exposure.expect("everybody may replace it");
    assert_eq!(exposure.to_string(), format!("{} is writable by everybody", open.display()));
    let strict = Globals { enable_script_security: true, ..globals };
    let refusal = resolve(&script(&[&path]), &strict);
    assert_eq!(refusal, Err(Refusal::Exposed { path: PathBuf::from(path), exposure }));
    fs::set_permissions(&open, fs::Permissions::from_mode(0o1777)).expect("own folder");
    assert_eq!(exposed_part(&open), None, "only owners may replace files there");
}

#[test]
fn a_file_to_be_opened_is_asked_of_the_shell_without_its_grammar() {
    let program = resolve(&script(&["</run/edge/up; reboot"]), &globals()).expect("nothing to find");
    assert_eq!(program.path, Path::new("/bin/sh"));
    assert_eq!(program.args, ["-c", "<\"$0\"", "/run/edge/up; reboot"]);
}
