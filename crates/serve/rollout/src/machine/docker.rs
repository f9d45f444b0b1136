//! Containers that are made anew with another image.
//!
//! The old container is kept, stopped, as `NAME-weir-old` until the release is over. Every step looks first at what is there, so
//! that one that broke off anywhere is completed by doing it again.

mod image;
mod spec;
mod words;

use std::time::Duration;

use bollard::Docker;
use bollard::errors::Error;
use bollard::models::{
    ContainerInspectResponse, ContainerUpdateBody, ImageInspect, NetworkConnectRequest, RestartPolicy,
    RestartPolicyNameEnum,
};
use bollard::query_parameters::{
    CreateContainerOptionsBuilder, InspectContainerOptions, LogsOptionsBuilder,
    RemoveContainerOptionsBuilder, RenameContainerOptionsBuilder, StartContainerOptions,
    StopContainerOptionsBuilder,
};
use futures_util::StreamExt as _;

use super::address::Address;
use super::{Act, Output};

/// Behind the name of a container that is kept for a rollback.
const KEPT: &str = "-weir-old";

/// Where an engine is, if nothing else is said.
const ENGINE: &str = "unix:///var/run/docker.sock";

/// What an engine may take to answer, beyond a container's time to end.
const ANSWER: Duration = Duration::from_secs(120);

/// So many lines of a container's log stand in an error.
const LOGGED: &str = "20";

/// The container of one server, and the engine that has it.
pub(crate) struct Container<'a> {
    docker: Docker,
    engine: String,
    name: String,
    kept: String,
    image: String,
    plan: &'a weir_rollout::Docker,
    server: &'a str,
    output: &'a Output,
}

impl<'a> Container<'a> {
    /// Nothing is asked of the engine yet.
    ///
    /// # Errors
    /// The plan names something that cannot be, or the socket is not there.
    pub(crate) fn new(
        plan: &'a weir_rollout::Docker,
        address: Address<'a>,
        output: &'a Output,
    ) -> Result<Self, String> {
        let name = address.fill(&plan.container);
        let safe = |c: char| c.is_ascii_alphanumeric() || matches!(c, '_' | '.' | '-');
        if !name.starts_with(|c: char| c.is_ascii_alphanumeric()) || !name.chars().all(safe) {
            return Err(format!("{name:?} is no name of a container; expected letters, digits and _.-"));
        }
        let image = image::whole(&address.fill(&plan.image))?;
        let given = plan.engine.as_deref().map(|engine| address.fill_url(engine));
        let engine = given.or_else(|| std::env::var("DOCKER_HOST").ok().filter(|host| !host.is_empty()));
        let engine = engine.unwrap_or_else(|| ENGINE.to_owned());
        let docker = connect(&engine, plan.grace.duration() + ANSWER)?;
        let kept = format!("{name}{KEPT}");
        Ok(Self { docker, engine, name, kept, image, plan, server: address.text, output })
    }

    /// Within the plan's time.
    pub(crate) async fn act(&self, act: Act) -> Result<(), String> {
        let step = async {
            match act {
                Act::Stop => self.stop().await,
                Act::Start => self.start().await,
                Act::Rollback => self.rollback().await,
            }
        };
        let late = |_| {
            let (name, limit, engine) = (&self.name, self.plan.timeout, &self.engine);
            let verb = act.name();
            Err(format!(
                "{verb} of container {name} did not end within {limit}; look at docker engine {engine}, or raise driver.docker.timeout"
            ))
        };
        tokio::time::timeout(self.plan.timeout.duration(), step).await.unwrap_or_else(late)
    }

    /// The container is there and can be made anew.
    pub(crate) async fn look(&self) -> Result<(), String> {
        let old = match self.find(&self.name).await? {
            Some(container) => container,
            None => self.find(&self.kept).await?.ok_or_else(|| self.missing())?,
        };
        self.replaceable(&old)?;
        self.old_image(&old).await?;
        match self.find_image().await? {
            None if !self.plan.pull => Err(self.no_image()),
            None => {
                self.tell(&format!(
                    "image {} is not there yet; it is pulled before the container is stopped",
                    self.image
                ));
                Ok(())
            }
            Some(_) => Ok(()),
        }
    }

    async fn stop(&self) -> Result<(), String> {
        // Before anything is down.
        self.need_image().await?;
        match self.find(&self.name).await? {
            Some(container) => {
                self.replaceable(&container)?;
                self.end(&self.name, &container).await
            }
            // An earlier start broke off.
            None => match self.find(&self.kept).await? {
                Some(container) => self.end(&self.kept, &container).await,
                None => Err(self.missing()),
            },
        }
    }

