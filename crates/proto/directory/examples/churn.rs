//! Processor time that the directory takes for a list of 10,000 peers: `cargo run --release -p weir-directory --example churn`.

use std::net::{Ipv4Addr, SocketAddr};
use std::time::Duration;

use weir_directory::{Action, Directory, Memory, Now};
use weir_model::{
    Endpoint, Keepalive, ListenAddress, Method, Millis, Origin, Peer, PeerList, Source, Store, Upstream,
};

const PEERS: u32 = 10_000;
const ROUNDS: u32 = 200;

fn peer(n: u32) -> Peer {
    let address = SocketAddr::new(Ipv4Addr::from(0x0a00_0000 + n).into(), 8080);
    Peer::new(ListenAddress::Inet(address), &address.to_string())
}

fn upstream() -> Upstream {
    let store = Store { endpoints: vec![Endpoint::Embedded], ..Store::default() };
    let source = Source {
        origin: Origin::ConsulKv { store, path: "/v1/kv/upstreams/web/".to_owned() },
        template: peer(0),
        replaces_servers: true,
        interval: Millis(5000),
        timeout: Millis(300_000),
        strong_dependency: false,
        dump: None,
    };
    Upstream {
        name: "web".to_owned(),
        implicit: false,
        port: 0,
        method: Method::RoundRobin,
        peers: Vec::new(),
        keepalive: Keepalive::default(),
        zone: None,
        sticky: None,
        sources: vec![source],
        checks: Vec::new(),
        check_panic: true,
        park: Millis(0),
        resolver: None,
    }
}

/// Time that this thread had a processor (proc(5), schedstat): other load does not count.
fn spent() -> Duration {
    let text = std::fs::read_to_string("/proc/thread-self/schedstat").expect("a kernel with schedstat");
    let first = text.split(' ').next().and_then(|word| word.parse().ok());
    Duration::from_nanos(first.expect("nanoseconds come first"))
}

/// Gives lists and prints how long the directory took for each, the members that it made included.
fn measure(name: &str, directory: &mut Directory, list: impl Fn(u32) -> Vec<Peer>) {
    let key = upstream().key();
    let (mut sum, mut most, mut published) = (Duration::ZERO, Duration::ZERO, 0);
    for round in 1..=ROUNDS {
        let list = PeerList { index: u64::from(round), peers: list(round), ..PeerList::default() };
        let now = Now { mono: u64::from(round), unix: 1_700_000_000_000 };
        let begun = spent();
        directory.handle_list(now, &key, 0, list);
        let mut actions = Vec::new();
        while let Some(action) = directory.poll_action() {
            actions.push(action);
        }
        let took = spent().saturating_sub(begun);
        (sum, most) = (sum + took, most.max(took));
        for action in actions {
            if let Action::Publish { change, .. } = action {
                published += 1;
                directory.handle_served(change);
            }
        }
    }
    println!("{name:<32} mean {:>9.1?}  most {most:>9.1?}  {published} published", sum / ROUNDS);
}

fn main() {
    let mut directory = Directory::new(Memory::default());
    directory.configure(Now { mono: 0, unix: 1_700_000_000_000 }, &[upstream()]);
    let all = || (0..PEERS).map(peer).collect::<Vec<_>>();
    measure("the same list", &mut directory, |_| all());
    measure("one weight", &mut directory, |round| {
        let mut list = all();
        list[(round * 37 % PEERS) as usize].weight = round + 1;
        list
    });
    measure("one down", &mut directory, |round| {
        let mut list = all();
        list[(round * 37 % PEERS) as usize].down = true;
        list
    });
    measure("one gone, one new", &mut directory, |round| {
        let mut list = all();
        list[(round * 37 % PEERS) as usize] = peer(PEERS + round);
        list
    });
    measure("in reverse, one weight", &mut directory, |round| {
        let mut list = all();
        list[(round * 37 % PEERS) as usize].weight = round + 1;
        list.reverse();
        list
    });
    measure("all others", &mut directory, |round| (0..PEERS).map(|n| peer(n + PEERS * round)).collect());
}
