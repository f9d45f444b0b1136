//! Where the figures come from: kernel, processor, versions, the two cores in use, and how much else
//! ran on the machine meanwhile.

use std::fs;
use std::path::Path;
use std::process::Command;
use std::time::Instant;

use anyhow::{Result, ensure};
use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};
use rustix::thread::{CpuSet, sched_getaffinity, sched_setaffinity};
use serde::Serialize;

use crate::measure;
use crate::proxy::Kind;

/// Facts printed above the table.
#[derive(Debug, Serialize)]
pub(crate) struct Facts {
    pub(crate) kernel: String,
    pub(crate) processor: String,
    pub(crate) cores: usize,
    pub(crate) proxy_core: usize,
    pub(crate) load_core: usize,
    pub(crate) versions: Vec<String>,
}

impl Facts {
    pub(crate) fn read(cores: Cores, proxies: &[Kind], weir: &Path) -> Self {
        let version = |kind: Kind| match kind {
            Kind::Nginx => first_line("nginx", "-v"),
            Kind::Haproxy => first_line("haproxy", "-v"),
            Kind::Weir => format!("{} ({})", first_line(&weir.to_string_lossy(), "-v"), weir.display()),
        };
        Self {
            kernel: fs::read_to_string("/proc/sys/kernel/osrelease").unwrap_or_default().trim().to_owned(),
            processor: processor(),
            cores: cores.available,
            proxy_core: cores.proxy,
            load_core: cores.load,
            versions: proxies.iter().map(|kind| version(*kind)).chain([first_line("wrk", "-v")]).collect(),
        }
    }
}

fn processor() -> String {
    let text = fs::read_to_string("/proc/cpuinfo").unwrap_or_default();
    let name = text
        .lines()
        .find(|line| line.starts_with("model name"))
        .and_then(|line| line.split_once(':'))
        .map_or("unknown", |(_, name)| name);
    name.trim().to_owned()
}

fn first_line(program: &str, flag: &str) -> String {
    let Ok(output) = Command::new(program).arg(flag).output() else {
        return format!("{program}: unknown version");
    };
    let text = [output.stdout, output.stderr].concat();
    let text = String::from_utf8_lossy(&text);
    text.lines().next().unwrap_or(program).trim().to_owned()
}

/// The core of the proxy and the core of load and backend.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Cores {
    pub(crate) proxy: usize,
    pub(crate) load: usize,
    pub(crate) available: usize,
}

impl Cores {
    /// The last and the first core this process may use: interrupts and chores favour the first.
    pub(crate) fn choose() -> Result<Self> {
        let allowed = sched_getaffinity(None)?;
        let cores: Vec<usize> = (0..CpuSet::MAX_CPU).filter(|core| allowed.is_set(*core)).collect();
        ensure!(
            cores.len() >= 2,
            "this process may use {} core, expected 2: one for the proxy, one for load and backend",
            cores.len()
        );
        Ok(Self { proxy: cores[cores.len() - 1], load: cores[0], available: cores.len() })
    }

    /// Puts this thread, and all that it starts from now on, on the core for load.
    pub(crate) fn enter_load_core(self) -> Result<()> {
        let mut set = CpuSet::new();
        set.set(self.load);
        Ok(sched_setaffinity(None, &set)?)
    }
}

/// Raises the limit of open files to `wanted`, as far as the system lets; returns what holds now.
pub(crate) fn raise_open_files(wanted: u64) -> u64 {
    let now = getrlimit(Resource::Nofile);
    let current = now.current.unwrap_or(u64::MAX);
    let maximum = now.maximum.unwrap_or(u64::MAX);
    if current >= wanted {
        return current;
    }
    for maximum in [maximum.max(wanted), maximum] {
        let limit = Rlimit { current: Some(wanted.min(maximum)), maximum: Some(maximum) };
        if setrlimit(Resource::Nofile, limit).is_ok() {
            return wanted.min(maximum);
        }
    }
    current
}

/// Watches how much of the machine others used.
pub(crate) struct Bystanders {
    started: Instant,
    busy: u64,
    own: u64,
}

impl Bystanders {
    pub(crate) fn start() -> Result<Self> {
        Ok(Self { started: Instant::now(), busy: measure::machine_busy()?, own: measure::own_ticks()? })
    }

    /// Share of one core that others used, in percent. Meaningful after all children have ended.
    pub(crate) fn percent_of_core(&self) -> Result<f64> {
        let busy = measure::machine_busy()?.saturating_sub(self.busy);
        let own = measure::own_ticks()?.saturating_sub(self.own);
        // A tick is a hundredth of a second, so ticks per second are percent.
        Ok(busy.saturating_sub(own) as f64 / self.started.elapsed().as_secs_f64())
    }
}
