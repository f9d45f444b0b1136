//! Keys, their index, locks, sessions, transactions: what Consul 1.8.7 was seen to answer.

mod common;

use std::time::Duration;

use common::{ONE, Registry, TWO, request};
use weir_registry::{Behavior, Command, KvWrite, Outcome, Refusal, SessionRequest, TxnError, TxnOp, TxnVerb};

fn cas(key: &str, value: &str, index: u64) -> KvWrite {
    KvWrite::Cas { key: key.into(), value: value.into(), flags: 0, index }
}

#[test]
fn an_identical_write_changes_nothing() {
    let mut registry = Registry::new();
    let index = registry.set("a", "1");
    assert_eq!(registry.set("a", "1"), index);
    assert!(registry.topics.is_empty());
    assert_eq!(registry.state.index(), index);
    assert!(registry.set("a", "2") > index);
    assert_eq!(registry.state.kv(b"a").data.expect("the key").create_index, index);
}

#[test]
fn cas_compares_the_modify_index() {
    let mut registry = Registry::new();
    assert!(!registry.kv(cas("a", "1", 5)));
    assert!(registry.kv(cas("a", "1", 0)));
    assert!(!registry.kv(cas("a", "2", 0)));
    let index = registry.state.kv(b"a").index;
    assert!(registry.kv(cas("a", "2", index)));
    assert!(!registry.kv(cas("a", "3", index)));
    assert!(!registry.kv(KvWrite::DeleteCas { key: b"a".to_vec(), index }));
    let index = registry.state.kv(b"a").index;
    assert!(registry.kv(KvWrite::DeleteCas { key: b"a".to_vec(), index }));
    assert!(registry.kv(KvWrite::DeleteCas { key: b"a".to_vec(), index: 9 }), "nothing to delete");
}

#[test]
fn the_index_of_a_prefix_follows_its_own_keys_and_deletions_only() {
    let mut registry = Registry::new();
    registry.set("a/1", "x");
    let last = registry.set("a/2", "x");
    registry.set("b", "x");
    assert_eq!(registry.state.kv_list(b"a/").index, last);
    registry.delete("a/2");
    let deleted = registry.state.index();
    assert_eq!(registry.state.kv_list(b"a/").index, deleted);
    assert_eq!(registry.state.kv(b"a/2").index, deleted);
    registry.set("b", "y");
    assert_eq!(registry.state.kv_list(b"a/").index, deleted);
    registry.kv(KvWrite::DeleteTree { prefix: b"a".to_vec() });
    let found = registry.state.kv_list(b"a/");
    assert!(found.data.is_empty() && found.index > deleted);
    assert!(registry.state.kv(b"never").index >= 1);
}

#[test]
fn keys_are_cut_at_the_separator_and_listed_in_byte_order() {
    let mut registry = Registry::new();
    for key in ["ab", "a/x/1", "a/x/2", "a/y", "a", "b"] {
        registry.set(key, "");
    }
    let keys =
        |prefix: &str, separator: &str| registry.state.kv_keys(prefix.as_bytes(), separator.as_bytes()).data;
    assert_eq!(keys("a", ""), ["a", "a/x/1", "a/x/2", "a/y", "ab"]);
    assert_eq!(keys("a/", "/"), ["a/x/", "a/y"]);
    assert_eq!(keys("", "/"), ["a", "a/", "ab", "b"]);
    let entry = registry.state.kv(b"a").data.expect("the key");
    let index = entry.modify_index;
    let wanted = format!(
        r#"{{"LockIndex":0,"Key":"a","Flags":0,"Value":null,"CreateIndex":{index},"ModifyIndex":{index}}}"#
    );
    assert_eq!(registry.json(&entry), wanted);
}

