//! Deployments as operators write them, played by Weir alone and by Weir beside keepalived with nginx.

mod common;

use std::net::IpAddr;
use std::time::Duration;

use common::{text, until};
use weir_lab::{App, Entry, Host, Lab, Part, ProbePlan, Signal, Subject, Texts, Watch};

const PATIENCE: Duration = Duration::from_secs(30);
/// Who the second node is; the first is Weir.
const PEERS: [bool; 2] = [true, false];

fn lab() -> Lab {
    let lab = Lab::new().unwrap_or_else(|error| panic!("these tests need hosts of their own: {error}"));
    lab.segment("lan").expect("a switch");
    lab
}

fn watch(lab: &Lab, address: &str) -> Watch {
    lab.watch(address.parse::<IpAddr>().expect("an address"))
}

fn node(host: &Host, weir: bool, nginx: &str, keepalived: &str) -> Entry {
    let subject = if weir { Subject::Weir(env!("CARGO_BIN_EXE_weir").into()) } else { Subject::Rivals };
    let texts = Texts { nginx: Some(nginx.to_owned()), keepalived: Some(keepalived.to_owned()) };
    Entry::start(host, &subject, texts).expect("it starts")
}

fn holds(watch: &Watch, name: &str, nodes: &[&Entry]) {
    if let Err(error) = watch.wait_holders(&[name], PATIENCE) {
        let logs: String = nodes.iter().map(|node| node.logs()).collect();
        panic!("{error}\n{:?}\n{logs}", watch.intervals());
    }
}

/// What a client gets for a name at an address.
fn ask(client: &Host, name: &str, address: &str) -> String {
    let output =
        client.run("curl", &["-s", "-m", "5", "-H", &format!("Host: {name}"), &format!("http://{address}/")]);
    text(&output.expect("curl runs").stdout)
}

/// The applications that answer, seen over some requests.
fn answering(client: &Host, name: &str, address: &str) -> Vec<String> {
    let mut seen: Vec<String> = (0..8).map(|_| ask(client, name, address).trim().to_owned()).collect();
    seen.sort();
    seen.dedup();
    seen
}

mod shop {
    //! Two nodes with the services on both: unicast, `nopreempt`, a check script, notify scripts.

    use super::*;

    const ADDRESS: &str = "10.8.4.99";

