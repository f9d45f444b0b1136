//! `keepalived.data`: settings and state, for people and for exporters that know this form.

use std::fmt::{Display, Write};

use weir_model::Micros;
use weir_model::vrrp::{
    Authentication, Delivery, Globals, Instance, Notify, ParameterMatch, SyncGroup, Track, TrackProcess,
    Version,
};
use weir_vrrp::{InstanceStatus, State};

use super::{Dump, Wall, parts, want};
use crate::attendant::checks::CheckView;
use crate::attendant::children::Phase;
use crate::attendant::files::FileView;
use crate::attendant::processes::ProcessView;
use crate::attendant::security;

/// The whole file. What only keepalived has (its socket pool, its copy of the interfaces) is left out.
pub(super) fn text(dump: &Dump, wall: &Wall) -> String {
    let mut out = Lines(String::new());
    out.line("------< Global definitions >------");
    globals(&mut out, dump);
    out.section("VRRP Topology", &dump.status.instances, |out, i| instance(out, dump, wall, i));
    out.section("VRRP Sync groups", &dump.config.groups, |out, g| group(out, dump, g));
    out.section("VRRP Scripts", &dump.trackers.checks, |out, c| check(out, dump, c));
    out.section("VRRP Track files", &dump.trackers.files, |out, f| file(out, dump, f));
    out.section("VRRP Track processes", &dump.trackers.processes, |out, p| process(out, dump, p));
    out.0
}

/// Text that grows by lines.
struct Lines(String);

impl Lines {
    fn line(&mut self, text: impl Display) {
        _ = writeln!(self.0, "{text}");
    }

    fn field(&mut self, name: &str, value: impl Display) {
        _ = writeln!(self.0, "   {name} = {value}");
    }

    fn section<T>(&mut self, title: &str, items: &[T], mut each: impl FnMut(&mut Self, &T)) {
        if !items.is_empty() {
            self.line(format_args!("------< {title} >------"));
            items.iter().for_each(|item| each(self, item));
        }
    }

    fn list(&mut self, title: &str, items: impl Iterator<Item = String>) {
        let mut items = items.peekable();
        if items.peek().is_some() {
            self.line(format_args!("   {title}"));
            items.for_each(|item| self.line(format_args!("     {item}")));
        }
    }
}

const fn yes(flag: bool) -> &'static str {
    if flag { "yes" } else { "no" }
}

const fn enabled(flag: bool) -> &'static str {
    if flag { "enabled" } else { "disabled" }
}

fn whole(span: Micros) -> u64 {
    span.duration().as_secs()
}

fn globals(out: &mut Lines, dump: &Dump) {
    let globals: &Globals = &dump.config.globals;
    let mut field = |name: &str, value: &dyn Display| out.line(format_args!(" {name} = {value}"));
    field("Network namespace", &globals.net_namespace.as_deref().unwrap_or("(default)"));
    field("Router ID", &globals.router_id.as_ref().unwrap_or(&dump.router_id));
    if let Some(mail) = &globals.mail {
        field("Smtp server", &mail.server);
        field("Smtp server port", &mail.port);
        if let Some(helo) = &mail.helo {
            field("Smtp HELO name", helo);
        }
        field("Smtp server connection timeout", &whole(mail.timeout));
        if let Some(from) = &mail.from {
            field("Email notification from", from);
        }
        out.line(" Email notification to:");
        mail.to.iter().for_each(|to| out.line(format_args!("   {to}")));
    }
    let mut field = |name: &str, value: &dyn Display| out.line(format_args!(" {name} = {value}"));
    field("Dynamic interfaces", &globals.dynamic_interfaces);
    field("FIFO write vrrp states on reload", &globals.fifo_write_states_on_reload);
    field("VRRP notify priority changes", &globals.notify_priority_changes);
    field("VRRP realtime priority", &globals.rt_priority.unwrap_or(0));
    out.line(format_args!(" Script security {}", enabled(globals.enable_script_security)));
    if let Ok(identity) = security::identity(None, globals) {
        out.line(format_args!(" Default script uid:gid {}:{}", identity.uid, identity.gid));
    }
}

