//! What active checks of many peers cost.

use std::fmt::Write as _;
use std::thread;
use std::time::{Duration, Instant};

use anyhow::{Result, ensure};

use super::node::{self, Node};
use super::{Place, Row};
use crate::{client, measure};

const PEERS: u32 = 10_000;
const TIME: Duration = Duration::from_secs(8);

pub(super) fn checks(place: &Place) -> Result<Vec<Row>> {
    let kept = cost(
        place,
        "checks-kept",
        "check_keepalive_requests 1000;\ncheck_http_send \"GET /small HTTP/1.1\\r\\nHost: check\\r\\n\\r\\n\";",
    )?;
    let closed = cost(place, "checks-closed", "check_http_send \"GET /small HTTP/1.0\\r\\n\\r\\n\";")?;
    Ok(vec![
        Row::at_most(format!("{PEERS} http checks at 1 s on kept connections"), kept, "% of a core", 15.0),
        Row::at_most(format!("{PEERS} http checks at 1 s, a connection each"), closed, "% of a core", 15.0),
    ])
}

fn cost(place: &Place, name: &str, how: &str) -> Result<f64> {
    let port = node::everywhere()?;
    let listen = node::free()?;
    let mut servers = String::new();
    for n in 0..PEERS {
        writeln!(servers, "server {}:{port};", node::loopback(n))?;
    }
    let check = format!(
        "{servers}check interval=1000 rise=1 fall=2 timeout=900 type=http default_down=false;\n{how}\n\
         check_http_expect_alive http_2xx;"
    );
    let mut weir = Node::weir(place, name, &node::conf("", "", &check, listen))?;
    weir.await_answer(|| client::check(listen, "/small").is_ok())?;
    // The first round, which opens the connections.
    thread::sleep(Duration::from_secs(3));
    let (before, begun) = (measure::Cpu::read(weir.pid())?, Instant::now());
    thread::sleep(TIME);
    let used = measure::Cpu::read(weir.pid())?.since(&before)?;
    let percent = used.total as f64 / begun.elapsed().as_nanos() as f64 * 100.0;
    ensure!(percent > 0.0, "nothing was measured");
    Ok(percent)
}
