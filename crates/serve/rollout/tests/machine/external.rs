//! Servers that somebody else replaces.

use std::time::Duration;

use tokio::net::TcpListener;

use crate::support::{machine, soon};

const SERVER: &str = "10.0.0.1:8080";

fn plan(gate: &str, timeout: &str) -> String {
    format!(
        "upstream = \"web\"\n[driver.external]\ntimeout = \"{timeout}\"\n[gate]\ninterval = \"10ms\"\n{gate}"
    )
}

#[tokio::test]
async fn a_server_that_went_and_came_back_was_replaced() {
    let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port");
    let address = listener.local_addr().expect("an address");
    let (machine, _) = machine(&plan("", "1h"));
    machine.stop(&address.to_string(), None).await.expect("nothing to do");
    let text = address.to_string();
    let waiting = machine.clone();
    let mut start = tokio::spawn(async move { waiting.start(&text, None).await });
    // It was seen while it served.
    soon("probe", listener.accept()).await.expect("a probe");
    soon("probe", listener.accept()).await.expect("a probe");
    drop(listener);
    let still = tokio::time::timeout(Duration::from_millis(100), &mut start).await;
    assert!(still.is_err(), "it is only gone");
    let _back = TcpListener::bind(address).await.expect("the same port");
    soon("start", start).await.expect("no panic").expect("it was replaced");
}

#[tokio::test]
async fn an_operator_says_it() {
    let (machine, _) = machine(&plan("check = \"none\"", "1h"));
    machine.replaced(Some(SERVER));
    machine.stop(SERVER, None).await.expect("nothing to do");
    machine.replaced(Some("10.0.0.2:8080"));
    let soon_over = tokio::time::timeout(Duration::from_millis(50), machine.start(SERVER, None)).await;
    assert!(soon_over.is_err(), "words before it was out, and of another, do not count");
    machine.replaced(Some(SERVER));
    soon("start", machine.start(SERVER, None)).await.expect("it was said after the stop");
    machine.stop(SERVER, None).await.expect("nothing to do");
    let start = machine.start(SERVER, None);
    let say = async { machine.replaced(None) };
    let (done, ()) = tokio::join!(start, say);
    done.expect("it was said of all");
}

#[tokio::test]
async fn nobody_replaced_it() {
    let (machine, _) = machine(&plan("check = \"none\"", "50ms"));
    let error = machine.start(SERVER, None).await.expect_err("nobody did");
    assert_eq!(
        error,
        "10.0.0.1:8080 was not replaced within 50ms: its check did not fail and pass again, and nobody said weir rollout continue; \
         replace it, or raise driver.external.timeout"
    );
    let error = machine.rollback(SERVER, None).await.expect_err("it cannot");
    assert_eq!(error, "the external driver cannot bring the old version back; whoever replaced it has to");
    machine.prepare(&[SERVER.to_owned()]).await.expect("nothing is needed");
    machine.clean(&[SERVER.to_owned()]).await.expect("nothing was kept");
}