fn instance(out: &mut Lines, dump: &Dump, wall: &Wall, status: &InstanceStatus) {
    let config = &*status.config;
    out.line(format_args!(" VRRP Instance = {}", status.name));
    out.field("VRRP Version", if config.version == Version::V2 { 2 } else { 3 });
    if let Some(group) = &status.group {
        out.field("Sync group", group);
    }
    if config.family == weir_model::vrrp::Family::V6 {
        out.line("   Using Native IPv6");
    }
    state(out, dump, wall, status);
    delivery(out, config);
    garp(out, config);
    election(out, status);
    assets(out, config, status.state == State::Master);
    tracked(out, config);
    out.field("Using smtp notification", yes(config.smtp_alert));
    out.field("Notify deleted", if config.notify.deleted.is_some() { "Deleted" } else { "Fault" });
    notify(out, dump, &config.notify);
    out.field("Notify priority changes", config.notify_priority_changes);
}

fn state(out: &mut Lines, dump: &Dump, wall: &Wall, status: &InstanceStatus) {
    let config = &*status.config;
    out.field("State", status.state.word());
    if let (State::Backup, Some(master)) = (status.state, &status.master) {
        out.field("Master router", master.address);
        out.field("Master priority", master.priority);
        if config.version == Version::V3 {
            let interval = Micros(status.master_interval).duration().as_secs_f64();
            out.field("Master advert int", format_args!("{interval:.2} sec"));
        }
    }
    let unicast = matches!(config.delivery, Delivery::Unicast(_));
    let flags = unicast || config.nopreempt || config.ignore_own_interface || config.skip_check_adv_addr;
    out.line(if flags { "   Flags:" } else { "   Flags: none" });
    if unicast {
        out.line("     Using unicast");
    }
    out.field("Wantstate", want(status).word());
    out.field("Number of config faults", 0);
    let faults = if status.state == State::Fault { status.reasons.len() } else { 0 };
    out.field("Number of interface and track script faults", faults);
    let fresh = |track: &&Track| dump.trackers.checks.iter().any(|c| c.script.name == track.name && c.fresh);
    out.field("Number of track scripts init", config.track_scripts.iter().filter(fresh).count());
    out.field("Last transition", wall.text(status.since));
    out.field("Read timeout", status.next.map_or_else(|| "DISABLED".into(), |next| wall.text(next)));
    out.field("Master down timer", format_args!("{} usecs", master_down(status)));
    if let Some(vmac) = &config.vmac {
        let (name, base) = (parts::vmac_name(config), vmac.xmit_base);
        out.line(format_args!("   Use VMAC, i/f name {name}, is_up = true, xmit_base = {base}"));
        if let Some(mac) = vmac.mac {
            out.line(format_args!("     MAC = {mac}"));
        }
    }
}

/// RFC 9568 section 6.1: the master's interval a few times, and the skew; RFC 3768 skews by parts of a second.
fn master_down(status: &InstanceStatus) -> u64 {
    let config = &*status.config;
    let unit = if config.version == Version::V2 { 1_000_000 } else { status.master_interval };
    let skew = (256 - u64::from(status.effective_priority)) * unit / 256;
    u64::from(config.down_timer_adverts) * status.master_interval + skew
}

fn delivery(out: &mut Lines, config: &Instance) {
    if config.vmac.is_some() {
        let name = parts::vmac_name(config);
        out.field("Interface", format_args!("{name}, vmac on {}", config.interface));
    } else {
        out.field("Interface", &config.interface);
    }
    if config.ignore_own_interface {
        out.line("   VRRP interface tracking disabled");
    }
    if config.skip_check_adv_addr {
        out.line("   Skip checking advert IP addresses");
    }
    if config.strict {
        out.line("   Enforcing strict VRRP compliance");
    }
    if let Some(source) = config.source {
        out.field("Using src_ip", format_args!("{source} (from configuration)"));
    }
    if let Delivery::Multicast(group) = &config.delivery {
        out.line(format_args!("   Multicast address {group}"));
    }
}

fn garp(out: &mut Lines, config: &Instance) {
    let garp = &config.garp;
    out.field("Gratuitous ARP delay", whole(garp.master_delay));
    out.field("Gratuitous ARP repeat", garp.master_repeat);
    out.field("Gratuitous ARP refresh", whole(garp.refresh));
    out.field("Gratuitous ARP refresh repeat", garp.refresh_repeat);
    out.field("Gratuitous ARP lower priority delay", whole(garp.lower_prio_delay));
    out.field("Gratuitous ARP lower priority repeat", garp.lower_prio_repeat);
    out.field("Down timer adverts", config.down_timer_adverts);
    out.field("Send advert after receive lower priority advert", !config.lower_prio_no_advert);
    out.field("Send advert after receive higher priority advert", config.higher_prio_send_advert);
}