#[test]
fn a_lock_has_one_holder_and_a_count() {
    let mut registry = Registry::new();
    registry.session(request(ONE));
    registry.session(request(TWO));
    assert!(registry.acquire("k", ONE));
    let index = registry.state.kv(b"k").index;
    assert!(registry.acquire("k", ONE));
    assert_eq!(registry.state.kv(b"k").index, index, "the holder acquires again: no change");
    assert!(!registry.acquire("k", TWO));
    assert!(!registry.release("k", TWO));
    registry.set("k", "plain");
    let entry = registry.state.kv(b"k").data.expect("the key");
    assert_eq!((entry.session.as_deref(), entry.lock_index), (Some(ONE), 1));
    assert!(registry.release("k", ONE));
    assert!(registry.acquire("k", TWO), "a release sets no delay");
    assert_eq!(registry.state.kv(b"k").data.expect("the key").lock_index, 2);
}

#[test]
fn a_lock_needs_a_session_that_is_there() {
    let mut registry = Registry::new();
    let acquire = |session: &str| {
        let (key, session) = (b"k".to_vec(), session.to_owned());
        Command::Kv(KvWrite::Acquire { key, value: Vec::new(), flags: 0, session })
    };
    let refused = |registry: &mut Registry, session: &str| {
        let refusal = registry.apply(acquire(session)).expect_err("refused");
        format!("{} {refusal}", refusal.status())
    };
    assert_eq!(
        refused(&mut registry, "x"),
        "500 failed session lookup: index error: UUID must be 36 characters"
    );
    assert_eq!(refused(&mut registry, TWO), format!("500 invalid session \"{TWO}\""));
    assert_eq!(registry.apply(acquire("")), Err(Refusal::NoSession));
    assert!(!registry.release("k", TWO));
}

#[test]
fn the_end_of_a_session_frees_its_keys_after_the_delay() {
    let mut registry = Registry::new();
    registry.session(request(ONE));
    registry.session(request(TWO));
    registry.acquire("k", ONE);
    let index = registry.state.kv(b"k").index;
    registry.done(Command::SessionDestroy { id: ONE.to_owned() });
    let entry = registry.state.kv(b"k").data.expect("the key stays");
    assert_eq!((entry.session.as_deref(), entry.lock_index), (None, 1));
    assert!(entry.modify_index > index);
    assert!(!registry.acquire("k", TWO));
    let mut again = registry.reopened();
    assert!(!again.acquire("k", TWO), "the delay lives through a restart");
    again.wait(Duration::from_secs(15));
    assert!(again.acquire("k", TWO));
    registry.wait(Duration::from_millis(14_999));
    assert!(!registry.acquire("k", TWO));
    registry.wait(Duration::from_millis(1));
    assert!(registry.acquire("k", TWO));
}

#[test]
fn a_session_with_a_ttl_ends_unless_renewed_and_never_because_the_registry_was_away() {
    let mut registry = Registry::new();
    registry.session(SessionRequest {
        ttl: Some(Duration::from_secs(10)),
        ttl_text: "10s".to_owned(),
        behavior: Behavior::Delete,
        ..request(ONE)
    });
    registry.acquire("k", ONE);
    registry.wait(Duration::from_secs(19));
    let mut again = registry.reopened();
    again.wait(Duration::from_secs(19));
    assert_eq!(again.state.sessions().data.len(), 1);
    again.wait(Duration::from_secs(1));
    assert_eq!(again.state.sessions().data.len(), 0);
    let renewed = registry.apply(Command::SessionRenew { id: ONE.to_owned() });
    assert!(matches!(renewed, Ok(Outcome::Session(_))), "{renewed:?}");
    registry.wait(Duration::from_secs(19));
    assert!(registry.state.kv(b"k").data.is_some());
    registry.wait(Duration::from_secs(1));
    assert!(registry.state.kv(b"k").data.is_none(), "behavior delete");
    let gone = registry.apply(Command::SessionRenew { id: ONE.to_owned() }).expect_err("gone");
    assert_eq!(gone.to_string(), format!("Session id '{ONE}' not found"));
    assert_eq!(gone.status(), 404);
}

