//! What a release does at servers: the driver's commands, hooks, probes and warming.

mod address;
mod docker;
mod external;
mod http;
mod probe;
mod process;
mod shell;
mod systemd;

use std::collections::BTreeSet;
use std::ffi::OsString;
use std::sync::Arc;
use std::time::Duration;

use futures_util::{StreamExt as _, stream};
use weir_rollout::{Check, Driver, Hooks, Plan, Stage, environment};

use address::Address;
use docker::Container;
use external::External;
use shell::{Script, Shell};
use systemd::Unit;

/// What commands print: the server (empty: of the whole release), and a line without its end.
pub type Output = Arc<dyn Fn(&str, &str) + Send + Sync>;

/// So many servers are looked at together before a release.
const LOOKS: usize = 8;

/// So long a look by ssh may take.
const LOOK: Duration = Duration::from_secs(15);

/// What a plan does at servers. A copy is the same machine.
#[derive(Clone)]
pub struct Machine {
    core: Arc<Core>,
}

struct Core {
    plan: Plan,
    output: Output,
    /// Where programs are looked for; absent: as this process does.
    path: Option<OsString>,
    external: External,
}

/// The three things that a driver does.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Act {
    Stop,
    Start,
    Rollback,
}

impl Act {
    /// As [`environment`] names it.
    const fn name(self) -> &'static str {
        match self {
            Self::Stop => "stop",
            Self::Start => "start",
            Self::Rollback => "rollback",
        }
    }
}

impl Machine {
    /// Nothing is done yet.
    #[must_use]
    pub fn new(plan: &Plan, output: Output) -> Self {
        let core = Core { plan: plan.clone(), output, path: None, external: External::default() };
        Self { core: Arc::new(core) }
    }

    /// Programs are looked for in these folders (`/usr/bin:/bin`), and commands find them in their `PATH`.
    #[must_use]
    pub fn with_path(self, path: impl Into<OsString>) -> Self {
        let Core { plan, output, .. } = &*self.core;
        let core = Core {
            plan: plan.clone(),
            output: Arc::clone(output),
            path: Some(path.into()),
            external: External::default(),
        };
        Self { core: Arc::new(core) }
    }

    /// Looks before anything begins for what would fail anyway: programs, hosts, units, engines, containers and images that are not
    /// there. Nothing is changed.
    ///
    /// # Errors
    /// All that was found, one a line.
    pub async fn prepare(&self, servers: &[String]) -> Result<(), String> {
        let core = &*self.core;
        let mut problems = BTreeSet::new();
        let timeout = core.plan.hooks.timeout;
        if core.plan.hooks != (Hooks { timeout, ..Hooks::default() }) {
            problems.extend(Shell::of(core).program(None).err());
        }
        if let Some(url) = &core.plan.gate.through_proxy {
            problems.extend(http::Target::parse(url).err());
        }
        let looks = stream::iter(servers).map(|server| core.look(server));
        let found: Vec<Result<(), String>> = looks.buffer_unordered(LOOKS).collect().await;
        problems.extend(found.into_iter().filter_map(Result::err));
        all(problems)
    }

    /// Stops the old version. Done twice it ends the same, as far as the plan's own commands do.
    ///
    /// # Errors
    /// What the command, the unit or the engine said.
    pub async fn stop(&self, server: &str, batch: Option<usize>) -> Result<(), String> {
        self.core.act(Act::Stop, server, batch).await?;
        self.core.look_after(server).await;
        Ok(())
    }

    /// Starts the new version, as above. With the external driver it waits until somebody replaced the server.
    ///
    /// # Errors
    /// As above.
    pub async fn start(&self, server: &str, batch: Option<usize>) -> Result<(), String> {
        self.core.act(Act::Start, server, batch).await
    }

    /// Brings the old version back and starts it, as above.
    ///
    /// # Errors
    /// As above; the external driver cannot.
    pub async fn rollback(&self, server: &str, batch: Option<usize>) -> Result<(), String> {
        self.core.act(Act::Rollback, server, batch).await
    }

    /// Runs the plan's hook of a stage on this machine; one that the plan does not have is done at once.
    ///
    /// # Errors
    /// How it ended, and the last lines that it printed.
    pub async fn hook(
        &self,
        stage: Stage,
        server: Option<&str>,
        batch: Option<usize>,
        result: Option<&str>,
    ) -> Result<(), String> {
        let plan = &self.core.plan;
        let Some(text) = plan.hooks.command(stage) else { return Ok(()) };
        let script = Script {
            what: "the command",
            text,
            host: None,
            environment: &environment(plan, stage.name(), server, batch, result),
            timeout: plan.hooks.timeout.duration(),
            server: server.unwrap_or_default(),
        };
        Shell::of(&self.core).run(&script).await?.well()
    }

    /// One probe of the plan's gate. `through`: this URL is asked instead, and only the status of its answer counts. `rollback`: the
    /// old version is expected.
    ///
    /// # Errors
    /// What was seen and what was expected.
    pub async fn probe(&self, server: &str, through: Option<&str>, rollback: bool) -> Result<(), String> {
        match through {
            Some(url) => probe::through(&self.core.plan.gate, url).await,
            None => probe::probe(&self.core.plan, Address::new(server)?, rollback).await,
        }
    }