fn election(out: &mut Lines, status: &InstanceStatus) {
    let config = &*status.config;
    out.field("Virtual Router ID", config.vrid);
    out.field("Priority", status.base_priority);
    out.field("Effective priority", status.effective_priority);
    out.field("Total priority", status.effective_priority);
    let interval = config.advert_interval.duration();
    match config.version {
        Version::V2 => out.field("Advert interval", format_args!("{} sec", interval.as_secs())),
        Version::V3 => out.field("Advert interval", format_args!("{} milli-sec", interval.as_millis())),
    }
    if status.state == State::Backup && config.version == Version::V3 {
        out.field("Master advert interval", format_args!("{} milli-sec", status.master_interval / 1000));
    }
    out.field("Accept", enabled(config.accept));
    out.field("Preempt", enabled(!config.nopreempt));
    if config.preempt_delay > Micros(0) {
        out.field("Preempt delay", format_args!("{} secs", config.preempt_delay.duration().as_secs_f64()));
    }
    out.field("Promote_secondaries", enabled(config.promote_secondaries));
    match &config.authentication {
        Authentication::Ah(_) => out.field("Authentication type", "IPSEC_AH"),
        Authentication::Pass(_) => {
            out.field("Authentication type", "SIMPLE_PASSWORD");
            out.field("Password", "********");
        }
        Authentication::None if config.version == Version::V2 => out.field("Authentication type", "none"),
        Authentication::None => {}
    }
}

fn assets(out: &mut Lines, config: &Instance, held: bool) {
    let address = |a| parts::address(a, config, held);
    let title = format!("Virtual IP ({}):", config.addresses.len());
    out.list(&title, config.addresses.iter().map(address));
    out.list("Virtual IP Excluded :", config.excluded.iter().map(address));
    if let Delivery::Unicast(unicast) = &config.delivery {
        out.field("Unicast TTL", unicast.ttl);
        out.line(format_args!("   Check unicast src : {}", yes(unicast.check_source)));
        let peers = unicast.peers.iter();
        out.line("   Unicast Peer :");
        peers.for_each(|p| {
            out.line(format_args!("     {} min_ttl {} max_ttl {}", p.address, p.min_ttl, p.max_ttl))
        });
        out.field("Unicast checksum compatibility", "no");
    }
    out.list("Virtual Routes :", config.routes.iter().map(parts::route));
    out.list("Virtual Rules :", config.rules.iter().map(parts::rule));
}

fn tracked(out: &mut Lines, config: &Instance) {
    out.list("Tracked interfaces :", config.track_interfaces.iter().map(|t| weighted(&t.name, "", t)));
    out.list("Tracked scripts :", config.track_scripts.iter().map(|t| weighted(&t.name, "", t)));
    out.list("Tracked files :", config.track_files.iter().map(|t| weighted(&t.name, ",", t)));
    out.list("Tracked processes :", config.track_processes.iter().map(|t| weighted(&t.name, ",", t)));
}

fn weighted(name: &str, comma: &str, track: &Track) -> String {
    format!("{name}{comma} weight {}{}", track.weight, if track.reverse { " reverse" } else { "" })
}

fn notify(out: &mut Lines, dump: &Dump, notify: &Notify) {
    let scripts = [
        ("Backup", &notify.backup),
        ("Master", &notify.master),
        ("Fault", &notify.fault),
        ("Stop", &notify.stop),
        ("Deleted", &notify.deleted),
        ("Generic", &notify.any),
        ("Master rx lower pri", &notify.master_rx_lower_pri),
    ];
    for (name, script) in scripts {
        let Some(script) = script else { continue };
        let (command, identity) = dump.command(script);
        let name = format!("{name} state transition script");
        out.field(&name, format_args!("{command}, uid:gid {}:{}", identity.uid, identity.gid));
    }
}