#[test]
fn a_session_is_refused_in_consuls_words_and_shown_in_its_json() {
    let mut registry = Registry::new();
    let mut refused = |change: &dyn Fn(&mut SessionRequest)| {
        let mut request = request(ONE);
        change(&mut request);
        registry.apply(Command::SessionCreate(request)).expect_err("refused").to_string()
    };
    assert_eq!(
        refused(&|r| r.ttl = Some(Duration::from_secs(5))),
        "Invalid Session TTL '5000000000', must be between [10s=24h0m0s]"
    );
    assert_eq!(refused(&|r| r.node_checks = vec!["nochk".to_owned()]), "Missing check 'nochk' registration");
    assert_eq!(refused(&|r| r.node = "other".to_owned()), "Missing node registration");
    registry.session(request(ONE));
    let session = registry.state.session(ONE).data.expect("the session");
    let index = session.create_index;
    let wanted = format!(
        r#"{{"ID":"{ONE}","Name":"","Node":"Node-A","LockDelay":15000000000,"Behavior":"release","TTL":"","NodeChecks":["serfHealth"],"ServiceChecks":null,"CreateIndex":{index},"ModifyIndex":{index}}}"#
    );
    assert_eq!(registry.json(&session), wanted);
}

fn op(verb: TxnVerb, key: &str) -> TxnOp {
    let (key, value) = (key.into(), b"v".to_vec());
    TxnOp { verb, key, value, flags: 0, index: 0, session: String::new() }
}

#[test]
fn a_transaction_has_one_index_and_shows_values_of_get_only() {
    let mut registry = Registry::new();
    registry.set("gone", "x");
    let before = registry.state.index();
    let ops = vec![
        op(TxnVerb::Set, "a"),
        op(TxnVerb::Cas, "b"),
        op(TxnVerb::Delete, "gone"),
        op(TxnVerb::CheckNotExists, "gone"),
        op(TxnVerb::Get, "a"),
        op(TxnVerb::GetTree, ""),
    ];
    let Ok(Outcome::Txn(entries)) = registry.apply(Command::Txn(ops)) else { panic!("refused") };
    let shown: Vec<_> = entries.iter().map(|e| (e.key.as_slice(), e.value.len())).collect();
    assert_eq!(shown, [(&b"a"[..], 0), (b"b", 0), (b"a", 1), (b"a", 1), (b"b", 1)]);
    assert!(entries.iter().all(|entry| entry.modify_index == before + 1));
    assert_eq!(registry.state.index(), before + 1);
}

#[test]
fn a_transaction_that_fails_tells_every_reason_and_leaves_no_trace() {
    let mut registry = Registry::new();
    registry.set("a", "x");
    registry.session(request(ONE));
    registry.session(request(TWO));
    registry.acquire("held", ONE);
    let index = registry.state.kv(b"a").index;
    let rows = registry.rows.clone();
    let cases = [
        (op(TxnVerb::Set, "new"), None),
        (op(TxnVerb::Cas, "a"), Some("failed to set key \"a\", index is stale")),
        (op(TxnVerb::DeleteCas, "a"), Some("failed to delete key \"a\", index is stale")),
        (
            TxnOp { session: TWO.to_owned(), ..op(TxnVerb::Lock, "held") },
            Some("failed to lock key \"held\", lock is already held"),
        ),
        (
            TxnOp { session: TWO.to_owned(), ..op(TxnVerb::Unlock, "held") },
            Some("failed to unlock key \"held\", lock isn't held, or is held by another session"),
        ),
        (op(TxnVerb::Get, "none"), Some("key \"none\" doesn't exist")),
        (op(TxnVerb::CheckNotExists, "a"), Some("key \"a\" exists")),
        (
            op(TxnVerb::CheckIndex, "a"),
            Some(&*format!("failed index check for key \"a\", current modify index {index} != 0")),
        ),
        (op(TxnVerb::CheckSession, "none"), Some("failed to check session, key \"none\" doesn't exist")),
    ]
    .map(|(op, what)| (op, what.map(str::to_owned)));
    let wanted: Vec<_> = cases
        .iter()
        .enumerate()
        .filter_map(|(op_index, (_, what))| Some(TxnError { op_index, what: what.clone()? }))
        .collect();
    let ops = cases.into_iter().map(|(op, _)| op).collect();
    assert_eq!(registry.apply(Command::Txn(ops)), Err(Refusal::Txn(wanted)));
    assert!(registry.state.kv(b"new").data.is_none());
    assert_eq!(registry.rows, rows);
}
