//! Answers of stores, good and broken: whatever comes, the last good list stays.

mod common;

use common::fake::{Act, Fake, answer, keys};
use common::{Process, addresses, consul_keys, source};
use weir_serve_discovery::What;

const ONE: &str = "192.0.2.1:80";
const TWO: &str = "192.0.2.2:80";

/// A process that follows a fake store and knows one peer at index 5.
async fn following() -> (Process, Fake) {
    let mut fake = Fake::start().await;
    let mut process = Process::new(None);
    process.follow(source(consul_keys(&[fake.port])));
    assert_eq!(fake.target().await, "/v1/kv/upstreams/app/?recurse&index=0");
    fake.say("200 OK", Some(5), &keys(&[ONE]));
    let list = process.list().await;
    assert_eq!((addresses(&list), list.index, list.remembered), (vec![ONE.to_owned()], 5, false));
    assert_eq!(list.endpoint, format!("http://127.0.0.1:{}", fake.port));
    assert_eq!(fake.target().await, "/v1/kv/upstreams/app/?recurse&index=5&wait=288000ms");
    (process, fake)
}

#[tokio::test]
async fn blocking_questions_follow_the_index() {
    let (mut process, mut fake) = following().await;
    fake.say("200 OK", Some(8), &keys(&[ONE, TWO]));
    assert_eq!(addresses(&process.list().await), [ONE, TWO]);
    assert_eq!(fake.target().await, "/v1/kv/upstreams/app/?recurse&index=8&wait=288000ms");
    // The same content with a new index is told, for whoever waits for that index.
    fake.say("200 OK", Some(9), &keys(&[ONE, TWO]));
    assert_eq!(process.list().await.index, 9);
    assert_eq!(fake.target().await, "/v1/kv/upstreams/app/?recurse&index=9&wait=288000ms");
    // A wait that ended says nothing new.
    fake.say("200 OK", Some(9), &keys(&[ONE, TWO]));
    assert_eq!(fake.target().await, "/v1/kv/upstreams/app/?recurse&index=9&wait=288000ms");
    fake.say("200 OK", Some(10), &keys(&[TWO]));
    assert_eq!(addresses(&process.list().await), [TWO]);
    assert_eq!(*fake.connections.lock().expect("no panic"), 1, "one connection is kept");
}

#[tokio::test]
async fn broken_answers_leave_the_list() {
    let half = answer("200 OK", Some(6), &keys(&[ONE, TWO]));
    let half = half[..half.len() - 20].to_vec();
    let table: Vec<(&str, Act, &str)> = vec![
        (
            "500",
            Act::Say(answer("500 Internal Server Error", None, "No cluster leader")),
            "No cluster leader",
        ),
        (
            "403",
            Act::Say(answer("403 Forbidden", None, "Permission denied")),
            "the token has to allow reading this path",
        ),
        (
            "404 without an index",
            Act::Say(answer("404 Not Found", None, "404 page not found")),
            "does the address lead to the store itself?",
        ),
        ("429", Act::Say(answer("429 Too Many Requests", None, "")), "raise http_max_conns_per_client"),
        (
            "garbage",
            Act::Say(answer("200 OK", Some(6), "<html>hello</html>")),
            "expected a list of keys as Consul's /v1/kv gives it",
        ),
        ("no JSON to the end", Act::Say(answer("200 OK", Some(6), "[{\"Key\":")), "EOF while parsing"),
        (
            "an empty body",
            Act::Say(answer("200 OK", Some(6), "")),
            "the answer is empty, expected a list of keys",
        ),
        ("half an answer", Act::SayAndClose(half), "end of file before message length reached"),
        ("no HTTP", Act::SayAndClose(b"SSH-2.0-OpenSSH_9.2\r\n".to_vec()), "invalid HTTP version"),
        ("nothing", Act::SayAndClose(Vec::new()), "the connection ended within the answer"),
        (
            "a lower index",
            Act::Say(answer("200 OK", Some(3), &keys(&[TWO]))),
            "its index went back from 5 to 3",
        ),
        (
            "an empty list",
            Act::Say(answer("200 OK", Some(6), "[]")),
            "it lists no peer; cannot delete all peers; the last list (1 peers, 0 s old) stays",
        ),
        (
            "a missing prefix",
            Act::Say(answer("404 Not Found", Some(6), "")),
            "it lists no peer; cannot delete all peers",
        ),
        (
            "nothing usable",
            Act::Say(answer("200 OK", Some(6), &keys(&["x", "y"]))),
            "it lists no usable peer, 2 rejected, the first: x: no port",
        ),
        (
            "a huge length",
            Act::Say(b"HTTP/1.1 200 OK\r\nX-Consul-Index: 6\r\nContent-Length: 104857600\r\n\r\n[".to_vec()),
            "the answer is larger than 67108864 bytes",
        ),
        ("100 MB", Act::Flood(100 << 20), "the answer is larger than 67108864 bytes"),
        (
            "a redirect",
            Act::Say(
                b"HTTP/1.1 301 Moved Permanently\r\nLocation: http://192.0.2.9/\r\nContent-Length: 0\r\n\r\n"
                    .to_vec(),
            ),
            "answers 301 and points to \"http://192.0.2.9/\"; redirects are not followed",
        ),
    ];
    for (name, act, words) in table {
        let (mut process, fake) = following().await;
        fake.act(act);
        let error = process.failure().await;
        assert!(error.contains(words), "{name}: {error}");
        assert!(error.contains("the last list (1 peers, "), "{name}: {error}");
        let told = process.errors();
        assert_eq!(told.len(), 1, "{name}: {told:?}");
        assert!(told[0].starts_with("upstream \"app\": ") && told[0].contains(&error), "{name}: {told:?}");
        // The next good answer is believed, and ends the failure.
        for _ in 0..3 {
            fake.say("200 OK", Some(7), &keys(&[ONE, TWO]));
        }
        let list = process.list().await;
        assert_eq!((addresses(&list), list.index), (vec![ONE.to_owned(), TWO.to_owned()], 7), "{name}");
    }
}