fn group(out: &mut Lines, dump: &Dump, group: &SyncGroup) {
    let instances = &dump.status.instances;
    let members: Vec<&InstanceStatus> =
        instances.iter().filter(|i| group.members.contains(&i.name)).collect();
    let count = |state| members.iter().filter(|i| i.state == state).count();
    let state = members.first().map_or(State::Init, |first| first.state);
    out.line(format_args!(" VRRP Sync Group = {}, {}", group.name, state.word()));
    let (fault, init) = (count(State::Fault), count(State::Init));
    out.line(format_args!("   Num member fault {fault}, num member init {init}"));
    out.list("VRRP member instances :", group.members.iter().cloned());
    if group.keep_weights {
        out.line("   sync group tracking weight set");
    }
    out.field("Using smtp notification", yes(group.smtp_alert));
    out.list("Tracked interfaces :", group.track_interfaces.iter().map(|t| weighted(&t.name, "", t)));
    out.list("Tracked scripts :", group.track_scripts.iter().map(|t| weighted(&t.name, "", t)));
    out.list("Tracked files :", group.track_files.iter().map(|t| weighted(&t.name, ",", t)));
    out.list("Tracked process :", group.track_processes.iter().map(|t| weighted(&t.name, ",", t)));
    notify(out, dump, &group.notify);
}

fn check(out: &mut Lines, dump: &Dump, view: &CheckView) {
    let script = &view.script;
    let (command, identity) = dump.command(&script.script);
    out.line(format_args!(" VRRP Script = {}", script.name));
    out.field("Command", command);
    out.field("Interval", format_args!("{} sec", whole(script.interval)));
    out.field("Timeout", format_args!("{} sec", whole(script.timeout)));
    out.field("Weight", weight(script.weight, script.reverse));
    out.field("Rise", script.rise);
    out.field("Fall", script.fall);
    out.field("Result", view.result);
    out.field("Insecure", yes(view.exposed));
    out.field("Init state", if view.fresh { "INIT" } else { "unknown" });
    out.field("Status", if view.result >= script.rise { "GOOD" } else { "BAD" });
    out.field("Script uid:gid", format_args!("{}:{}", identity.uid, identity.gid));
    out.line("   VRRP instances :");
    trackers(out, dump, &script.name, |i| &i.track_scripts);
    let phase = match view.phase {
        None => "idle",
        Some(Phase::Running) => "running",
        Some(Phase::Asked) => "requested termination",
        Some(Phase::Forced) => "forcing termination",
    };
    out.field("State", phase);
}

fn weight(weight: i32, reverse: bool) -> String {
    format!("{weight}{}", if reverse { " reverse" } else { "" })
}

fn trackers(out: &mut Lines, dump: &Dump, name: &str, tracks: impl Fn(&Instance) -> &[Track]) {
    let users = dump.config.instances.iter().flat_map(|i| {
        let uses = tracks(i).iter().filter(|track| track.name == name);
        uses.map(|track| weighted(&i.name, ",", track))
    });
    let users: Vec<String> = users.collect();
    out.list("Tracking instances :", users.into_iter());
}

fn file(out: &mut Lines, dump: &Dump, view: &FileView) {
    let file = &view.file;
    out.line(format_args!(" Track file = {}", file.name));
    out.field("File", &file.path);
    out.field("Status", view.value);
    out.field("Weight", weight(file.weight, file.reverse));
    trackers(out, dump, &file.name, |i| &i.track_files);
}

fn process(out: &mut Lines, dump: &Dump, view: &ProcessView) {
    let TrackProcess { name, process, parameters, quorum, quorum_max, .. } = &view.process;
    out.line(format_args!(" VRRP Track process = {name}"));
    out.field("Process", process);
    if !parameters.is_empty() {
        out.field("Parameters", parameters.join(" "));
    }
    match view.process.parameter_match {
        None if parameters.is_empty() => {}
        None | Some(ParameterMatch::Exact) => out.line("   Param match"),
        Some(ParameterMatch::Partial) => out.field("Param match", "partial"),
        Some(ParameterMatch::Initial) => out.field("Param match", "initial"),
    }
    out.field("Min processes", quorum);
    if let Some(max) = quorum_max {
        out.field("Max processes", max);
    }
    out.field("Current processes", view.count);
    out.field("Have quorum", view.quorum);
    out.field("Weight", weight(view.process.weight, view.process.reverse));
    let seconds = |span: Micros| format!("{:.6}s", span.duration().as_secs_f64());
    out.field("Terminate delay", seconds(view.process.terminate_delay));
    out.field("Fork delay", seconds(view.process.fork_delay));
    let running = |runs: bool| if runs { "running" } else { "not running" };
    out.line(format_args!("   Fork delay timer {}", running(view.fork_delay_runs)));
    out.line(format_args!("   Terminate delay timer {}", running(view.terminate_delay_runs)));
    out.field("Full command", view.by_command_line);
    trackers(out, dump, name, |i| &i.track_processes);
}
