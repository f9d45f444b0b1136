//! The engine as its users see it: durable, visible, woken, refused, opened again.

mod backend;
mod disk;
mod kill;
mod watch;

use std::path::Path;
use std::sync::Arc;

use tempfile::TempDir;
use weir_registry::{Command, KvWrite, Outcome};

use super::{Engine, Identity, Log, OpenError};

fn identity() -> Identity {
    Identity {
        node: "node-a".to_owned(),
        datacenter: "dc1".to_owned(),
        address: "192.0.2.1".to_owned(),
        ..Identity::default()
    }
}

fn quiet() -> Log {
    Arc::new(|_, _| {})
}

fn open(folder: &Path) -> Result<Engine, OpenError> {
    Engine::open(folder, identity(), quiet())
}

fn fresh() -> (TempDir, Engine) {
    let folder = tempfile::tempdir().expect("a folder");
    let engine = open(folder.path()).expect("a new registry");
    (folder, engine)
}

fn set(key: &str, value: &str) -> Command {
    Command::Kv(KvWrite::Set { key: key.into(), value: value.into(), flags: 0 })
}

async fn put(engine: &Engine, key: &str, value: &str) -> u64 {
    assert_eq!(engine.write(set(key, value)).await, Ok(Outcome::Bool(true)));
    engine.read(|state| state.kv(key.as_bytes()).index)
}

fn value(engine: &Engine, key: &str) -> Option<String> {
    engine.read(|state| {
        let entry = state.kv(key.as_bytes()).data?;
        String::from_utf8(entry.value.clone()).ok()
    })
}

#[tokio::test]
async fn what_is_acknowledged_is_there_after_opening_again() {
    let (folder, engine) = fresh();
    let index = put(&engine, "a", "1").await;
    let id = engine.read(|state| state.identity().node_id.clone());
    engine.close();
    assert_eq!(engine.write(set("a", "2")).await, Err(super::WriteError::Closed));
    assert_eq!(value(&engine, "a").as_deref(), Some("1"), "reads go on");
    let again = open(folder.path()).expect("the registry");
    assert_eq!(value(&again, "a").as_deref(), Some("1"));
    assert_eq!(again.read(|state| state.kv(b"a").index), index);
    assert_eq!(again.read(|state| state.identity().node_id.clone()), id, "the node keeps its id");
    assert!(put(&again, "a", "2").await > index, "the index goes on upwards");
}

#[tokio::test]
async fn a_snapshot_comes_back_and_the_index_does_not_go_back() {
    let (_folder, engine) = fresh();
    put(&engine, "a", "1").await;
    let (bytes, _) = engine.snapshot();
    let before = put(&engine, "a", "2").await;
    put(&engine, "b", "3").await;
    engine.restore_snapshot(bytes.clone()).await.expect("a good snapshot");
    assert_eq!(value(&engine, "a").as_deref(), Some("1"));
    assert_eq!(value(&engine, "b"), None);
    assert!(engine.read(|state| state.kv(b"a").index) > before);
    let after = engine.read(|state| state.kv(b"b").index);
    assert!(after > before);
    assert!(put(&engine, "a", "4").await > after);

    let mut torn = bytes;
    torn.truncate(torn.len() / 2);
    let refused = engine.restore_snapshot(torn).await.expect_err("half a snapshot").to_string();
    assert!(refused.contains("checksum"), "{refused}");
    assert_eq!(value(&engine, "a").as_deref(), Some("4"), "nothing has changed");
}

#[tokio::test]
async fn a_session_ends_by_itself_and_wakes_who_waits_for_its_lock() {
    let (_folder, engine) = fresh();
    let id = "11111111-2222-4333-8444-555555555555";
    let ttl = std::time::Duration::from_secs(10);
    let request = weir_registry::SessionRequest {
        id: id.to_owned(),
        name: String::new(),
        node: String::new(),
        lock_delay: std::time::Duration::ZERO,
        behavior: weir_registry::Behavior::Delete,
        ttl: Some(ttl),
        ttl_text: "10s".to_owned(),
        node_checks: vec!["serfHealth".to_owned()],
        service_checks: Vec::new(),
    };
    engine.write(Command::SessionCreate(request)).await.expect("a session");
    let acquire =
        KvWrite::Acquire { key: b"lock".to_vec(), value: Vec::new(), flags: 0, session: id.to_owned() };
    assert_eq!(engine.write(Command::Kv(acquire)).await, Ok(Outcome::Bool(true)));
    let watch = engine.watch(&weir_registry::Topic::Key(b"lock".to_vec()));
    let index = engine.read(|state| state.kv(b"lock").index);
    engine.write(Command::NodeMaintenance { reason: Some("why".to_owned()) }).await.expect("on");
    assert_eq!(engine.read(|state| state.sessions().data.len()), 1, "it depends on serfHealth alone");
    engine.write(Command::SessionDestroy { id: id.to_owned() }).await.expect("destroyed");
    watch.changed(index).await;
    assert_eq!(value(&engine, "lock"), None);
}

#[tokio::test]
async fn a_ttl_check_expires_in_the_writers_thread() {
    let (_folder, engine) = fresh();
    let service = weir_registry::ServiceDefinition { name: "web".to_owned(), ..Default::default() };
    let check = weir_registry::CheckDefinition {
        kind: weir_registry::CheckKind::Ttl { ttl: std::time::Duration::from_millis(20) },
        status: Some(weir_registry::Status::Passing),
        ..Default::default()
    };
    let watch = engine.watch(&weir_registry::Topic::service("web"));
    let register = Command::AgentServiceRegister { service, checks: vec![check], replace_checks: false };
    engine.write(register).await.expect("registered");
    loop {
        let found = engine.read(|state| state.health("WEB", &[], false));
        let last = found.data[0].checks.last().expect("a check").clone();
        if last.status == weir_registry::Status::Critical {
            assert_eq!(last.output, "TTL expired");
            break;
        }
        watch.changed(found.index).await;
    }
}
