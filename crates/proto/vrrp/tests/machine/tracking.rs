//! What priorities and faults depend on.

use weir_model::Micros;
use weir_model::vrrp::{Instance, LinkDelay, TrackFile, TrackProxy, Vrrp};
use weir_vrrp::{Finding, State, Tracker};

use super::rig::{Rig, bare, down, link, master, ms, one, rig, track, track_script, web};

fn with_script(weight: i32) -> Vrrp {
    let mut instance = web();
    instance.track_scripts.push(track("chk", weight));
    let mut config = one(instance);
    config.scripts.push(track_script("chk"));
    config
}

fn up(config: Vrrp) -> Rig {
    let mut rig = rig(config);
    rig.script("chk", Finding::Up);
    rig.took();
    rig
}

#[test]
fn init_waits_for_scripts_whose_failure_is_a_fault() {
    let mut rig = bare(with_script(0));
    rig.link(true);
    assert_eq!(rig.state(), State::Init);
    assert_eq!(rig.status().reasons, ["script chk has not reported yet"]);
    rig.script("chk", Finding::Up);
    assert_eq!(rig.state(), State::Backup);
    let mut rig = bare(with_script(-10));
    rig.link(true);
    assert_eq!(rig.state(), State::Backup, "a weighted one need not report");
    assert_eq!(rig.status().effective_priority, 100);
}

#[test]
fn a_failing_script_is_a_fault_or_changes_the_priority() {
    for (weight, while_up, while_down, state) in [
        (0, 100, 100, State::Fault),
        (-30, 100, 70, State::Backup),
        (30, 130, 100, State::Backup),
        (-253, 100, 1, State::Backup),
        (253, 254, 100, State::Backup),
    ] {
        let mut rig = up(with_script(weight));
        assert_eq!(rig.status().effective_priority, while_up);
        rig.script("chk", down());
        assert_eq!(rig.status().effective_priority, while_down);
        assert_eq!(rig.state(), state);
        let reasons = rig.status().reasons;
        match weight {
            0 => assert_eq!(reasons, ["script chk is down (exited with code 1)"]),
            1.. => assert_eq!(reasons, [""; 0]),
            _ => assert_eq!(reasons, [format!("{weight}: script chk is down (exited with code 1)")]),
        }
    }
}

#[test]
fn reverse_swaps_up_and_down() {
    for (weight, while_up, while_down) in [(-30, 70, 100), (30, 100, 130)] {
        let mut config = with_script(weight);
        config.instances[0].track_scripts[0].reverse = true;
        let mut rig = up(config);
        assert_eq!(rig.status().effective_priority, while_up);
        rig.script("chk", down());
        assert_eq!(rig.status().effective_priority, while_down);
    }
    let mut config = with_script(0);
    config.instances[0].track_scripts[0].reverse = true;
    let mut rig = up(config);
    assert_eq!(rig.state(), State::Fault);
    rig.script("chk", down());
    assert_eq!(rig.state(), State::Backup);
}

#[test]
fn an_owner_ignores_weights_but_not_faults() {
    let mut config = with_script(-30);
    config.instances[0].priority = Instance::OWNER;
    let mut rig = up(config);
    rig.script("chk", down());
    assert_eq!((rig.state(), rig.status().effective_priority), (State::Master, 255));
    let mut config = with_script(0);
    config.instances[0].priority = Instance::OWNER;
    let mut rig = up(config);
    rig.script("chk", down());
    assert_eq!(rig.state(), State::Fault);
    rig.script("chk", Finding::Up);
    assert_eq!(rig.state(), State::Master, "an owner need not listen");
}

#[test]
fn a_changed_priority_is_said_and_advertised() {
    let mut config = with_script(-30);
    config.instances[0].notify_priority_changes = true;
    let mut rig = up(config);
    rig.wait(ms(6000));
    rig.took();
    rig.script("chk", down());
    assert_eq!(
        rig.took(),
        [
            "event script chk: down (exited with code 1)",
            "event web: priority 100 -> 70: -30: script chk is down (exited with code 1)",
            "notify instance web MASTER_PRIORITY 70",
        ]
    );
    rig.wait(ms(1000));
    assert_eq!(rig.took_only("advert"), ["advert web 70"]);
    rig.script("chk", Finding::Down("exited with code 2".to_owned()));
    assert_eq!(rig.took(), [""; 0], "the same with other words");
}

