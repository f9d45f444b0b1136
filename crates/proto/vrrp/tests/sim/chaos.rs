//! Trouble for a while, then peace.

use std::sync::Arc;
use std::time::Duration;

use weir_model::vrrp::Address;
use weir_vrrp::State;

use super::check::{Limits, Violation};
use super::host::Waiting;
use super::world::{Network, World};

/// Things go wrong about once a second or less, for half a minute.
pub(crate) fn trouble(world: &mut World) -> Result<(), Violation> {
    for host in 0..world.hosts.len() {
        world.start(host)?;
        world.look();
        if world.rng.percent(50) {
            let pause = world.rng.between(Duration::ZERO, Duration::from_secs(5));
            world.run(world.now + pause)?;
        }
    }
    let end = world.now + Duration::from_secs(30);
    while world.now < end {
        let pause = world.rng.between(Duration::from_millis(1), Duration::from_secs(5));
        world.run(world.now + pause)?;
        let host = world.rng.index(world.hosts.len());
        strike(world, host)?;
        world.look();
    }
    Ok(())
}

fn strike(world: &mut World, host: usize) -> Result<(), Violation> {
    let kinds = if world.scene.reliable { 9 } else { 12 };
    let kind = world.rng.below(kinds);
    if kind != 5 {
        world.check.disturb();
    }
    match kind {
        0 => crash(world, host),
        1 => stop(world, host)?,
        2 => stall(world, host),
        3 => flap_script(world, host)?,
        4 => flap_link(world, host)?,
        5 => delete_address(world, host)?,
        6 => reload(world, host)?,
        7 => hand_over(world, host)?,
        8 => {}
        9 => block(world),
        10 => weather(world),
        _ => world.network = Network::reliable(),
    }
    if world.rng.percent(70)
        && let Some(dead) = world.hosts.iter().position(|host| host.node.is_none())
    {
        world.check.disturb();
        world.start(dead)?;
    }
    Ok(())
}

fn crash(world: &mut World, host: usize) {
    world.note(|| format!("host {host} is killed"));
    if !world.hosts[host].kernel.is_empty() {
        world.check.orphan(world.now);
    }
    world.hosts[host].node = None;
    world.hosts[host].stalled_until = None;
    world.hosts[host].waiting.clear();
}

fn stop(world: &mut World, host: usize) -> Result<(), Violation> {
    if !world.hosts[host].runs() {
        return Ok(());
    }
    world.note(|| format!("host {host} stops"));
    let now = world.now;
    if let Some(node) = &mut world.hosts[host].node {
        node.stop(now);
    }
    world.settle(host)?;
    if world.hosts[host].holds.is_empty() {
        world.hosts[host].node = None;
        return Ok(());
    }
    Err(Violation::new(now, format!("host {host}: still holds addresses after its stop")))
}

fn stall(world: &mut World, host: usize) {
    if world.hosts[host].runs() {
        let most = world.scene.interval() * 6;
        let span = world.rng.between(Duration::from_millis(5), most);
        world.note(|| format!("host {host} does not run for {span:?}"));
        world.hosts[host].stalled_until = Some(world.now + span);
        world.hosts[host].stalled_at = world.now;
        if !world.hosts[host].kernel.is_empty() {
            world.check.orphan(world.now);
        }
    }
}

fn flap_script(world: &mut World, host: usize) -> Result<(), Violation> {
    world.hosts[host].script_up = !world.hosts[host].script_up;
    let up = world.hosts[host].script_up;
    world.note(|| format!("host {host}: script {}", if up { "recovers" } else { "fails" }));
    world.report(host);
    world.settle(host)
}

fn flap_link(world: &mut World, host: usize) -> Result<(), Violation> {
    if !world.hosts[host].runs() {
        return Ok(());
    }
    world.hosts[host].link_up = !world.hosts[host].link_up;
    let (now, link) = (world.now, world.hosts[host].link());
    world.note(|| format!("host {host}: link {}", if link.up { "up" } else { "down" }));
    if let Some(node) = &mut world.hosts[host].node {
        node.handle_link(now, link);
    }
    world.settle(host)
}

fn delete_address(world: &mut World, host: usize) -> Result<(), Violation> {
    let Some(address) = world.hosts[host].kernel.keys().next().copied() else { return Ok(()) };
    world.note(|| format!("host {host}: somebody deletes {address}"));
    world.hosts[host].kernel.remove(&address);
    let runs = world.hosts[host].runs();
    world.hosts[host].deliver(world.now, Waiting::Gone(address));
    world.settle(host)?;
    let held = world.hosts[host].kernel.contains_key(&address);
    let master = (0..world.hosts[host].states.len()).all(|i| world.hosts[host].is_master(i));
    if runs && master && !held {
        return Err(Violation::new(world.now, format!("host {host}: {address} was not put back")));
    }
    Ok(())
}