    async fn start(&self) -> Result<(), String> {
        let image = self.need_image().await?;
        let new = match (self.find(&self.name).await?, self.find(&self.kept).await?) {
            (None, None) => return Err(self.missing()),
            (Some(new), Some(_)) if new.image == image.id => new,
            (Some(old), left) => {
                self.replaceable(&old)?;
                if left.is_some() {
                    self.remove(&self.kept).await?;
                }
                self.end(&self.name, &old).await?;
                self.rename(&self.name, &self.kept).await?;
                self.create().await?
            }
            (None, Some(_)) => self.create().await?,
        };
        let old = self.find(&self.kept).await?.ok_or_else(|| self.lost(&self.kept))?;
        self.connect(&new, &old).await?;
        // An engine that starts again would start the old one as well.
        self.restart(
            &self.kept,
            &old,
            RestartPolicy { name: Some(RestartPolicyNameEnum::NO), maximum_retry_count: None },
        )
        .await?;
        self.run().await
    }

    async fn rollback(&self) -> Result<(), String> {
        let (new, old) = (self.find(&self.name).await?, self.find(&self.kept).await?);
        match (new, old) {
            (None, None) => return Err(self.missing()),
            (Some(new), Some(old)) => {
                // First, because only the new one still knows it.
                self.restart(&self.kept, &old, policy(&new)).await?;
                self.end(&self.name, &new).await?;
                self.remove(&self.name).await?;
                self.rename(&self.kept, &self.name).await?;
            }
            (None, Some(_)) => self.rename(&self.kept, &self.name).await?,
            (Some(now), None) => {
                let image = self.find_image().await?;
                if image.is_some_and(|image| image.id == now.image) {
                    return Err(format!(
                        "container {} has image {}, and there is no {} to bring back; start the old image by hand",
                        self.name, self.image, self.kept
                    ));
                }
            }
        }
        self.run().await
    }

    /// The container that was kept for a rollback goes, if another is in its place. Volumes stay.
    pub(crate) async fn clean(&self) -> Result<(), String> {
        if self.find(&self.name).await?.is_none() || self.find(&self.kept).await?.is_none() {
            return Ok(());
        }
        self.remove(&self.kept).await
    }

    /// Made of the one that is kept.
    async fn create(&self) -> Result<ContainerInspectResponse, String> {
        let old = self.find(&self.kept).await?.ok_or_else(|| self.lost(&self.kept))?;
        let image = self.old_image(&old).await?.config.unwrap_or_default();
        let host = self
            .docker
            .info()
            .await
            .map_err(|error| self.problem("asking for the engine's name", &error))?
            .name;
        let body = spec::body(&old, &image, &self.image, host.as_deref());
        self.tell(&format!("creating container {} from {}", self.name, self.image));
        let options = CreateContainerOptionsBuilder::default().name(&self.name).build();
        let made = self.docker.create_container(Some(options), body).await;
        let made =
            made.map_err(|error| self.problem(&format!("creating container {}", self.name), &error))?;
        for warning in &made.warnings {
            self.tell(&format!("docker engine warns: {warning}"));
        }
        self.find(&self.name).await?.ok_or_else(|| self.lost(&self.name))
    }

    /// To all networks of the old one.
    async fn connect(
        &self,
        new: &ContainerInspectResponse,
        old: &ContainerInspectResponse,
    ) -> Result<(), String> {
        let there = spec::networks(new);
        for (network, settings) in spec::networks(old) {
            if there.contains_key(&network) {
                continue;
            }
            let request =
                NetworkConnectRequest { container: self.name.clone(), endpoint_config: Some(settings) };
            let doing = format!("connecting container {} to network {network}", self.name);
            self.docker
                .connect_network(&network, request)
                .await
                .map_err(|error| self.problem(&doing, &error))?;
        }
        Ok(())
    }

    /// How the engine starts it again by itself.
    async fn restart(
        &self,
        name: &str,
        container: &ContainerInspectResponse,
        to: RestartPolicy,
    ) -> Result<(), String> {
        if policy(container) == to {
            return Ok(());
        }
        let update = ContainerUpdateBody { restart_policy: Some(to), ..ContainerUpdateBody::default() };
        let doing = format!("changing the restart policy of container {name}");
        self.docker.update_container(name, update).await.map_err(|error| self.problem(&doing, &error))
    }

    /// Until it runs.
    async fn run(&self) -> Result<(), String> {
        let name = &self.name;
        let container = self.find(name).await?.ok_or_else(|| self.lost(name))?;
        if is_running(&container) {
            return Ok(());
        }
        let doing = format!("starting container {name}");
        self.tell(&doing);
        let started = self.docker.start_container(name, None::<StartContainerOptions>).await;
        started.map_err(|error| self.problem(&doing, &error))?;
        let container = self.find(name).await?.ok_or_else(|| self.lost(name))?;
        if is_running(&container) {
            return Ok(());
        }
        let code = container.state.and_then(|state| state.exit_code).unwrap_or_default();
        Err(format!("container {name} ended at once with status {code}; {}", self.log().await))
    }