    const NGINX: &str = "
user root;
events { }
http {
    access_log off;
    upstream shop { server 10.8.4.20:8081; server 10.8.4.21:8081; }
    upstream cashier { least_conn; server 10.8.4.20:9091 max_fails=1 fail_timeout=10s; server 10.8.4.21:9091 max_fails=1 fail_timeout=10s; }
    server {
        listen 80 default_server;
        server_name shop.example;
        location / { proxy_pass http://shop/; proxy_set_header Host $http_host; }
    }
    server {
        listen 80;
        server_name cashier.example;
        location / { proxy_pass http://cashier/; proxy_set_header X-Real-IP $remote_addr; }
    }
}
";

    fn keepalived(own: u8, peer: u8, priority: u8) -> String {
        format!(
            "global_defs {{\n router_id shop{own}\n script_user root\n vrrp_garp_interval 0\n}}\n\
             vrrp_script alive\n{{\n script \"/etc/keepalived/alive.sh\"\n interval 1\n weight 0\n}}\n\
             vrrp_instance SHOP {{\n state BACKUP\n interface eth0\n virtual_router_id 77\n nopreempt\n version 3\n \
             priority {priority}\n advert_int 0.2\n unicast_src_ip 10.8.4.{own} # this one\n \
             unicast_peer {{\n 10.8.4.{peer}\n }}\n virtual_ipaddress {{\n {ADDRESS}\n }}\n \
             notify_master \"/etc/keepalived/tell.sh MASTER\"\n notify_backup \"/etc/keepalived/tell.sh BACKUP\"\n \
             notify_fault \"/etc/keepalived/tell.sh FAULT\"\n notify_stop \"/etc/keepalived/tell.sh STOP\"\n \
             garp_master_refresh 5\n track_interface {{\n eth0\n }}\n track_script {{\n alive\n }}\n}}\n"
        )
    }

    fn host(lab: &Lab, name: &str, number: u8) -> (Host, [App; 2]) {
        let host = lab.host(name).address(&format!("10.8.4.{number}/24")).start().expect("a host");
        host.write("/etc/keepalived/alive.sh", "#!/bin/sh\n[ ! -e /run/broken ]\n").expect("a script");
        host.write("/etc/keepalived/tell.sh", "#!/bin/sh\necho $1 >> /run/states\n").expect("a script");
        let app = |service: &str, port| host.app(&format!("{service}-{name}"), port).expect("an application");
        let apps = [app("shop", 8081), app("cashier", 9091)];
        (host, apps)
    }

    pub(super) fn play(peer_is_weir: bool) {
        let lab = lab();
        let client = lab.host("client").address("10.8.4.9/24").start().expect("a host");
        let (a, mut apps) = host(&lab, "a", 20);
        let (b, _others) = host(&lab, "b", 21);
        let watch = watch(&lab, ADDRESS);
        let first = node(&a, true, NGINX, &keepalived(20, 21, 100));
        holds(&watch, "a", &[&first]);
        let second = node(&b, peer_is_weir, NGINX, &keepalived(21, 20, 50));
        let both = [&first, &second];
        b.wait_listen(80, PATIENCE).expect("the second proxy");
        b.wait_text("/run/states", "BACKUP", PATIENCE).expect("its first state");
        assert_eq!(answering(&client, "shop.example", ADDRESS), ["shop-a", "shop-b"]);
        assert_eq!(answering(&client, "cashier.example", ADDRESS), ["cashier-a", "cashier-b"]);

        // A dead service is left out, and nobody notices.
        let plan =
            ProbePlan::to(&format!("http://{ADDRESS}/")).expect("a URL").every(Duration::from_millis(5));
        let mut probe = client.probe(plan.timeout(PATIENCE)).expect("a probe");
        for app in &mut apps {
            app.kill();
        }
        assert_eq!(answering(&client, "shop.example", ADDRESS), ["shop-b"]);
        assert_eq!(answering(&client, "cashier.example", ADDRESS), ["cashier-b"]);
        probe.stop();
        let tally = probe.tally(Duration::ZERO, lab.now());
        assert_eq!(tally.failed(), 0, "{tally:?}");
        assert_eq!(watch.holders(), ["a"], "services of all nodes serve all nodes");

        // A dead proxy moves the address, and its return does not.
        first.signal(Part::Worker, Signal::STOP).expect("a worker");
        holds(&watch, "b", &both);
        a.wait_text("/run/states", "FAULT", PATIENCE).expect("the fault");
        first.signal(Part::Worker, Signal::CONT).expect("a worker");
        until("the first node is well", || ends_with(&a, "BACKUP"));
        assert_eq!(ask(&client, "shop.example", ADDRESS), "shop-b\n");

        // The check script of the other one brings it back; again nobody takes it because of a number.
        b.write("/run/broken", "").expect("a file");
        holds(&watch, "a", &both);
        std::fs::remove_file(b.outside("/run/broken")).expect("a file");
        until("the second node is well", || ends_with(&b, "BACKUP"));
        assert_eq!(watch.holders(), ["a"]);

        // A dead node moves it, and stays without it when it is back.
        first.kill().expect("everything dies");
        holds(&watch, "b", &both);
        std::fs::remove_file(a.outside("/run/states")).expect("states");
        first.launch().expect("it starts again");
        until("the first node is back", || ends_with(&a, "BACKUP"));
        assert_eq!(watch.holders(), ["b"]);
        assert_eq!(ask(&client, "cashier.example", ADDRESS), "cashier-b\n");
        second.stop().expect("it is told to end");
        holds(&watch, "a", &both);
    }

    /// Whether a state is the last that the node told of.
    fn ends_with(host: &Host, state: &str) -> Option<()> {
        host.read("/run/states").ok()?.ends_with(&format!("{state}\n")).then_some(())
    }
}

mod pair {
    //! MASTER and BACKUP, multicast: the simplest file of all.

    use super::*;

    const ADDRESS: &str = "172.21.0.110";

    fn keepalived(state: &str, priority: u8) -> String {
        format!(
            "global_defs {{\n # of this node\n router_id n{priority}\n}}\nvrrp_instance PAIR {{\n state {state}\n \
             interface eth0\n virtual_router_id 21\n priority {priority}\n version 3\n advert_int 0.2\n \
             virtual_ipaddress {{\n {ADDRESS}\n }}\n}}\n"
        )
    }

    pub(super) fn play(peer_is_weir: bool) {
        let lab = lab();
        let host = |name, number: u8| {
            lab.host(name).address(&format!("172.21.0.{number}/24")).start().expect("a host")
        };
        let (a, b, client) = (host("a", 2), host("b", 3), host("client", 9));
        let nginx = |word| {
            format!(
                "user root;\nevents {{ }}\nhttp {{\n access_log off;\n server {{ listen 80; location / {{ return 200 {word}; }} }}\n}}\n"
            )
        };
        let watch = watch(&lab, ADDRESS);
        let first = node(&a, true, &nginx("a"), &keepalived("MASTER", 100));
        let second = node(&b, peer_is_weir, &nginx("b"), &keepalived("BACKUP", 90));
        let both = [&first, &second];
        holds(&watch, "a", &both);
        b.wait_listen(80, PATIENCE).expect("the second proxy");
        assert_eq!(ask(&client, "x", ADDRESS), "a");
        first.stop().expect("it is told to end");
        holds(&watch, "b", &both);
        assert_eq!(ask(&client, "x", ADDRESS), "b");
        first.launch().expect("it starts again");
        holds(&watch, "a", &both);
        assert_eq!(ask(&client, "x", ADDRESS), "a");
        second.kill().expect("everything dies");
        assert_eq!(watch.holders(), ["a"]);
    }
}

mod crossed {
    //! Two addresses, each the first duty of one node; proxies listen on the addresses themselves.

    use super::*;

    const LEFT: &str = "10.7.0.3";
    const RIGHT: &str = "10.7.0.4";

    fn keepalived(name: &str, left: (&str, u8), right: (&str, u8)) -> String {
        let instance = |instance, vrid, (state, priority), address| {
            format!(
                "vrrp_instance {instance} {{\n state {state}\n interface eth0\n virtual_router_id {vrid}\n \
                 priority {priority}\n version 3\n advert_int 0.2\n virtual_ipaddress {{\n {address}/24\n }}\n \
                 track_script {{\n site\n }}\n}}\n"
            )
        };
        format!(
            "! for {name}\nglobal_defs {{\n router_id {name}\n script_user root\n}}\n\n$site=/srv/scripts/site.sh\n\n\
             vrrp_script site {{\n script \"${{site}}\"\n interval 1\n weight -60\n}}\n{}{}",
            instance("left", 71, left, LEFT),
            instance("right", 72, right, RIGHT)
        )
    }

    fn nginx(word: &str) -> String {
        format!(
            "user root;\nworker_processes 1;\nevents {{ }}\nhttp {{\n access_log off;\n server {{\n  listen {LEFT}:80;\n  \
             location / {{ return 200 left-{word}; }}\n }}\n server {{\n  listen {RIGHT}:80;\n  \
             location / {{ return 200 right-{word}; }}\n }}\n}}\n"
        )
    }

    pub(super) fn play(peer_is_weir: bool) {
        let lab = lab();
        let host = |name, number: u8| {
            let host = lab.host(name).address(&format!("10.7.0.{number}/24")).start().expect("a host");
            host.write("/srv/scripts/site.sh", "#!/bin/sh\n[ ! -e /run/broken ]\n").expect("a script");
            host
        };
        let (a, b, client) = (host("a", 5), host("b", 6), host("client", 9));
        if !peer_is_weir {
            // nginx needs it; Weir does not.
            let output = b.run("sysctl", &["-w", "net.ipv4.ip_nonlocal_bind=1"]).expect("sysctl runs");
            assert!(output.status.success(), "{output:?}");
        }
        let (left, right) = (watch(&lab, LEFT), watch(&lab, RIGHT));
        let first = node(&a, true, &nginx("a"), &keepalived("a", ("MASTER", 150), ("BACKUP", 100)));
        let second = node(&b, peer_is_weir, &nginx("b"), &keepalived("b", ("BACKUP", 100), ("MASTER", 150)));
        let both = [&first, &second];
        holds(&left, "a", &both);
        holds(&right, "b", &both);
        for (host, address) in [(&a, RIGHT), (&b, LEFT)] {
            let sockets = || text(&host.run("ss", &["-Hltn"]).expect("ss runs").stdout);
            until("it listens on what it does not hold", || {
                sockets().contains(&format!("{address}:80")).then_some(())
            });
        }
        assert_eq!((ask(&client, "x", LEFT), ask(&client, "x", RIGHT)), ("left-a".into(), "right-b".into()));
        // The script gives the address away, and brings it back.
        a.write("/run/broken", "").expect("a file");
        holds(&left, "b", &both);
        assert_eq!((ask(&client, "x", LEFT), ask(&client, "x", RIGHT)), ("left-b".into(), "right-b".into()));
        std::fs::remove_file(a.outside("/run/broken")).expect("a file");
        holds(&left, "a", &both);
        // One node serves both when the other dies.
        second.kill().expect("everything dies");
        b.link_down().expect("a switch");
        right
            .wait_holders(&["a", "b"], PATIENCE)
            .or_else(|_| right.wait_holders(&["a"], PATIENCE))
            .expect("the first node has it");
        assert_eq!((ask(&client, "x", LEFT), ask(&client, "x", RIGHT)), ("left-a".into(), "right-a".into()));
        b.link_up().expect("a switch");
        second.launch().expect("it starts again");
        holds(&right, "b", &both);
        holds(&left, "a", &both);
        assert_eq!((ask(&client, "x", LEFT), ask(&client, "x", RIGHT)), ("left-a".into(), "right-b".into()));
    }
}

#[test]
fn a_shop_on_two_nodes() {
    PEERS.into_iter().for_each(shop::play);
}

#[test]
fn a_master_and_a_backup() {
    PEERS.into_iter().for_each(pair::play);
}

#[test]
fn two_nodes_with_crossed_duties() {
    PEERS.into_iter().for_each(crossed::play);
}