#[tokio::test]
async fn a_failure_that_goes_on_is_told_once() {
    let (mut process, mut fake) = following().await;
    for _ in 0..4 {
        fake.say("500 Internal Server Error", None, "No cluster leader");
    }
    assert!(process.failure().await.contains("No cluster leader"));
    // The first was to the blocking question; the others begin anew.
    for _ in 0..3 {
        assert_eq!(fake.target().await, "/v1/kv/upstreams/app/?recurse&index=0");
    }
    assert_eq!(process.errors().len(), 1);
    // The same list again: that the source is there again is told.
    fake.say("200 OK", Some(5), &keys(&[ONE]));
    assert_eq!(addresses(&process.list().await), [ONE]);
    let lines = process.lines.lock().expect("no panic");
    assert!(lines.iter().any(|(_, line)| line.contains("follows again: 1 peers, index 5")), "{lines:?}");
}

#[tokio::test]
async fn after_a_lost_connection_everything_is_read_again() {
    let (mut process, mut fake) = following().await;
    // The store comes back empty, with a lower index: a blocking question with the old one would wait for long.
    fake.act(Act::SayAndClose(Vec::new()));
    process.failure().await;
    assert_eq!(fake.target().await, "/v1/kv/upstreams/app/?recurse&index=0");
    fake.say("200 OK", Some(2), &keys(&[TWO]));
    let list = process.list().await;
    assert_eq!((addresses(&list), list.index), (vec![TWO.to_owned()], 2));
}

#[tokio::test]
async fn a_store_that_says_it_closes_is_asked_on() {
    let mut fake = Fake::start().await;
    let mut process = Process::new(None);
    process.follow(source(consul_keys(&[fake.port])));
    fake.target().await;
    let body = keys(&[ONE]);
    let old = format!("HTTP/1.0 200 OK\r\nX-Consul-Index: 4\r\n\r\n{body}");
    fake.act(Act::SayAndClose(old.into_bytes()));
    assert_eq!(addresses(&process.list().await), [ONE]);
    assert_eq!(fake.target().await, "/v1/kv/upstreams/app/?recurse&index=4&wait=288000ms");
    assert_eq!(process.errors(), Vec::<String>::new());
}

#[tokio::test]
async fn a_store_that_does_not_count_is_asked_now_and_then() {
    let mut fake = Fake::start().await;
    let mut process = Process::new(None);
    process.follow(source(consul_keys(&[fake.port])));
    for peers in [&[ONE][..], &[TWO][..]] {
        assert_eq!(fake.target().await, "/v1/kv/upstreams/app/?recurse&index=0");
        fake.say("200 OK", None, &keys(peers));
        assert_eq!(addresses(&process.list().await), peers);
    }
}

#[tokio::test]
async fn rejected_entries_are_told_by_name_once() {
    let (mut process, mut fake) = following().await;
    for index in [6, 7] {
        fake.say("200 OK", Some(index), &keys(&[ONE, "bad"]));
        assert_eq!(process.list().await.rejected, ["bad: no port; expected ADDRESS:PORT"]);
        fake.target().await;
    }
    let lines = process.lines.lock().expect("no panic");
    assert_eq!(lines.iter().filter(|(_, line)| line.contains("bad: no port")).count(), 1, "{lines:?}");
}

