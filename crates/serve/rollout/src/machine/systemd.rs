//! Units of systemd, on this machine or over ssh.

use weir_rollout::Systemd;

use super::Act;
use super::address::Address;
use super::process::find;
use super::shell::{Script, Shell, quoted};

/// So many lines of `systemctl status` stand in an error.
const SHOWN: usize = 20;

/// The unit of one server.
pub(crate) struct Unit<'a> {
    shell: Shell<'a>,
    name: String,
    host: Option<String>,
    rollback: Option<String>,
    plan: &'a Systemd,
    environment: &'a [(&'static str, String)],
    server: &'a str,
}

impl<'a> Unit<'a> {
    pub(crate) fn new(
        shell: Shell<'a>,
        plan: &'a Systemd,
        address: Address<'a>,
        environment: &'a [(&'static str, String)],
    ) -> Self {
        Self {
            shell,
            name: address.fill(&plan.unit),
            host: plan.host.as_deref().map(|host| address.fill(host)),
            rollback: plan.rollback.as_deref().map(|command| address.fill(command)),
            plan,
            environment,
            server: address.text,
        }
    }

    pub(crate) async fn act(&self, act: Act) -> Result<(), String> {
        match act {
            Act::Stop => self.stop().await,
            Act::Start => self.start().await,
            Act::Rollback => {
                self.stop().await?;
                if let Some(command) = &self.rollback {
                    self.run("rollback", command).await?.well()?;
                }
                self.start().await
            }
        }
    }

    /// systemd is there, and knows the unit.
    pub(crate) async fn look(&self) -> Result<(), String> {
        self.shell.program(self.host.as_deref())?;
        if self.host.is_none() && find("systemctl", self.shell.path).is_none() {
            return Err("systemctl is not here; run the release where the unit is, name driver.systemd.host, or choose another driver".to_owned());
        }
        let text = self.systemctl("show --property=LoadState");
        let ended = self.run("systemctl show", &text).await?;
        let state = ended.last.iter().find_map(|line| line.strip_prefix("LoadState=")).map(str::to_owned);
        ended.well()?;
        match state.as_deref() {
            Some("loaded") => Ok(()),
            state => Err(format!(
                "unit {}{} is {}, expected loaded; look at driver.systemd.unit",
                self.name,
                self.place(),
                state.unwrap_or("unknown")
            )),
        }
    }

    async fn stop(&self) -> Result<(), String> {
        self.order("stop", &["inactive", "failed", "unknown"]).await
    }

    async fn start(&self) -> Result<(), String> {
        self.order("start", &["active"]).await
    }

    /// The order, and whether the unit is then in one of these states.
    async fn order(&self, verb: &str, expected: &[&str]) -> Result<(), String> {
        let text = self.systemctl(verb);
        let what = format!("systemctl {verb} {}", self.name);
        if let Err(problem) = self.run(&what, &text).await?.well() {
            return Err(format!("{problem}{}", self.status().await));
        }
        let text = self.systemctl("is-active");
        // Its code only repeats the word that it prints.
        let ended = self.run("systemctl is-active", &text).await?;
        let state = match ended.last.last() {
            Some(state) if ended.code.is_some() => state.clone(),
            _ => return ended.well(),
        };
        if expected.contains(&state.as_str()) {
            return Ok(());
        }
        let status = self.status().await;
        Err(format!(
            "unit {}{} is {state} after {verb}, expected {}{status}",
            self.name,
            self.place(),
            expected[0]
        ))
    }

    /// What systemd tells of the unit, for an error.
    async fn status(&self) -> String {
        let text = format!("{} --no-pager --lines={SHOWN}", self.systemctl("status"));
        match self.run("systemctl status", &text).await {
            Ok(ended) if !ended.last.is_empty() => {
                format!("; systemctl status:\n  {}", ended.last.join("\n  "))
            }
            _ => String::new(),
        }
    }

    fn systemctl(&self, verb: &str) -> String {
        format!("systemctl {verb} {}", quoted(&self.name))
    }

    fn place(&self) -> String {
        self.host.as_deref().map(|host| format!(" on {host}")).unwrap_or_default()
    }

    async fn run(&self, what: &str, text: &str) -> Result<super::shell::Ended, String> {
        let script = Script {
            what,
            text,
            host: self.host.as_deref(),
            environment: self.environment,
            timeout: self.plan.timeout.duration(),
            server: self.server,
        };
        self.shell.run(&script).await
    }
}
