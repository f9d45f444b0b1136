//! `keepalived.json`: version 1 is a list of instances as 2.2.7 writes it, version 2 (since 2.2.8) an object with the
//! tracked processes as well.

use std::fmt::Write;

use weir_model::Micros;
use weir_model::vrrp::{Authentication, Instance, ParameterMatch, TrackProcess, Version};
use weir_vrrp::{InstanceStatus, State, Stats};

use super::{Dump, Wall, parts, want};
use crate::attendant::processes::ProcessView;

/// The whole file, with keepalived's order of fields and form of numbers.
pub(super) fn text(dump: &Dump, wall: &Wall) -> String {
    let instances = dump.status.instances.iter().map(|instance| {
        let mut object = Object::new();
        object.raw("data", data(dump, wall, instance).end());
        object.raw("stats", stats(&instance.stats).end());
        object.end()
    });
    let instances = list(instances);
    if dump.config.globals.json_version < 2 {
        return instances + "\n";
    }
    let mut object = Object::new();
    object.raw("vrrp", instances);
    if !dump.trackers.processes.is_empty() {
        object.raw("track_process", list(dump.trackers.processes.iter().map(|p| process(p).end())));
    }
    object.end() + "\n"
}

fn data(dump: &Dump, wall: &Wall, status: &InstanceStatus) -> Object {
    let config = &*status.config;
    let mut object = Object::new();
    identity(&mut object, status);
    let stamp = wall.stamp(status.since);
    object.raw("last_transition", format!("{}.{:06}", stamp.as_secs(), stamp.subsec_micros()));
    timing(&mut object, config);
    election(&mut object, status);
    scripts(&mut object, dump, config);
    assets(&mut object, config, status.state == State::Master);
    trackers(&mut object, dump, config);
    let auth = match config.authentication {
        Authentication::None => 0,
        Authentication::Pass(_) => 1,
        Authentication::Ah(_) => 2,
    };
    object.raw("auth_type", auth);
    if auth > 0 {
        // As keepalived has it since 2.3: the file is for monitoring, which needs no password.
        object.string("auth_data", "********");
    }
    object
}

fn identity(object: &mut Object, status: &InstanceStatus) {
    let config = &*status.config;
    object.string("iname", &status.name);
    object.raw("dont_track_primary", u8::from(config.ignore_own_interface));
    object.raw("skip_check_adv_addr", u8::from(config.skip_check_adv_addr));
    object.raw("strict_mode", u8::from(config.strict));
    let vmac = parts::vmac_name(config);
    object.string("vmac_ifname", &vmac);
    object.string("ifp_ifname", if vmac.is_empty() { &config.interface } else { &vmac });
    object.raw("master_priority", status.master.as_ref().map_or(0, |master| master.priority));
}

fn timing(object: &mut Object, config: &Instance) {
    let garp = &config.garp;
    object.raw("garp_delay", seconds(garp.master_delay));
    object.raw("garp_refresh", whole(garp.refresh));
    object.raw("garp_rep", garp.master_repeat);
    object.raw("garp_refresh_rep", garp.refresh_repeat);
    object.raw("garp_lower_prio_delay", whole(garp.lower_prio_delay));
    object.raw("garp_lower_prio_rep", garp.lower_prio_repeat);
    object.raw("lower_prio_no_advert", u8::from(config.lower_prio_no_advert));
    object.raw("higher_prio_send_advert", u8::from(config.higher_prio_send_advert));
}

fn election(object: &mut Object, status: &InstanceStatus) {
    let config = &*status.config;
    object.raw("vrid", config.vrid);
    object.raw("base_priority", status.base_priority);
    object.raw("effective_priority", status.effective_priority);
    object.raw("vipset", status.state == State::Master);
    object.raw("promote_secondaries", config.promote_secondaries);
    object.raw("adver_int", seconds(config.advert_interval));
    object.raw("master_adver_int", seconds(Micros(status.master_interval)));
    object.raw("accept", u8::from(config.accept));
    object.raw("nopreempt", config.nopreempt);
    object.raw("preempt_delay", whole(config.preempt_delay));
    object.raw("state", status.state.number());
    object.raw("wantstate", want(status).number());
    object.raw("version", if config.version == Version::V2 { 2 } else { 3 });
    object.raw("smtp_alert", config.smtp_alert);
    object.raw("notify_deleted", config.notify.deleted.is_some());
}

fn scripts(object: &mut Object, dump: &Dump, config: &Instance) {
    let notify = &config.notify;
    let scripts = [
        ("script_backup", &notify.backup),
        ("script_master", &notify.master),
        ("script_fault", &notify.fault),
        ("script_stop", &notify.stop),
        ("script_deleted", &notify.deleted),
        ("script", &notify.any),
        ("script_master_rx_lower_pri", &notify.master_rx_lower_pri),
    ];
    for (name, script) in scripts {
        if let Some(script) = script {
            object.string(name, &dump.command(script).0);
        }
    }
}

