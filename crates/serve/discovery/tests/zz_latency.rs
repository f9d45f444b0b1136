mod common;
use common::fake::{Fake, keys};
use common::{Process, consul_keys, source};
#[tokio::test]
async fn latency() {
    for peers in [2usize, 1000, 10000] {
        let list: Vec<String> = (0..peers).map(|n| format!("10.0.{}.{}:80", n / 250, n % 250 + 1)).collect();
        let list: Vec<&str> = list.iter().map(String::as_str).collect();
        let mut fake = Fake::start().await;
        let mut process = Process::new(None);
        process.follow(source(consul_keys(&[fake.port])));
        let bodies = [keys(&list), keys(&list[1..])];
        let mut times = Vec::new();
        for n in 0..60u64 {
            fake.target().await;
            let body = &bodies[(n % 2) as usize];
            let start = std::time::Instant::now();
            fake.say("200 OK", Some(n + 1), body);
            process.list().await;
            times.push(start.elapsed());
        }
        times.sort();
        eprintln!("{peers} peers: p50 {:?} p90 {:?} max {:?}", times[30], times[54], times[59]);
    }
}
