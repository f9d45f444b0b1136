//! A scenario from start to record.

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::time::Duration;

use crate::app::App;
use crate::entry::{Entry, Subject, Texts};
use crate::error::{Error, Result};
use crate::events::perform;
use crate::host::{Host, until};
use crate::lab::{Block, Lab};
use crate::probe::{Outcome, Probe, Request};
use crate::record::{Mark, ProbeRecord, Record, Vip};
use crate::scenario::{HostPart, Play, ProbePart, Role, Scenario};
use crate::watch::{Interval, account};

/// Who plays what.
#[derive(Debug, Clone)]
pub struct Cast {
    /// The weir binary.
    pub weir: PathBuf,
    /// Plays the role `entry`, whatever the scenario says.
    pub subject: Option<Subject>,
}

impl Cast {
    /// The environment variable `LAB_SUBJECT` picks the subject.
    ///
    /// # Errors
    ///
    /// It names somebody else than `weir` and `keepalived+nginx`.
    pub fn from_environment(weir: PathBuf) -> Result<Cast> {
        let mut cast = Cast { weir, subject: None };
        if let Ok(name) = std::env::var("LAB_SUBJECT") {
            cast.subject = Some(cast.subject_named(&name)?);
        }
        Ok(cast)
    }

    pub fn subject_named(&self, name: &str) -> Result<Subject> {
        match name {
            "weir" => Ok(Subject::Weir(self.weir.clone())),
            Subject::RIVALS => Ok(Subject::Rivals),
            _ => Err(Error::wrong(format!("\"{name}\" can play no entry; weir and {} can", Subject::RIVALS))),
        }
    }

    fn of(&self, scenario: &Scenario) -> Result<Subject> {
        match (&self.subject, &scenario.subject) {
            (Some(subject), _) => Ok(subject.clone()),
            (None, Some(name)) => self.subject_named(name),
            (None, None) => self.subject_named("weir"),
        }
    }
}

/// What stands on the stage.
pub(crate) struct Stage {
    pub(crate) lab: Lab,
    pub(crate) hosts: BTreeMap<String, Host>,
    pub(crate) entries: BTreeMap<String, Vec<Entry>>,
    pub(crate) apps: BTreeMap<String, Vec<App>>,
    pub(crate) blocks: Vec<Block>,
}

/// What takes longer until a scenario's clock can start has failed.
const PATIENCE: Duration = Duration::from_secs(30);

/// Longer than the usual interval of advertisements: whoever has not let go by then has heard nobody.
const SETTLED: Duration = Duration::from_millis(1500);

/// Runs a scenario. An expectation that was missed is no error: it is in the record.
pub fn run(scenario: &Scenario, cast: &Cast) -> Result<Record> {
    scenario.check()?;
    let subject = cast.of(scenario)?;
    let mut stage = Stage::build(scenario, cast, &subject)?;
    let captures = match scenario.capture {
        true => scenario.segments.iter().map(|name| stage.lab.capture(name)).collect::<Result<Vec<_>>>()?,
        false => Vec::new(),
    };
    stage.wait_ready(scenario, Duration::ZERO)?;
    let mut probes = stage.probes(&scenario.probe)?;
    // On a busy machine an address may have moved while the probes began.
    stage.wait_ready(scenario, SETTLED)?;
    let start = stage.lab.now();
    let marks = stage.play(scenario, start)?;
    wait_until(&stage.lab, start + scenario.duration.0);
    let end = start + scenario.duration.0;
    let vips = scenario.vips.iter().map(|vip| {
        let all = stage.lab.watch(*vip).intervals();
        Vip { address: *vip, intervals: shifted(&all, start, end), account: account(&all, start, end) }
    });
    let vips = vips.collect();
    let probes =
        scenario.probe.iter().zip(&mut probes).map(|(part, probe)| probe_record(part, probe, start, end));
    let probes = probes.collect();
    let mut packets = Vec::new();
    for mut capture in captures {
        packets.extend(capture.stop().into_iter().filter(|p| p.at >= start && p.at < end));
    }
    packets.iter_mut().for_each(|packet| packet.at -= start);
    packets.sort_by_key(|packet| packet.at);
    let mut record = Record {
        name: scenario.name.clone(),
        subject: subject.name().to_owned(),
        duration: scenario.duration.0,
        hosts: scenario.host.keys().cloned().collect(),
        events: marks,
        vips,
        probes,
        packets,
        missed: Vec::new(),
    };
    record.judge(&scenario.expect);
    Ok(record)
}

impl Stage {
    fn build(scenario: &Scenario, cast: &Cast, subject: &Subject) -> Result<Stage> {
        let lab = Lab::new()?;
        for segment in &scenario.segments {
            lab.segment(segment)?;
        }
        let (hosts, entries, apps) = (BTreeMap::new(), BTreeMap::new(), BTreeMap::new());
        let mut stage = Stage { lab, hosts, entries, apps, blocks: Vec::new() };
        for (name, part) in &scenario.host {
            let host = make_host(&stage.lab, name, part, scenario)?;
            stage.hosts.insert(name.clone(), host);
        }
        for (name, part) in &scenario.host {
            for role in &part.role {
                stage.begin(name, role, cast, subject)?;
            }
        }
        Ok(stage)
    }