fn assets(object: &mut Object, config: &Instance, held: bool) {
    let address = |a| parts::address(a, config, held);
    object.strings("vips", config.addresses.iter().map(address));
    object.strings("evips", config.excluded.iter().map(address));
    object.strings("vroutes", config.routes.iter().map(parts::route));
    object.strings("vrules", config.rules.iter().map(parts::rule));
}

fn trackers(object: &mut Object, dump: &Dump, config: &Instance) {
    object.strings("track_ifp", config.track_interfaces.iter().map(|track| track.name.clone()));
    let scripts = &dump.config.scripts;
    let scripts =
        config.track_scripts.iter().filter_map(|track| scripts.iter().find(|s| s.name == track.name));
    object.strings("track_script", scripts.map(|script| dump.command(&script.script).0));
    if dump.config.globals.json_version >= 2 {
        object.strings("track_process", config.track_processes.iter().map(|track| track.name.clone()));
    }
}

fn stats(stats: &Stats) -> Object {
    let mut object = Object::new();
    let fields = [
        ("advert_rcvd", stats.advert_rcvd),
        ("advert_sent", stats.advert_sent),
        ("become_master", stats.become_master),
        ("release_master", stats.release_master),
        ("packet_len_err", stats.packet_len_err),
        ("advert_interval_err", stats.advert_interval_err),
        ("ip_ttl_err", stats.ip_ttl_err),
        ("invalid_type_rcvd", stats.invalid_type_rcvd),
        ("addr_list_err", stats.addr_list_err),
        ("invalid_authtype", stats.invalid_authtype),
        ("authtype_mismatch", stats.authtype_mismatch),
        ("auth_failure", stats.auth_failure),
        ("pri_zero_rcvd", stats.pri_zero_rcvd),
        ("pri_zero_sent", stats.pri_zero_sent),
    ];
    fields.into_iter().for_each(|(name, value)| object.raw(name, value));
    object
}

fn process(view: &ProcessView) -> Object {
    let TrackProcess { name, parameters, quorum, quorum_max, weight, reverse, .. } = &view.process;
    let mut object = Object::new();
    object.string("process", name);
    if !parameters.is_empty() {
        object.string("parameters", &parameters.join(" "));
    }
    let how = match view.process.parameter_match {
        None if parameters.is_empty() => "none",
        None | Some(ParameterMatch::Exact) => "exact",
        Some(ParameterMatch::Partial) => "partial",
        Some(ParameterMatch::Initial) => "initial",
    };
    object.string("param_match", how);
    object.raw("min_processes", quorum);
    if let Some(max) = quorum_max {
        object.raw("max_processes", max);
    }
    object.raw("current_processes", view.count);
    object.raw("have_quorum", view.quorum);
    object.raw("weight", if *reverse { -weight } else { *weight });
    object.raw("terminate_delay", seconds(view.process.terminate_delay));
    object.raw("fork_delay", seconds(view.process.fork_delay));
    object.raw("fork_delay_timer_running", view.fork_delay_runs);
    object.raw("terminate_delay_timer_running", view.terminate_delay_runs);
    object.raw("full_command", view.by_command_line);
    object
}

/// Seconds with as many decimals as needed.
fn seconds(span: Micros) -> f64 {
    span.duration().as_secs_f64()
}

fn whole(span: Micros) -> u64 {
    span.duration().as_secs()
}

fn list(items: impl Iterator<Item = String>) -> String {
    format!("[{}]", items.collect::<Vec<_>>().join(","))
}

/// An object that keeps the order of its fields.
struct Object(String);

impl Object {
    fn new() -> Self {
        Self("{".into())
    }

    fn raw(&mut self, name: &str, value: impl std::fmt::Display) {
        let comma = if self.0.len() > 1 { "," } else { "" };
        _ = write!(self.0, "{comma}\"{name}\":{value}");
    }

    fn string(&mut self, name: &str, value: &str) {
        self.raw(name, quoted(value));
    }

    /// Left out if it is empty, as keepalived does.
    fn strings(&mut self, name: &str, values: impl Iterator<Item = String>) {
        let mut values = values.map(|value| quoted(&value)).peekable();
        if values.peek().is_some() {
            self.raw(name, list(values));
        }
    }

    fn end(self) -> String {
        self.0 + "}"
    }
}

/// With every slash escaped, which JSON allows and keepalived does.
fn quoted(value: &str) -> String {
    serde_json::Value::from(value).to_string().replace('/', "\\/")
}