    /// Sends the plan's requests that warm the server up; answers do not count.
    ///
    /// # Errors
    /// When not even a connection was possible.
    pub async fn warm(&self, server: &str) -> Result<(), String> {
        let plan = &self.core.plan;
        match &plan.warm {
            Some(warm) => probe::warm(plan, warm, Address::new(server)?).await,
            None => Ok(()),
        }
    }

    /// For the external driver: an operator says that the server was replaced. Absent: all that are out.
    pub fn replaced(&self, server: Option<&str>) {
        self.core.external.replaced(server);
    }

    /// After a success: what was kept for a rollback goes.
    ///
    /// # Errors
    /// What could not be removed, one a line.
    pub async fn clean(&self, servers: &[String]) -> Result<(), String> {
        let core = &*self.core;
        let Driver::Docker(plan) = &core.plan.driver else { return Ok(()) };
        let mut problems = BTreeSet::new();
        for server in servers {
            let cleaned = async { Container::new(plan, Address::new(server)?, &core.output)?.clean().await };
            problems.extend(cleaned.await.err());
        }
        all(problems)
    }
}

impl Core {
    async fn act(&self, act: Act, server: &str, batch: Option<usize>) -> Result<(), String> {
        let address = Address::new(server)?;
        let environment = environment(&self.plan, act.name(), Some(server), batch, None);
        match &self.plan.driver {
            Driver::Shell(plan) => {
                let command = match act {
                    Act::Stop => &plan.stop,
                    Act::Start => &plan.start,
                    Act::Rollback => &plan.rollback,
                };
                let Some(command) = command else { return nothing_to_run(act) };
                let host = plan.ssh.as_deref().map(|host| address.fill(host));
                let script = Script {
                    what: "the command",
                    text: &address.fill(command),
                    host: host.as_deref(),
                    environment: &environment,
                    timeout: plan.timeout.duration(),
                    server,
                };
                Shell::of(self).run(&script).await?.well()
            }
            Driver::Systemd(plan) => Unit::new(Shell::of(self), plan, address, &environment).act(act).await,
            Driver::Docker(plan) => Container::new(plan, address, &self.output)?.act(act).await,
            Driver::External(plan) => match act {
                Act::Stop => {
                    self.external.stop(server);
                    Ok(())
                }
                Act::Start => {
                    let line = "waits until somebody replaces it; when that is done: weir rollout continue";
                    (self.output)(server, &format!("{line} {}", self.plan.upstream));
                    let gate = &self.plan.gate;
                    let probe =
                        (gate.check != Check::None).then_some(|| probe::probe(&self.plan, address, false));
                    self.external.start(server, plan.timeout, gate.interval, probe).await
                }
                Act::Rollback => {
                    Err("the external driver cannot bring the old version back; whoever replaced it has to"
                        .to_owned())
                }
            },
        }
    }

    /// An old process that goes on holds the port, and may pass for the new version.
    async fn look_after(&self, server: &str) {
        let stops = match &self.plan.driver {
            Driver::Shell(plan) => plan.stop.is_some(),
            Driver::Systemd(_) | Driver::Docker(_) => true,
            Driver::External(_) => false,
        };
        let Ok(address) = Address::new(server) else { return };
        if stops && probe::is_open(&self.plan.gate, address).await {
            let named = !self.plan.gate.expect_header.is_empty() || self.plan.gate.expect_body.is_some();
            let advice = if named { "" } else { "; let the check expect the new version: --expect-header" };
            (self.output)(
                server,
                &format!("warning: it was stopped, but its port still takes connections{advice}"),
            );
        }
    }

    /// What would fail anyway at this server.
    async fn look(&self, server: &str) -> Result<(), String> {
        let address = Address::new(server)?;
        let found = match &self.plan.driver {
            Driver::Shell(plan) => self.look_at_shell(plan.ssh.as_deref(), address).await,
            Driver::Systemd(plan) => Unit::new(Shell::of(self), plan, address, &[]).look().await,
            Driver::Docker(plan) => match Container::new(plan, address, &self.output) {
                Ok(container) => container.look().await,
                Err(problem) => Err(problem),
            },
            Driver::External(_) => Ok(()),
        };
        found.map_err(|problem| format!("{server}: {problem}"))
    }

    async fn look_at_shell(&self, ssh: Option<&str>, address: Address<'_>) -> Result<(), String> {
        let shell = Shell::of(self);
        let host = ssh.map(|host| address.fill(host));
        shell.program(host.as_deref())?;
        if host.is_none() {
            return Ok(());
        }
        let script = Script {
            what: "a first look",
            text: "true",
            host: host.as_deref(),
            environment: &[],
            timeout: LOOK,
            server: address.text,
        };
        shell.run(&script).await?.well()
    }
}

/// A plan need not name a command that stops, but where a rollback is asked for there has to be one.
fn nothing_to_run(act: Act) -> Result<(), String> {
    match act {
        Act::Rollback => {
            Err("the old version cannot be brought back: driver.shell has no rollback".to_owned())
        }
        Act::Stop | Act::Start => Ok(()),
    }
}

fn all(problems: BTreeSet<String>) -> Result<(), String> {
    if problems.is_empty() { Ok(()) } else { Err(problems.into_iter().collect::<Vec<_>>().join("\n")) }
}