/// Another excluded address, and in some runs another priority.
fn reload(world: &mut World, host: usize) -> Result<(), Violation> {
    if !world.hosts[host].runs() {
        return Ok(());
    }
    let mut config = (*world.hosts[host].config).clone();
    let bump = world.rng.percent(30);
    for instance in &mut config.instances {
        let extra = Address::new("192.0.2.77".parse().expect("a literal"));
        if instance.excluded.pop().is_none() {
            instance.excluded.push(extra);
        }
        if bump {
            instance.priority =
                if instance.priority % 2 == 0 { instance.priority - 15 } else { instance.priority + 15 };
        }
    }
    let config = Arc::new(config);
    world.hosts[host].config = Arc::clone(&config);
    let now = world.now;
    world.note(|| format!("host {host} reloads"));
    if let Some(node) = &mut world.hosts[host].node {
        node.reload(now, config);
    }
    world.settle(host)
}

fn hand_over(world: &mut World, host: usize) -> Result<(), Violation> {
    if !world.hosts[host].runs() {
        return Ok(());
    }
    world.note(|| format!("host {host} hands over to a successor"));
    let now = world.now;
    if let Some(node) = &mut world.hosts[host].node {
        node.hand_over(now);
    }
    world.settle(host)?;
    let pause = world.rng.between(Duration::ZERO, Duration::from_millis(400));
    world.hosts[host].node = None;
    world.run(now + pause)?;
    world.start(host)
}

/// One way, or everything to and from one host.
fn block(world: &mut World) {
    let count = world.hosts.len();
    let (one, other) = (world.rng.index(count), world.rng.index(count));
    if world.rng.percent(50) {
        world.network.blocked.push((one, other));
    } else {
        world.network.blocked.extend((0..count).flat_map(|to| [(one, to), (to, one)]));
    }
}

fn weather(world: &mut World) {
    world.network.loss = world.rng.below(40);
    world.network.duplicates = world.rng.below(20);
    world.network.delay.1 = world.rng.between(Duration::from_millis(1), Duration::from_millis(800));
}

/// Everything is repaired; then there has to be one master, and it stays.
pub(crate) fn peace(world: &mut World) -> Result<(), Violation> {
    world.network = Network::reliable();
    world.check.lift(Limits { two_masters: None, no_master: None, two_holders: None });
    for host in 0..world.hosts.len() {
        if world.hosts[host].stalled_until.is_some() {
            world.resume(host)?;
        }
        if !world.hosts[host].link_up {
            flap_link(world, host)?;
        }
        if !world.hosts[host].script_up {
            flap_script(world, host)?;
        }
        if world.hosts[host].node.is_none() {
            world.hosts[host].link_up = true;
            world.start(host)?;
        }
    }
    world.note(|| "peace".to_owned());
    // Leases of the dead run out, everyone listens, the best preempts.
    let settled = world.scene.master_down() * 3 + world.scene.preempt_delay() + Duration::from_secs(3);
    world.run(world.now + settled)?;
    let before = judge(world)?;
    let proof = world.scene.master_down() * 2;
    world.run(world.now + proof)?;
    let after = judge(world)?;
    if before == after {
        return Ok(());
    }
    Err(Violation::new(
        world.now,
        format!("the master changed from host {before} to {after} without a reason"),
    ))
}

/// The one master of all instances.
fn judge(world: &World) -> Result<usize, Violation> {
    let mut found = None;
    for (i, address) in world.scene.addresses().iter().enumerate() {
        let masters: Vec<usize> =
            (0..world.hosts.len()).filter(|host| world.hosts[*host].is_master(i)).collect();
        let holders: Vec<usize> =
            (0..world.hosts.len()).filter(|host| world.hosts[*host].kernel.contains_key(address)).collect();
        if masters.len() != 1 || masters != holders {
            let what = format!("instance {i} has masters {masters:?} and holders {holders:?}, expected one");
            return Err(Violation::new(world.now, what));
        }
        let master = masters[0];
        if found.is_some_and(|other| other != master) {
            return Err(Violation::new(
                world.now,
                "the members of a group have different masters".to_owned(),
            ));
        }
        found = Some(master);
        let status = |host: usize| world.hosts[host].node.as_ref().map(|node| node.status(world.now));
        let others = (0..world.hosts.len()).filter(|host| *host != master);
        if let Some(host) = others
            .into_iter()
            .find(|host| status(*host).is_none_or(|status| status.instances[i].state != State::Backup))
        {
            return Err(Violation::new(world.now, format!("host {host} is no backup of instance {i}")));
        }
    }
    let rank = |host: usize| (world.hosts[host].config.instances[0].priority, world.hosts[host].address);
    let best = (0..world.hosts.len()).max_by_key(|host| rank(*host));
    match found {
        Some(master)
            if world.scene.all_preempt() && best != Some(master) && rank_differs(world, master, best) =>
        {
            Err(Violation::new(
                world.now,
                format!("host {master} is master, but {best:?} has the highest priority"),
            ))
        }
        Some(master) => Ok(master),
        None => Err(Violation::new(world.now, "there is no instance".to_owned())),
    }
}

/// A backup of the same priority does not preempt, whatever its address.
fn rank_differs(world: &World, master: usize, best: Option<usize>) -> bool {
    let priority = |host: usize| world.hosts[host].config.instances[0].priority;
    best.is_some_and(|best| priority(best) > priority(master))
}