#[tokio::test]
async fn another_endpoint_takes_over_and_stays() {
    let [dead] = common::real::free_ports();
    let (mut sick, mut well) = (Fake::start().await, Fake::start().await);
    let mut process = Process::new(None);
    process.follow(source(consul_keys(&[dead, sick.port, well.port])));
    sick.say("500 Internal Server Error", None, "No cluster leader");
    well.say("200 OK", Some(5), &keys(&[ONE]));
    let list = process.list().await;
    assert_eq!(list.endpoint, format!("http://127.0.0.1:{}", well.port));
    sick.target().await;
    well.target().await;
    assert!(well.target().await.contains("index=5"), "it stays where it works");
    // That one dies as well: the next is asked from the start.
    well.act(Act::SayAndClose(Vec::new()));
    sick.say("200 OK", Some(3), &keys(&[TWO]));
    assert!(sick.target().await.contains("index=0"));
    let list = process.peers(&[TWO]).await;
    assert_eq!(list.endpoint, format!("http://127.0.0.1:{}", sick.port));
}

#[tokio::test]
async fn the_token_goes_along_and_is_shown_nowhere() {
    let mut fake = Fake::start().await;
    let mut process = Process::new(None);
    let mut origin = consul_keys(&[fake.port]);
    if let weir_model::Origin::ConsulKv { store, path } = &mut origin {
        store.token = Some(weir_model::Secret("hush".to_owned()));
        path.push_str("?dc=east");
    }
    process.follow(source(origin));
    let question = fake.question().await.to_ascii_lowercase();
    assert!(
        question.starts_with("get /v1/kv/upstreams/app/?dc=east&recurse&index=0 http/1.1\r\n"),
        "{question}"
    );
    assert!(question.contains("\r\nx-consul-token: hush\r\n"), "{question}");
    fake.say("403 Forbidden", None, "Permission denied");
    let error = process.failure().await;
    assert!(!error.contains("hush") && !format!("{:?}", process.errors()).contains("hush"), "{error}");
}

#[tokio::test]
async fn sources_that_stay_are_not_disturbed() {
    let (mut process, mut fake) = following().await;
    let same = source(consul_keys(&[fake.port]));
    process.follow(same.clone());
    fake.say("200 OK", Some(6), &keys(&[TWO]));
    assert_eq!(addresses(&process.list().await), [TWO]);
    assert!(fake.target().await.contains("index=6"));
    // Other settings for the same origin: the old list stands until the first answer.
    process.follow(weir_model::Source { interval: weir_model::Millis(300), ..same });
    let list = process.list().await;
    assert_eq!((addresses(&list), list.remembered), (vec![TWO.to_owned()], true));
    assert!(fake.target().await.contains("index=0"));
    fake.say("200 OK", Some(6), &keys(&[TWO]));
    assert!(!process.list().await.remembered);
    // A source that is gone says nothing any more.
    fake.target().await;
    process.discovery.follow(Vec::new());
    process.discovery.end().await;
    assert_eq!(process.updates.recv().await, None);
}

#[tokio::test]
async fn the_last_list_lives_through_a_restart_and_the_dump_is_written() {
    let folder = tempfile::tempdir().expect("a folder");
    let dump = folder.path().join("app.conf");
    let mut fake = Fake::start().await;
    let mut settings = source(consul_keys(&[fake.port]));
    settings.dump = Some(dump.to_str().expect("UTF-8").to_owned());
    let mut process = Process::new(Some(folder.path()));
    process.follow(settings.clone());
    fake.say("200 OK", Some(5), &keys(&[ONE, TWO]));
    process.list().await;
    process.discovery.end().await;
    let lines = "server 192.0.2.1:80 weight=1 max_fails=2 fail_timeout=10s;\n\
        server 192.0.2.2:80 weight=1 max_fails=2 fail_timeout=10s;\n";
    assert_eq!(std::fs::read_to_string(&dump).expect("the dump"), lines);

    std::fs::remove_file(&dump).expect("the dump");
    fake.target().await;
    let mut process = Process::new(Some(folder.path()));
    process.follow(settings);
    let list = process.list().await;
    assert_eq!((addresses(&list), list.remembered), (vec![ONE.to_owned(), TWO.to_owned()], true));
    fake.say("500 Internal Server Error", None, "");
    assert!(process.failure().await.contains("the remembered list (2 peers) stays"));
    fake.say("200 OK", Some(5), &keys(&[ONE, TWO]));
    assert_eq!(process.update().await, What::List(weir_model::PeerList { remembered: false, ..list }));
    process.discovery.end().await;
    assert_eq!(std::fs::read_to_string(&dump).expect("the dump"), lines, "the first list is written again");
}

#[tokio::test]
async fn host_names_in_keys_are_resolved() {
    let mut fake = Fake::start().await;
    let mut process = Process::new(None);
    process.follow(source(consul_keys(&[fake.port])));
    fake.target().await;
    fake.say("200 OK", Some(5), &keys(&[ONE, "localhost:8080"]));
    let list = process.list().await;
    let shown = addresses(&list);
    assert!(shown[0] == ONE && shown.iter().any(|address| address == "127.0.0.1:8080"), "{shown:?}");
    assert!(list.peers[1..].iter().all(|peer| peer.server == "localhost:8080"), "{list:?}");
}
