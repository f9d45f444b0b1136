//! Any commands: the store agrees with a naive one, no answer's index goes back, and its records are the whole of it.

mod common;

use std::collections::{BTreeMap, HashMap};

use common::Registry;
use proptest::prelude::*;
use weir_registry::{Command, KvWrite};

const PREFIXES: [&str; 6] = ["", "a", "a/", "a/b", "b", "c/"];

fn key() -> impl Strategy<Value = String> {
    prop::sample::select(vec!["a", "a/b", "a/c", "a/b/d", "b", "c/a"]).prop_map(str::to_owned)
}

#[derive(Clone, Debug)]
enum Step {
    Set(String, u8, u64),
    /// The last index of the key, or another one.
    Cas(String, u8, bool),
    Delete(String),
    DeleteCas(String, bool),
    DeleteTree(&'static str),
    Reopen,
}

fn step() -> impl Strategy<Value = Step> {
    prop_oneof![
        4 => (key(), 0..3_u8, 0..2_u64).prop_map(|(k, v, f)| Step::Set(k, v, f)),
        2 => (key(), 0..3_u8, any::<bool>()).prop_map(|(k, v, right)| Step::Cas(k, v, right)),
        2 => key().prop_map(Step::Delete),
        1 => (key(), any::<bool>()).prop_map(|(k, right)| Step::DeleteCas(k, right)),
        1 => prop::sample::select(PREFIXES.to_vec()).prop_map(Step::DeleteTree),
        1 => Just(Step::Reopen),
    ]
}

/// Value, flags, create and modify index, by key.
type Model = BTreeMap<String, (Vec<u8>, u64, u64, u64)>;

fn put(model: &mut Model, key: &str, value: u8, flags: u64, index: u64) -> bool {
    let value = vec![value];
    match model.get_mut(key) {
        Some(old) if (&old.0, old.1) == (&value, flags) => false,
        Some(old) => {
            (old.0, old.1, old.3) = (value, flags, index);
            true
        }
        None => {
            model.insert(key.to_owned(), (value, flags, index, index));
            true
        }
    }
}

/// What the model expects: the answer, and whether anything changes.
fn expected(model: &mut Model, step: &Step, index: u64) -> (bool, bool) {
    match step {
        Step::Set(key, value, flags) => (true, put(model, key, *value, *flags, index)),
        Step::Cas(_, _, false) | Step::Reopen => (false, false),
        Step::Cas(key, value, true) => (true, put(model, key, *value, 0, index)),
        Step::Delete(key) => (true, model.remove(key).is_some()),
        Step::DeleteCas(key, true) => (true, model.remove(key).is_some()),
        Step::DeleteCas(key, false) => (!model.contains_key(key), false),
        Step::DeleteTree(prefix) => {
            let before = model.len();
            model.retain(|key, _| !key.starts_with(prefix));
            (true, model.len() < before)
        }
    }
}

fn write(model: &Model, step: &Step) -> Option<KvWrite> {
    let index = |key: &str, right: bool| {
        let found = model.get(key).map_or(0, |entry| entry.3);
        if right { found } else { found + 77 }
    };
    Some(match step.clone() {
        Step::Set(key, value, flags) => KvWrite::Set { key: key.into(), value: vec![value], flags },
        Step::Cas(key, value, right) => {
            let index = index(&key, right);
            KvWrite::Cas { key: key.into(), value: vec![value], flags: 0, index }
        }
        Step::Delete(key) => KvWrite::Delete { key: key.into() },
        Step::DeleteCas(key, right) => {
            let index = index(&key, right);
            KvWrite::DeleteCas { key: key.into(), index }
        }
        Step::DeleteTree(prefix) => KvWrite::DeleteTree { prefix: prefix.into() },
        Step::Reopen => return None,
    })
}

/// The indexes of all questions, never lower than the ones before.
#[derive(Default)]
struct Questions {
    keys: HashMap<String, u64>,
    prefixes: HashMap<&'static str, u64>,
}

impl Questions {
    /// `touched`: prefixes and keys below which something has just changed; their index has to be new.
    fn ask(&mut self, registry: &Registry, changed: &dyn Fn(&str, bool) -> bool) {
        for prefix in PREFIXES {
            let index = registry.state.kv_list(prefix.as_bytes()).index;
            assert_eq!(index, registry.state.kv_keys(prefix.as_bytes(), b"/").index);
            let before = self.prefixes.insert(prefix, index).unwrap_or_default();
            judge(before, index, changed(prefix, true), prefix);
        }
        for key in ["a", "a/b", "a/c", "a/b/d", "b", "c/a"] {
            let index = registry.state.kv(key.as_bytes()).index;
            let before = self.keys.insert(key.to_owned(), index).unwrap_or_default();
            judge(before, index, changed(key, false), key);
        }
    }
}

fn judge(before: u64, index: u64, changed: bool, what: &str) {
    assert!(index >= 1);
    if changed {
        assert!(index > before, "{what:?} has changed, and its index is still {index}");
    } else if before > 0 {
        assert_eq!(index, before, "{what:?} has not changed");
    }
}

fn same(registry: &Registry, model: &Model) {
    let found: Vec<_> = registry.state.kv_list(b"").data;
    let found: Vec<_> =
        found.iter().map(|e| (&*e.key, &e.value, e.flags, e.create_index, e.modify_index)).collect();
    let wanted: Vec<_> = model.iter().map(|(key, (v, f, c, m))| (key.as_bytes(), v, *f, *c, *m)).collect();
    assert_eq!(found, wanted);
}

proptest! {
    #[test]
    fn any_writes(steps in prop::collection::vec(step(), 1..60)) {
        let mut registry = Registry::new();
        let mut model = Model::new();
        let mut questions = Questions::default();
        for step in &steps {
            let before: Vec<String> = model.keys().cloned().collect();
            let old = model.clone();
            let index = registry.state.index() + 1;
            match write(&model, step) {
                None => {
                    registry = registry.reopened();
                    assert!(registry.state.index() >= index);
                }
                Some(write) => {
                    let (answer, changes) = expected(&mut model, step, index);
                    prop_assert_eq!(registry.kv(write), answer);
                    let now = if changes { index } else { index - 1 };
                    prop_assert_eq!(registry.state.index(), now);
                }
            }
            same(&registry, &model);
            let touched: Vec<String> = before
                .into_iter()
                .chain(model.keys().cloned())
                .filter(|key| old.get(key) != model.get(key))
                .collect();
            questions.ask(&registry, &|what, prefix| {
                touched.iter().any(|key| if prefix { key.starts_with(what) } else { key == what })
            });
        }
    }

    #[test]
    fn any_bytes_as_a_filter(text in "[a-z\"`\\\\\\[\\]() .=!0-9]{0,40}") {
        if let Ok(filter) = weir_registry::Filter::parse(&text) {
            let _either = filter.matches(&serde_json::json!({"a": [{"b": 1}], "c": null}));
        }
    }

    #[test]
    fn any_key_lives_through_a_restart(key in prop::collection::vec(any::<u8>(), 1..20), value in prop::collection::vec(any::<u8>(), 0..20)) {
        let mut registry = Registry::new();
        let write = KvWrite::Set { key: key.clone(), value: value.clone(), flags: u64::MAX };
        prop_assert!(registry.apply(Command::Kv(write)).is_ok());
        let entry = registry.reopened().state.kv(&key).data.expect("the key");
        prop_assert_eq!((&entry.key, &entry.value, entry.flags), (&key, &value, u64::MAX));
    }
}