#[test]
fn a_file_counts_its_number_times_the_weight() {
    let file = |weight, reverse| {
        let mut instance = web();
        instance.track_files.push(weir_model::vrrp::Track { name: "knob".to_owned(), weight, reverse });
        let mut config = one(instance);
        let path = "/run/knob".to_owned();
        config.files.push(TrackFile { name: "knob".to_owned(), path, weight, reverse, init: None });
        config
    };
    let knob = Tracker::File("knob".to_owned());
    for (weight, reverse, value, priority, state) in [
        (1, false, -20, 80, State::Backup),
        (2, false, 10, 120, State::Backup),
        (2, true, 10, 80, State::Backup),
        (1, false, -253, 1, State::Backup),
        (1, false, -254, 100, State::Fault),
        (100, false, i64::MAX, 254, State::Backup),
        (-1, false, i64::MAX, 100, State::Fault),
        (0, false, 1, 100, State::Fault),
        (0, false, 0, 100, State::Backup),
        (0, true, 0, 100, State::Fault),
    ] {
        let mut rig = rig(file(weight, reverse));
        rig.node.handle_tracker(rig.now, &knob, Finding::Value(value));
        let status = rig.status();
        let case = format!("weight {weight} reverse {reverse} value {value}");
        assert_eq!((status.state, status.effective_priority), (state, priority), "{case}");
    }
}

#[test]
fn the_proxy_counts_only_after_it_reported() {
    let mut rig = master(one(web()));
    rig.node.handle_tracker(rig.now, &Tracker::Proxy, Finding::Up);
    assert_eq!(rig.state(), State::Master);
    rig.node.handle_tracker(rig.now, &Tracker::Proxy, Finding::Down("no worker".to_owned()));
    assert_eq!(rig.state(), State::Fault);
    assert_eq!(rig.status().cause, "proxy is down (no worker)");
    for (track, priority) in [(TrackProxy::Weight(-40), 60), (TrackProxy::Off, 100)] {
        let mut instance = web();
        instance.track_proxy = track;
        let mut rig = master(one(instance));
        rig.node.handle_tracker(rig.now, &Tracker::Proxy, Finding::Down("no worker".to_owned()));
        assert_eq!((rig.state(), rig.status().effective_priority), (State::Master, priority));
    }
}

#[test]
fn dead_upstreams_only_lower_the_priority() {
    let mut instance = web();
    instance.track_upstreams.push(track("app", -50));
    let mut rig = master(one(instance));
    rig.node.handle_tracker(rig.now, &Tracker::Upstream("app".to_owned()), down());
    assert_eq!((rig.state(), rig.status().effective_priority), (State::Master, 50));
}

#[test]
fn tracked_interfaces() {
    let mut instance = web();
    instance.track_interfaces.push(track("eth1", 0));
    let mut rig = bare(one(instance));
    rig.link(true);
    assert_eq!(rig.status().reasons, ["interface eth1 has not been seen yet"]);
    rig.node.handle_link(rig.now, link(3, "eth1", true, &[]));
    assert_eq!(rig.state(), State::Backup);
    rig.node.handle_link(rig.now, link(3, "eth1", false, &[]));
    assert_eq!(rig.status().cause, "interface eth1 is down");
    let mut instance = web();
    instance.track_interfaces.push(track("eth1", -30));
    let mut rig = bare(one(instance));
    rig.link(true);
    rig.node.handle_link(rig.now, link(3, "eth1", true, &[]));
    rig.wait(ms(2000));
    rig.node.handle_link_gone(rig.now, 3);
    assert_eq!(rig.status().effective_priority, 70);
    assert!(rig.took().contains(&"event interface eth1 vanished".to_owned()));
}

#[test]
fn an_interface_that_vanishes_and_returns_with_another_index() {
    let mut rig = master(one(web()));
    rig.node.handle_link_gone(rig.now, 2);
    let took = rig.took();
    assert_eq!(took[0], "event interface eth0 vanished");
    assert_eq!(took[1], "release 10.0.0.9", "there is nowhere to send priority zero");
    assert_eq!(rig.status().cause, "interface eth0 is gone");
    rig.node.handle_link(rig.now, link(9, "eth0", true, &["10.0.0.2"]));
    assert_eq!(rig.took()[0], "event interface eth0 is there");
    rig.wait(ms(3610));
    assert_eq!(rig.took_only("advert"), ["advert web 100 by 9"]);
}

#[test]
fn dont_track_primary_ignores_the_state_of_its_own_interface() {
    let mut instance = web();
    instance.ignore_own_interface = true;
    let mut rig = master(one(instance));
    rig.link(false);
    assert_eq!(rig.state(), State::Master);
}

#[test]
fn interface_delays_bridge_short_interruptions() {
    let mut config = one(web());
    let delay =
        LinkDelay { interface: "eth0".to_owned(), down: Micros::from_secs(2), up: Micros::from_secs(3) };
    config.link_delays.push(delay);
    let mut rig = master(config);
    rig.link(false);
    rig.wait(ms(1900));
    rig.link(true);
    rig.wait(ms(5000));
    assert_eq!(rig.state(), State::Master);
    rig.link(false);
    rig.wait(ms(1999));
    assert_eq!(rig.state(), State::Master);
    rig.wait(ms(1));
    assert_eq!(rig.state(), State::Fault);
    rig.link(true);
    rig.wait(ms(2999));
    assert_eq!(rig.state(), State::Fault);
    rig.wait(ms(1));
    assert_eq!(rig.state(), State::Backup);
}
