//! The entry of a service on one host: a proxy and a virtual router, played by Weir or by nginx with keepalived.

use std::path::PathBuf;
use std::process::Command;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use crate::error::{Error, Result};
use crate::host::Host;
use crate::process::{Process, Program, Signal};

pub(crate) const NGINX_CONF: &str = "/etc/nginx/nginx.conf";
pub(crate) const KEEPALIVED_CONF: &str = "/etc/keepalived/keepalived.conf";

/// Who plays an entry.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Subject {
    /// A weir binary, which does both jobs.
    Weir(PathBuf),
    /// `keepalived` and `nginx` of the machine.
    Rivals,
}

impl Subject {
    pub const RIVALS: &'static str = "keepalived+nginx";

    pub fn name(&self) -> &'static str {
        match self {
            Subject::Weir(_) => "weir",
            Subject::Rivals => Subject::RIVALS,
        }
    }
}

/// The configuration of an entry; what is `None` is not run.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Texts {
    pub nginx: Option<String>,
    pub keepalived: Option<String>,
}

/// Which processes of an entry.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Part {
    /// Everything that runs in the host.
    All,
    /// Weir's keeper; the parent process of keepalived, and nginx's master.
    Parents,
    /// The process that speaks VRRP: Weir's keeper; the child of keepalived.
    Vrrp,
    /// The processes that serve requests.
    Worker,
}

/// A running entry.
pub struct Entry {
    host: Host,
    subject: Subject,
    programs: Mutex<Vec<Program>>,
    texts: Texts,
}

const PATIENCE: Duration = Duration::from_secs(10);

impl Entry {
    /// Writes the files and starts the programs.
    pub fn start(host: &Host, subject: &Subject, texts: Texts) -> Result<Entry> {
        let entry = Entry { host: host.clone(), subject: subject.clone(), programs: Mutex::default(), texts };
        entry.launch()?;
        Ok(entry)
    }

    pub fn host(&self) -> &Host {
        &self.host
    }

    pub fn subject(&self) -> &Subject {
        &self.subject
    }

    /// Starts all programs, with the files it was made with. What still runs is killed first.
    pub fn launch(&self) -> Result<()> {
        self.kill()?;
        for (path, text) in [(NGINX_CONF, &self.texts.nginx), (KEEPALIVED_CONF, &self.texts.keepalived)] {
            if let Some(text) = text {
                self.host.write_mode(path, text, 0o644)?;
            }
        }
        let programs = match &self.subject {
            Subject::Weir(binary) => vec![self.weir(binary)?],
            Subject::Rivals => self.rivals()?,
        };
        *self.programs() = programs;
        Ok(())
    }

    fn weir(&self, binary: &PathBuf) -> Result<Program> {
        let mut command = Command::new(binary);
        command.arg("run");
        command.args(self.texts.nginx.as_ref().map(|_| NGINX_CONF));
        command.args(self.texts.keepalived.as_ref().map(|_| KEEPALIVED_CONF));
        self.host.spawn("weir", &command)
    }

    fn rivals(&self) -> Result<Vec<Program>> {
        let mut programs = Vec::new();
        if let Some(text) = &self.texts.nginx {
            let mut nginx = Command::new("nginx");
            nginx.args(["-c", NGINX_CONF]);
            if !text.contains("daemon off") {
                nginx.args(["-g", "daemon off;"]);
            }
            programs.push(self.host.spawn("nginx", &nginx)?);
        }
        if self.texts.keepalived.is_some() {
            let mut keepalived = Command::new("keepalived");
            keepalived.args(["-n", "-l", "-D", "-P", "-f", KEEPALIVED_CONF]);
            keepalived.args(["-p", "/run/keepalived.pid", "-r", "/run/vrrp.pid"]);
            programs.push(self.host.spawn("keepalived", &keepalived)?);
        }
        Ok(programs)
    }

    fn programs(&self) -> MutexGuard<'_, Vec<Program>> {
        self.programs.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The processes of a part, as they are now.
    pub fn processes(&self, part: Part) -> Vec<Process> {
        let all = self.host.processes();
        let roots: Vec<u32> = self.programs().iter().map(Program::pid).collect();
        let is_worker =
            |p: &Process| p.name.starts_with("weir: worker") || p.name.starts_with("nginx: worker");
        let weir = matches!(self.subject, Subject::Weir(_));
        all.into_iter()
            .filter(|p| match part {
                Part::All => true,
                Part::Parents => roots.contains(&p.pid),
                Part::Vrrp if weir => roots.contains(&p.pid),
                Part::Vrrp => roots.contains(&p.parent) && p.name.starts_with("keepalived"),
                Part::Worker => is_worker(p),
            })
            .collect()
    }

    /// Sends a signal to a part. It is an error if nothing of it runs.
    pub fn signal(&self, part: Part, signal: Signal) -> Result<()> {
        let processes = self.processes(part);
        if processes.is_empty() {
            let (host, who) = (self.host.name(), self.subject.name());
            return Err(Error::wrong(format!(
                "nothing to signal: {who} on {host} has no process of the kind {part:?}"
            )));
        }
        processes.iter().try_for_each(|process| process.signal(signal))
    }

    /// Kills every process of the entry, and waits for their end.
    pub fn kill(&self) -> Result<()> {
        let programs = std::mem::take(&mut *self.programs());
        for program in &programs {
            program.signal(Signal::KILL)?;
        }
        programs.iter().try_for_each(|program| program.wait(PATIENCE).map(drop))?;
        let orphans: Vec<Process> = self.host.processes().into_iter().filter(is_ours).collect();
        orphans.iter().try_for_each(|process| process.signal(Signal::KILL))?;
        orphans.iter().try_for_each(|process| process.wait_end(PATIENCE))
    }

    /// Ends it in order, as a service manager would.
    pub fn stop(&self) -> Result<()> {
        let programs = self.programs().clone();
        programs.iter().try_for_each(|program| program.signal(Signal::TERM))
    }

    /// Writes new files where given, and asks for a reload (SIGHUP) of the programs that read them.
    pub fn reload(&self, texts: &Texts) -> Result<()> {
        for (path, text) in [(NGINX_CONF, &texts.nginx), (KEEPALIVED_CONF, &texts.keepalived)] {
            if let Some(text) = text {
                self.host.write_mode(path, text, 0o644)?;
            }
        }
        let both = texts.nginx.is_none() == texts.keepalived.is_none();
        for program in self.programs().iter() {
            let is_nginx = program.log().ends_with("/nginx.log");
            let is_keepalived = program.log().ends_with("/keepalived.log");
            let named = (is_nginx && texts.nginx.is_some()) || (is_keepalived && texts.keepalived.is_some());
            if both || named || !(is_nginx || is_keepalived) {
                program.signal(Signal::HUP)?;
            }
        }
        Ok(())
    }

    /// What the programs wrote, for a failed test or a curious reader.
    pub fn logs(&self) -> String {
        let programs = self.programs().clone();
        programs
            .iter()
            .map(|p| format!("--- {}\n{}", p.log(), self.host.read(p.log()).unwrap_or_default()))
            .collect()
    }
}

/// What entries run, found by name because its parents may be gone.
fn is_ours(process: &Process) -> bool {
    ["weir:", "nginx:", "keepalived"].iter().any(|start| process.name.starts_with(start))
}