    fn begin(&mut self, name: &str, role: &Role, cast: &Cast, subject: &Subject) -> Result<()> {
        let Some(host) = self.hosts.get(name) else { return Ok(()) };
        let subject = match role.program {
            Play::App => {
                let app = host.app(role.name.as_deref().unwrap_or(name), role.port.unwrap_or(8080))?;
                self.apps.entry(name.to_owned()).or_default().push(app);
                return Ok(());
            }
            Play::Entry => subject.clone(),
            Play::Weir => Subject::Weir(cast.weir.clone()),
            Play::Rivals => Subject::Rivals,
        };
        let texts = Texts { nginx: role.nginx.clone(), keepalived: role.keepalived.clone() };
        self.entries.entry(name.to_owned()).or_default().push(Entry::start(host, &subject, texts)?);
        Ok(())
    }

    /// Starts the probes, and waits until each was answered once.
    fn probes(&self, parts: &[ProbePart]) -> Result<Vec<Probe>> {
        let mut probes = Vec::new();
        for part in parts {
            let host = self.hosts.get(&part.from).ok_or_else(|| Error::wrong("a probe from nowhere"))?;
            let probe = host.probe(part.plan()?)?;
            let answered = || {
                let answered = probe.tally(Duration::ZERO, self.lab.now()).answered > 0;
                Ok(answered.then_some(()))
            };
            if until(PATIENCE, answered)?.is_none() {
                let (to, logs) = (&part.to, self.logs());
                let tally = probe.tally(Duration::ZERO, self.lab.now());
                return Err(Error::wrong(format!("{to} never answered: {tally:?}\n{logs}")));
            }
            probes.push(probe);
        }
        Ok(probes)
    }

    fn wait_ready(&self, scenario: &Scenario, quiet: Duration) -> Result<()> {
        for (vip, host) in &scenario.ready {
            let held = self.lab.watch(*vip).wait_settled(&[host], quiet, PATIENCE);
            held.map_err(|error| Error::wrong(format!("{error}\n{}", self.logs())))?;
        }
        Ok(())
    }

    fn play(&mut self, scenario: &Scenario, start: Duration) -> Result<Vec<Mark>> {
        let mut events: Vec<_> = scenario.event.iter().collect();
        events.sort_by_key(|event| event.at);
        let mut marks = Vec::new();
        for event in events {
            wait_until(&self.lab, start + event.at.0);
            let at = self.lab.now().saturating_sub(start);
            let text = perform(self, event)?;
            marks.push(Mark { at, text });
        }
        Ok(marks)
    }

    fn logs(&self) -> String {
        let entries = self.entries.values().flatten();
        entries.map(|entry| format!("=== {}\n{}", entry.host().name(), entry.logs())).collect()
    }
}

fn make_host(lab: &Lab, name: &str, part: &HostPart, scenario: &Scenario) -> Result<Host> {
    let mut plan = lab.host(name);
    if part.cable.is_empty() || !part.address.is_empty() {
        plan = plan.cable(scenario.segments.first().map_or("lan", String::as_str));
    }
    for address in &part.address {
        plan = plan.address(address);
    }
    for cable in &part.cable {
        plan = plan.cable(&cable.segment);
        if let Some(interface) = &cable.interface {
            plan = plan.interface(interface);
        }
        if let Some(mac) = &cable.mac {
            plan = plan.mac(mac);
        }
        for address in &cable.address {
            plan = plan.address(address);
        }
    }
    let host = plan.start()?;
    for file in &part.file {
        let text = file.text.as_deref().unwrap_or_default();
        match &file.mode {
            None => host.write(&file.path, text)?,
            Some(mode) => {
                let wrong =
                    |_| Error::wrong(format!("\"{mode}\" is no mode; expected octal digits, as in 755"));
                host.write_mode(&file.path, text, u32::from_str_radix(mode, 8).map_err(wrong)?)?;
            }
        }
    }
    Ok(host)
}

/// The rhythm of a scenario: events happen at their time, not when something else has happened.
fn wait_until(lab: &Lab, at: Duration) {
    std::thread::sleep(at.saturating_sub(lab.now()));
}

fn shifted(intervals: &[Interval], start: Duration, end: Duration) -> Vec<Interval> {
    let inside = intervals.iter().filter(|i| i.from < end && i.to.is_none_or(|to| to > start));
    let shift = |i: &Interval| Interval {
        host: i.host.clone(),
        from: i.from.saturating_sub(start),
        to: i.to.filter(|to| *to < end).map(|to| to - start),
    };
    inside.map(shift).collect()
}

fn probe_record(part: &ProbePart, probe: &mut Probe, start: Duration, end: Duration) -> ProbeRecord {
    let requests = probe.stop();
    let tally = probe.tally(start, end);
    let shift = |r: &Request| Request { sent: r.sent - start, done: r.done - start, ..r.clone() };
    let inside = requests.iter().filter(|r| r.sent >= start && r.sent < end && r.outcome != Outcome::Unsent);
    ProbeRecord { from: part.from.clone(), to: part.to.clone(), tally, requests: inside.map(shift).collect() }
}
