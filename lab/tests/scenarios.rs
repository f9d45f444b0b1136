//! Scenarios with the machine's keepalived and nginx: the laboratory must see what is known of them.

use std::path::{Path, PathBuf};
use std::time::Duration;

use weir_lab::matrix::{Case, Pair, measure};
use weir_lab::{
    Cast, Entry, Lab, PacketKind, Record, Scenario, Signal, Subject, Texts, draw_svg, draw_text, run,
};

/// Runs a scenario file of this folder; there is no skipping where hosts cannot be made.
fn play(file: &str) -> Record {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("scenarios").join(file);
    let scenario = Scenario::load(&path).expect("the scenario is sound");
    let cast = Cast { weir: PathBuf::from("weir"), subject: Some(Subject::Rivals) };
    run(&scenario, &cast)
        .unwrap_or_else(|error| panic!("root or a user namespace, nginx and keepalived are needed: {error}"))
}

#[test]
fn a_pair_fails_over_and_every_request_is_accounted_for() {
    let record = play("fail-over.toml");
    assert_eq!(record.missed, Vec::<String>::new());
    let (vip, probe) = (&record.vips[0], &record.probes[0].tally);
    assert_eq!((vip.account.moves, vip.account.holders.as_slice()), (1, ["b".to_owned()].as_slice()));
    assert_eq!(vip.intervals.iter().map(|i| i.host.as_str()).collect::<Vec<_>>(), ["a", "b"]);
    assert!(probe.timed_out > 0 && probe.answered > 0, "{probe:?}");
    assert_eq!(probe.answered + probe.failed(), probe.sent);
    let last = record.packets.iter().rev().find_map(|packet| match &packet.kind {
        PacketKind::Advertisement { source, priority, version: 2, vrid: 51 } => {
            Some((source.to_string(), *priority))
        }
        _ => None,
    });
    assert_eq!(last, Some(("10.0.0.2".to_owned(), 100)));
    let zero = |kind: &PacketKind| matches!(kind, PacketKind::Advertisement { priority: 0, .. });
    assert!(record.packets.iter().any(|packet| zero(&packet.kind)), "the master did not say that it leaves");
    let text = draw_text(&record, 60);
    assert!(text.contains("TERM a") && text.contains("####"), "{text}");
    let svg = draw_svg(&record);
    assert!(svg.starts_with("<svg") && svg.contains("TERM a"), "{svg}");
}

#[test]
fn a_killed_keepalived_leaves_its_address_behind() {
    let cell = measure(Case::KillAll, Pair::Rivals, Path::new("weir")).expect("it is measured");
    assert!(cell.account.doubled_at_end, "{cell:?}");
    assert_eq!((cell.left_after, cell.account.moves), (None, 1));
    assert!(cell.taken_after > Some(Duration::from_secs(2)), "{cell:?}");
    assert!(cell.missed.contains(&"doubled".to_owned()), "{cell:?}");
}

#[test]
fn a_killed_pair_of_programs_starts_again() {
    let lab = Lab::new().unwrap_or_else(|error| panic!("root or a user namespace is needed: {error}"));
    lab.segment("lan").expect("a segment");
    let host = lab.host("a").address("10.0.0.1/24").start().expect("a host");
    let texts = Texts {
        nginx: Some("events { }\nhttp { server { listen 80; return 200 a; } }\n".to_owned()),
        keepalived: Some(
            "vrrp_instance i {\n interface eth0\n virtual_router_id 9\n priority 200\n advert_int 1\n \
             virtual_ipaddress {\n 10.0.0.9/24\n }\n}\n"
                .to_owned(),
        ),
    };
    let entry = Entry::start(&host, &Subject::Rivals, texts).expect("an entry");
    let (watch, patience) = (lab.watch("10.0.0.9".parse().expect("an address")), Duration::from_secs(20));
    watch.wait_holders(&["a"], patience).expect("held");
    host.wait_listen(80, patience).expect("nginx serves");
    host.signal_all(Signal::KILL).expect("killed");
    entry.launch().expect("started again");
    // keepalived takes off what it finds, and wins the address again.
    watch.wait_holders(&[], patience).unwrap_or_else(|error| panic!("{error}\n{}", entry.logs()));
    watch.wait_holders(&["a"], patience).unwrap_or_else(|error| panic!("{error}\n{}", entry.logs()));
    host.wait_listen(80, patience).unwrap_or_else(|error| panic!("{error}\n{}", entry.logs()));
}
