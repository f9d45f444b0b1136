//! The events of a scenario, done.

use std::time::Duration;

use crate::app::Mood;
use crate::entry::{Entry, Part, Texts};
use crate::error::{Error, Result};
use crate::host::Host;
use crate::lab::Traffic;
use crate::process::Signal;
use crate::run::Stage;
use crate::scenario::{Action, Event, PartName};

/// Does it, and says in a few words what was done.
pub(crate) fn perform(stage: &mut Stage, event: &Event) -> Result<String> {
    let name = event.host.clone().unwrap_or_default();
    let kind = format!("{:?}", event.part).to_lowercase();
    match event.action {
        Action::Kill => {
            let signal = named(event.signal.as_deref().unwrap_or("KILL"))?;
            signal_part(stage, &name, event.part, signal)?;
            let signal = event.signal.as_deref().unwrap_or("KILL").to_uppercase();
            Ok(format!("{signal} {name} {kind}"))
        }
        Action::Stop => {
            signal_part(stage, &name, event.part, Signal::STOP).map(|()| format!("STOP {name} {kind}"))
        }
        Action::Cont => {
            signal_part(stage, &name, event.part, Signal::CONT).map(|()| format!("CONT {name} {kind}"))
        }
        Action::End => each(stage, &name, Entry::stop).map(|()| format!("TERM {name}")),
        Action::Start if event.part == PartName::App => {
            stage.apps.get_mut(&name).into_iter().flatten().try_for_each(|app| app.start())?;
            Ok(format!("start {name} app"))
        }
        Action::Start => each(stage, &name, Entry::launch).map(|()| format!("start {name}")),
        Action::Restart => {
            each(stage, &name, |e| e.stop().and_then(|()| e.launch())).map(|()| format!("restart {name}"))
        }
        Action::LinkDown => host(stage, &name)?.link_down().map(|()| format!("link of {name} down")),
        Action::LinkUp => host(stage, &name)?.link_up().map(|()| format!("link of {name} up")),
        Action::Block | Action::Partition => part(stage, event),
        Action::Heal => {
            let blocks = std::mem::take(&mut stage.blocks);
            blocks.iter().try_for_each(|block| stage.lab.unblock(block))?;
            Ok("heal".to_owned())
        }
        Action::DeleteAddress => {
            let address = event.address.ok_or_else(|| Error::wrong("no address to delete"))?;
            host(stage, &name)?.delete_address(address)?;
            Ok(format!("ip addr del {address} on {name}"))
        }
        Action::Reload => {
            let texts = Texts { nginx: event.nginx.clone(), keepalived: event.keepalived.clone() };
            each(stage, &name, |entry| entry.reload(&texts)).map(|()| format!("reload {name}"))
        }
        Action::AppWell => mood(stage, &name, Mood::Well),
        Action::AppWedge => mood(stage, &name, Mood::Wedged),
        Action::AppSlow => {
            let time = event.time.map_or(Duration::from_secs(1), |time| time.0);
            mood(stage, &name, Mood::Slow(time))
        }
    }
}

fn host<'a>(stage: &'a Stage, name: &str) -> Result<&'a Host> {
    stage.hosts.get(name).ok_or_else(|| Error::wrong(format!("there is no host \"{name}\"")))
}

fn each(stage: &Stage, name: &str, act: impl Fn(&Entry) -> Result<()>) -> Result<()> {
    match stage.entries.get(name) {
        Some(entries) => entries.iter().try_for_each(act),
        None => Err(Error::wrong(format!("host \"{name}\" has no entry; give it a role"))),
    }
}

fn signal_part(stage: &mut Stage, name: &str, which: PartName, signal: Signal) -> Result<()> {
    match which.part() {
        None => {
            stage.apps.get_mut(name).into_iter().flatten().for_each(|app| app.kill());
            Ok(())
        }
        Some(Part::All) => host(stage, name)?.signal_all(signal),
        Some(part) => each(stage, name, |entry| match entry.processes(part).is_empty() {
            // One of several programs of the host may lack the part.
            true if stage.entries.get(name).is_some_and(|all| all.len() > 1) => Ok(()),
            _ => entry.signal(part, signal),
        }),
    }
}

fn part(stage: &mut Stage, event: &Event) -> Result<String> {
    let names = |list: &[String]| if list.is_empty() { "all".to_owned() } else { list.join(",") };
    let (from, to): (Vec<&str>, Vec<&str>) =
        (event.from.iter().map(String::as_str).collect(), event.to.iter().map(String::as_str).collect());
    let traffic = Traffic { share: event.share.unwrap_or(1.0), protocol: event.protocol };
    stage.blocks.push(stage.lab.block_traffic(&from, &to, traffic)?);
    if event.action == Action::Partition {
        stage.blocks.push(stage.lab.block_traffic(&to, &from, traffic)?);
        return Ok(format!("partition {} | {}", names(&event.from), names(&event.to)));
    }
    Ok(format!("block {} > {}", names(&event.from), names(&event.to)))
}

fn mood(stage: &mut Stage, name: &str, mood: Mood) -> Result<String> {
    stage.apps.get(name).into_iter().flatten().for_each(|app| app.set_mood(mood));
    Ok(format!("app of {name}: {mood:?}"))
}

fn named(name: &str) -> Result<Signal> {
    match name.to_uppercase().trim_start_matches("SIG") {
        "KILL" => Ok(Signal::KILL),
        "TERM" => Ok(Signal::TERM),
        "INT" => Ok(Signal::INT),
        "HUP" => Ok(Signal::HUP),
        "QUIT" => Ok(Signal::QUIT),
        "STOP" => Ok(Signal::STOP),
        "CONT" => Ok(Signal::CONT),
        "USR1" => Ok(Signal::USR1),
        "USR2" => Ok(Signal::USR2),
        "SEGV" => Ok(Signal::SEGV),
        "ABRT" => Ok(Signal::ABORT),
        _ => Err(Error::wrong(format!(
            "\"{name}\" is no signal; expected KILL, TERM, INT, HUP, QUIT, STOP, CONT, USR1, USR2, SEGV or ABRT"
        ))),
    }
}
