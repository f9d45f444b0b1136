//! What is there or not on the machine at hand. Nodes that are other machines are left alone.

use weir_model::vrrp::{Notify, Script, Vrrp};
use weir_syntax::Severity::{Error, Warning};
use weir_syntax::keepalived::Statement;

use crate::machine::ScriptFault;
use crate::report::Report;
use crate::router::{Member, find, lines_of, root};
use crate::scene::Scene;
use crate::{Place, Rule};

pub(super) const RULES: &[Rule] = &[
    Rule {
        id: "interface-missing",
        severity: Error,
        doc: "An interface is named that this machine does not have.",
        find: interfaces,
    },
    Rule {
        id: "script-unusable",
        severity: Error,
        doc: "A script is named that this machine cannot run.",
        find: unusable,
    },
    Rule {
        id: "script-exposed",
        severity: Warning,
        doc: "A script can be changed by others than the user that runs it.",
        find: exposed,
    },
];

/// The instances of nodes that are this machine.
fn local<'r, 'a>(scene: &'r Scene<'a>) -> impl Iterator<Item = (&'r Member<'a>, &'a dyn crate::Machine)> {
    scene.local().flat_map(|(node, machine)| {
        let members = scene.members().filter(move |member| std::ptr::eq(member.node, node));
        members.map(move |member| (member, machine))
    })
}

fn interfaces<'a>(scene: &Scene<'a>, report: &mut Report<'a>) {
    let mut told: Vec<(*const Vrrp, &str)> = Vec::new();
    for (member, machine) in local(scene) {
        let vrrp: &Vrrp = &member.loaded.vrrp;
        if vrrp.globals.dynamic_interfaces {
            continue;
        }
        let own = std::iter::once((member.instance.interface.as_str(), member.at("interface")));
        let tracked = member.instance.track_interfaces.iter();
        let tracked = tracked.map(|track| (track.name.as_str(), member.item("track_interface", &track.name)));
        let devices = ["virtual_ipaddress", "virtual_ipaddress_excluded"].into_iter();
        let lists = devices.zip([&member.instance.addresses, &member.instance.excluded]);
        let held = lists.flat_map(|(list, addresses)| {
            let named = addresses.iter().filter_map(|one| one.interface.as_deref());
            named.map(move |name| (name, member.at(list)))
        });
        for (name, place) in own.chain(tracked).chain(held) {
            let made = member.instance.vmac.as_ref().is_some_and(|vmac| vmac.name.as_deref() == Some(name));
            if made || machine.has_interface(name) || told.contains(&(std::ptr::from_ref(vrrp), name)) {
                continue;
            }
            told.push((std::ptr::from_ref(vrrp), name));
            let message = format!("{} has no interface {name}: keepalived does not start", member.node.name);
            report
                .add(&[member.node], place, message)
                .help("`ip link` lists them; with dynamic_interfaces in global_defs one may come later");
        }
    }
}

/// The scripts of a configuration, each with the line that names it.
fn scripts<'a>(loaded: &'a weir_keepalived::Loaded) -> Vec<(&'a Script, Place<'a>)> {
    let vrrp = &loaded.vrrp;
    let place =
        |line: Option<&Statement>| Place { files: &loaded.tree.files, span: line.map(|line| line.span) };
    let line = |block: &str, name: &str, keyword: &str| {
        let block = root(loaded, block, Some(name));
        place(find(lines_of(block), keyword).or(block))
    };
    let mut found: Vec<(&Script, Place<'a>)> =
        vrrp.scripts.iter().map(|one| (&one.script, line("vrrp_script", &one.name, "script"))).collect();
    let instances = vrrp.instances.iter().map(|one| ("vrrp_instance", &one.name, &one.notify));
    let groups = vrrp.groups.iter().map(|one| ("vrrp_sync_group", &one.name, &one.notify));
    for (block, name, notify) in instances.chain(groups) {
        found.extend(notified(notify).map(|(keyword, script)| (script, line(block, name, keyword))));
    }
    let globals = root(loaded, "global_defs", None);
    for (keyword, hook) in
        [("startup_script", &vrrp.globals.startup_script), ("shutdown_script", &vrrp.globals.shutdown_script)]
    {
        found.extend(
            hook.iter().map(|hook| (&hook.script, place(find(lines_of(globals), keyword).or(globals)))),
        );
    }
    let readers = vrrp.globals.fifos.iter().filter_map(|fifo| fifo.script.as_ref());
    found.extend(readers.map(|script| {
        let lines =
            ["notify_fifo_script", "vrrp_notify_fifo_script"].map(|word| find(lines_of(globals), word));
        (script, place(lines.into_iter().flatten().next().or(globals)))
    }));
    found
}

fn notified(notify: &Notify) -> impl Iterator<Item = (&'static str, &Script)> {
    [
        ("notify_master", &notify.master),
        ("notify_backup", &notify.backup),
        ("notify_fault", &notify.fault),
        ("notify_stop", &notify.stop),
        ("notify_deleted", &notify.deleted),
        ("notify_master_rx_lower_pri", &notify.master_rx_lower_pri),
        ("notify", &notify.any),
    ]
    .into_iter()
    .filter_map(|(keyword, script)| Some((keyword, script.as_ref()?)))
}

fn unusable<'a>(scene: &Scene<'a>, report: &mut Report<'a>) {
    faults(scene, report, |fault| match fault {
        ScriptFault::Unusable(text) => {
            Some((text, "keepalived leaves such a script out and runs on without it: mend its path or mode"))
        }
        ScriptFault::Exposed(_) => None,
    });
}

fn exposed<'a>(scene: &Scene<'a>, report: &mut Report<'a>) {
    faults(scene, report, |fault| match fault {
        ScriptFault::Exposed(text) => {
            Some((text, "chown it to root and chmod go-w it, with all folders above it"))
        }
        ScriptFault::Unusable(_) => None,
    });
}

/// Reports the faults of scripts that `pick` takes, each script of a node once.
fn faults<'a>(
    scene: &Scene<'a>,
    report: &mut Report<'a>,
    pick: fn(ScriptFault) -> Option<(String, &'static str)>,
) {
    for (node, machine) in scene.local() {
        let Some(loaded) = node.keepalived else { continue };
        let mut told: Vec<&str> = Vec::new();
        for (script, place) in scripts(loaded) {
            let name = script.argv.first().map_or("", String::as_str);
            let Some((text, help)) = machine.script(script, &loaded.vrrp.globals).err().and_then(pick) else {
                continue;
            };
            if !told.contains(&name) {
                told.push(name);
                report.add(&[node], place, text).help(help);
            }
        }
    }
}
