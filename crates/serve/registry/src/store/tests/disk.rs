//! Files that are in use, damaged, empty; disks that are full.

use std::fs;
use std::path::PathBuf;
use std::sync::{Arc, Mutex};

use weir_registry::{Command, Outcome, SessionRequest};

use super::super::error::Kept;
use super::super::{Disk, Engine, OpenError, WriteError};
use super::backend::Memory;
use super::{fresh, identity, open, put, set, value};

#[tokio::test]
async fn a_second_one_is_told_that_it_is_locked() {
    let (folder, engine) = fresh();
    let error = open(folder.path()).err().expect("it is open");
    assert!(matches!(error, OpenError::Locked { .. }), "{error}");
    engine.close();
    open(folder.path()).expect("now it is free");
}

#[tokio::test]
async fn the_folder_and_the_file_are_made_and_nobody_else_reads_them() {
    use std::os::unix::fs::PermissionsExt;
    let outer = tempfile::tempdir().expect("a folder");
    let folder = outer.path().join("a/b");
    open(&folder).expect("a new registry");
    let names: Vec<_> = fs::read_dir(&folder).expect("listed").map(|f| f.expect("a file")).collect();
    assert_eq!(names.len(), 1);
    assert_eq!(names[0].file_name(), "registry.redb");
    assert_eq!(names[0].metadata().expect("a file").permissions().mode() & 0o777, 0o600);
}

/// Damages the file of a registry and opens it twice; answers the reason that is given.
async fn damaged(damage: impl FnOnce(&mut Vec<u8>)) -> String {
    let (folder, engine) = fresh();
    for number in 0..50 {
        put(&engine, &format!("key/{number}"), "some value that is looked for").await;
    }
    engine.close();
    drop(engine);
    let path = folder.path().join("registry.redb");
    let mut bytes = fs::read(&path).expect("the file");
    damage(&mut bytes);
    fs::write(&path, &bytes).expect("written");
    let mut reasons = Vec::new();
    for _ in 0..2 {
        let Err(OpenError::Corrupted { reason, copy: Kept::At(copy), .. }) = open(folder.path()) else {
            panic!("it is damaged, and a copy can be made");
        };
        assert_eq!(fs::read(&path).expect("the file stays").is_empty(), bytes.is_empty());
        assert_eq!(fs::read(&copy).expect("a copy").len(), fs::read(&path).expect("the file").len());
        reasons.push(reason);
    }
    reasons.swap_remove(0)
}

#[tokio::test]
async fn a_damaged_file_is_refused_and_kept() {
    assert_eq!(damaged(Vec::clear).await, "the file is empty");
    damaged(|bytes| bytes[..4096].fill(0)).await;
    damaged(|bytes| bytes.truncate(bytes.len() / 2)).await;
    damaged(|bytes| bytes.fill(0x5a)).await;
    damaged(|bytes| {
        let wanted = b"looked for";
        let at = bytes.windows(wanted.len()).enumerate().filter(|(_, w)| w == wanted);
        for at in at.map(|(at, _)| at).collect::<Vec<_>>() {
            bytes[at] ^= 1;
        }
    })
    .await;
}

#[tokio::test]
async fn a_full_disk_refuses_writes_with_the_reason_and_reads_go_on() {
    let lines = Arc::new(Mutex::new(Vec::new()));
    let disk = Memory::default();
    let engine = {
        let lines = Arc::clone(&lines);
        let again = disk.clone();
        let database = disk.open().expect("a disk in memory");
        super::super::disk::create_rows(&database).expect("a new table");
        let (disk, records) = Disk::with(PathBuf::from("memory"), database, Box::new(move || again.open()))
            .expect("a disk in memory");
        let log = Arc::new(move |_, line| lines.lock().expect("lines").push(line));
        Engine::with(disk, records, identity(), log).expect("a registry in memory")
    };
    let index = put(&engine, "a", "1").await;
    let id = "11111111-2222-4333-8444-555555555555".to_owned();
    let session = SessionRequest {
        id: id.clone(),
        name: String::new(),
        node: String::new(),
        lock_delay: std::time::Duration::ZERO,
        behavior: weir_registry::Behavior::Release,
        ttl: Some(std::time::Duration::from_secs(10)),
        ttl_text: "10s".to_owned(),
        node_checks: Vec::new(),
        service_checks: Vec::new(),
    };
    engine.write(Command::SessionCreate(session)).await.expect("a session");
    disk.refuse(true);
    for _ in 0..3 {
        let Err(WriteError::ReadOnly { reason }) = engine.write(set("a", "2")).await else {
            panic!("the disk is full");
        };
        assert!(!reason.is_empty());
        assert_eq!(value(&engine, "a").as_deref(), Some("1"));
        assert_eq!(engine.read(|state| state.kv(b"a").index), index);
    }
    let renewed = engine.write(Command::SessionRenew { id }).await;
    assert!(matches!(renewed, Ok(Outcome::Session(_))), "{renewed:?}");
    disk.refuse(false);
    assert!(put(&engine, "a", "3").await > index);
    let lines = lines.lock().expect("lines");
    let first = lines.first().expect("a line");
    assert!(first.contains("the disk does not take writes, they are refused"), "{first}");
    assert_eq!(lines.last().map(String::as_str), Some("registry: the disk takes writes again"));
}
