//! What changes of a large upstream cost the requests beside them: latencies, memory, and the time of a change.
//!
//! `cargo run --release -p weir-serve-http --example churn -- [PEERS] [CHANGES A SECOND] [SECONDS] [METHOD]`

#[path = "../tests/common/mod.rs"]
mod common;

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering::Relaxed};
use std::time::{Duration, Instant};

use common::{Client, Proxy, Upstream, key, ok, reply};
use weir_balance::{Member, PeerSpec};

fn main() {
    let argument = |at: usize, default: &str| std::env::args().nth(at).unwrap_or_else(|| default.to_owned());
    let number = |at, default| argument(at, default).parse::<u64>().expect("a number");
    let (peers, rate, seconds) = (number(1, "10000"), number(2, "100"), number(3, "5"));
    let backend = Upstream::new(|_, stream| reply(stream, &ok("x")));
    let address = backend.address();
    let method = argument(4, "");
    let proxy = Proxy::new(
        1,
        &format!(
            "upstream u {{ server {address}; {method} }}
             server {{ listen 127.0.0.1:PORT; location / {{ proxy_pass http://u; }} }}"
        ),
    );
    // Many names of one address: what is measured is the list, not ten thousand servers.
    let member = |name: u64| -> Member {
        let spec = PeerSpec::new(format!("10.{}.{}.{}:80", name >> 16, (name >> 8) & 255, name & 255));
        (PeerSpec { address: weir_model::ListenAddress::Inet(address), ..spec }, Arc::default())
    };
    report("one peer", &proxy, seconds);
    let small = resident();
    let mut members: Vec<Member> = (0..peers).map(member).collect();
    let begun = Instant::now();
    proxy.publish(2, "u", members.clone());
    println!("the first list: {:?}, {} KiB more", begun.elapsed(), resident().saturating_sub(small));
    report("unchanged", &proxy, seconds);
    let before = resident();
    let stop = AtomicBool::new(false);
    std::thread::scope(|scope| {
        let changes = scope.spawn(|| {
            let (mut change, mut times, mut highest) = (2, Vec::new(), 0);
            let mut next = Instant::now();
            while !stop.load(Relaxed) {
                change += 1;
                let at = (change * 7919 % peers) as usize;
                members[at] = member(peers + change);
                let begun = Instant::now();
                assert!(proxy.publisher.publish(change, &key("u"), members.clone()));
                times.push(begun.elapsed());
                proxy.wait_served(change);
                highest = highest.max(resident());
                next += Duration::from_micros(1_000_000 / rate);
                std::thread::sleep(next.saturating_duration_since(Instant::now()));
            }
            (times, highest)
        });
        report("changing", &proxy, seconds);
        stop.store(true, Relaxed);
        let (times, highest) = changes.join().expect("no panic");
        summary("publish", times);
        println!("memory: {} KiB more than before at most", highest.saturating_sub(before));
    });
}

/// Sends requests for some seconds, and says how long they took.
fn report(what: &str, proxy: &Proxy, seconds: u64) {
    let mut client = Client::new(proxy.port);
    let end = Instant::now() + Duration::from_secs(seconds);
    let mut times = Vec::new();
    let cpu = data_thread_cpu();
    while Instant::now() < end {
        let begun = Instant::now();
        assert_eq!(client.get("/").0, 200);
        times.push(begun.elapsed());
        std::thread::sleep(Duration::from_micros(300));
    }
    let spent = data_thread_cpu().saturating_sub(cpu);
    println!("{what}: the data thread ran {spent} ms of CPU for {} requests", times.len());
    summary(what, times);
}

fn summary(what: &str, mut times: Vec<Duration>) {
    times.sort_unstable();
    let at = |share: usize| times[(times.len() * share / 1000).min(times.len() - 1)];
    println!(
        "{what}: p50 {:?} p99 {:?} p99.9 {:?} max {:?} of {}",
        at(500),
        at(990),
        at(999),
        at(1000),
        times.len()
    );
}

/// Milliseconds.
fn data_thread_cpu() -> u64 {
    let tasks = std::fs::read_dir("/proc/self/task").expect("proc").flatten();
    let stats = tasks.filter_map(|task| {
        std::fs::read_to_string(task.path().join("schedstat"))
            .ok()
            .zip(std::fs::read_to_string(task.path().join("comm")).ok())
    });
    let data = stats.filter(|(_, name)| name.starts_with("data-"));
    data.filter_map(|(stat, _)| stat.split(' ').next()?.parse::<u64>().ok()).sum::<u64>() / 1_000_000
}

/// KiB.
fn resident() -> u64 {
    let status = std::fs::read_to_string("/proc/self/status").expect("proc");
    let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:")).expect("a line");
    line.trim().trim_end_matches(" kB").trim().parse().expect("a number")
}