    /// Until it does not run. The engine does not start it again by itself, unless it starts again itself.
    async fn end(&self, name: &str, container: &ContainerInspectResponse) -> Result<(), String> {
        if !is_running(container) {
            return Ok(());
        }
        let doing = format!("stopping container {name}");
        self.tell(&doing);
        let grace = i32::try_from(self.plan.grace.duration().as_secs_f64().ceil() as u64).unwrap_or(i32::MAX);
        let options = StopContainerOptionsBuilder::default().t(grace).build();
        self.docker.stop_container(name, Some(options)).await.map_err(|error| self.problem(&doing, &error))
    }

    async fn rename(&self, from: &str, to: &str) -> Result<(), String> {
        let options = RenameContainerOptionsBuilder::default().name(to).build();
        let doing = format!("renaming container {from} to {to}");
        self.docker.rename_container(from, options).await.map_err(|error| self.problem(&doing, &error))
    }

    /// Its volumes stay.
    async fn remove(&self, name: &str) -> Result<(), String> {
        let options = RemoveContainerOptionsBuilder::default().build();
        match self.docker.remove_container(name, Some(options)).await {
            Err(error) if !words::is_absent(&error) => {
                Err(self.problem(&format!("removing container {name}"), &error))
            }
            _ => Ok(()),
        }
    }

    async fn find(&self, name: &str) -> Result<Option<ContainerInspectResponse>, String> {
        match self.docker.inspect_container(name, None::<InspectContainerOptions>).await {
            Ok(container) => Ok(Some(container)),
            Err(error) if words::is_absent(&error) => Ok(None),
            Err(error) => Err(self.problem(&format!("looking at container {name}"), &error)),
        }
    }

    /// The image that a container came from, without which its own settings cannot be told from the image's.
    async fn old_image(&self, container: &ContainerInspectResponse) -> Result<ImageInspect, String> {
        let id = container.image.as_deref().unwrap_or_default();
        let doing = format!("looking at the image {id} that container {} came from", self.name);
        self.docker.inspect_image(id).await.map_err(|error| self.problem(&doing, &error))
    }

    fn replaceable(&self, container: &ContainerInspectResponse) -> Result<(), String> {
        let host = container.host_config.as_ref();
        if host.and_then(|host| host.auto_remove) == Some(true) {
            return Err(format!(
                "container {} is removed when it stops, so it could not be brought back; make it without --rm",
                self.name
            ));
        }
        Ok(())
    }

    async fn log(&self) -> String {
        let options = LogsOptionsBuilder::default().stdout(true).stderr(true).tail(LOGGED).build();
        let lines: Vec<String> = self
            .docker
            .logs(&self.name, Some(options))
            .filter_map(async |line| line.ok().map(|line| line.to_string().trim_end().to_owned()))
            .collect()
            .await;
        if lines.is_empty() {
            "its log is empty".to_owned()
        } else {
            format!("its log:\n  {}", lines.join("\n  "))
        }
    }

    fn tell(&self, line: &str) {
        (self.output)(self.server, line);
    }

    fn problem(&self, doing: &str, error: &Error) -> String {
        words::problem(&self.engine, doing, error)
    }

    fn missing(&self) -> String {
        format!(
            "docker engine {} has no container {}; make it once by hand, or look at driver.docker.container",
            self.engine, self.name
        )
    }

    fn lost(&self, name: &str) -> String {
        format!("container {name} was there and is gone; somebody else removed it, look at docker ps -a")
    }
}

fn is_running(container: &ContainerInspectResponse) -> bool {
    container
        .state
        .as_ref()
        .is_some_and(|state| state.running == Some(true) || state.restarting == Some(true))
}

/// Never, where nothing is said.
fn policy(container: &ContainerInspectResponse) -> RestartPolicy {
    let said =
        container.host_config.as_ref().and_then(|host| host.restart_policy.clone()).unwrap_or_default();
    let name = match said.name {
        None | Some(RestartPolicyNameEnum::EMPTY) => RestartPolicyNameEnum::NO,
        Some(name) => name,
    };
    let count = said.maximum_retry_count.filter(|count| *count > 0);
    RestartPolicy { name: Some(name), maximum_retry_count: count }
}

fn connect(engine: &str, timeout: Duration) -> Result<Docker, String> {
    let seconds = timeout.as_secs().max(1);
    let version = bollard::API_DEFAULT_VERSION;
    let docker = if engine.starts_with("unix://") {
        Docker::connect_with_unix(engine, seconds, version)
    } else if engine.starts_with("tcp://") || engine.starts_with("http://") {
        Docker::connect_with_http(engine, seconds, version)
    } else {
        return Err(format!(
            "docker engine {engine:?} is of no kind that can be reached; expected unix:///PATH or tcp://HOST:PORT"
        ));
    };
    docker.map_err(|error| words::problem(engine, "connecting", &error))
}
