//! The new container, made of the old one and the image that the old one came from.
//!
//! An engine merges an image's settings into those of a container when it makes it, and shows only the result. Only what differs
//! from the old image was meant for the container, and goes over; the rest is the new image's own.

use std::collections::HashMap;

use bollard::models::{
    ContainerConfig, ContainerCreateBody, ContainerInspectResponse, EndpointSettings, HealthConfig,
    HostConfig, ImageConfig, NetworkingConfig,
};

/// The length of an identifier as it stands in names that the engine makes.
const SHORT: usize = 12;

/// What the engine is asked for. `host`: the name of the engine's machine, which a container in its network has by itself.
pub(crate) fn body(
    old: &ContainerInspectResponse,
    old_image: &ImageConfig,
    image: &str,
    host: Option<&str>,
) -> ContainerCreateBody {
    let config = old.config.clone().unwrap_or_default();
    let host_config = with_volumes(old);
    let mode = host_config.network_mode.clone().unwrap_or_default();
    let (entrypoint, cmd) = command(&config, old_image);
    ContainerCreateBody {
        hostname: hostname(old, &config, &mode, host),
        domainname: config.domainname.filter(|name| !name.is_empty()),
        user: differing(config.user, old_image.user.as_ref()),
        attach_stdin: config.attach_stdin,
        attach_stdout: config.attach_stdout,
        attach_stderr: config.attach_stderr,
        exposed_ports: beyond(config.exposed_ports, old_image.exposed_ports.as_deref()),
        tty: config.tty,
        open_stdin: config.open_stdin,
        stdin_once: config.stdin_once,
        env: beyond(config.env, old_image.env.as_deref()),
        cmd,
        healthcheck: health(config.healthcheck, old_image.healthcheck.as_ref()),
        args_escaped: None,
        image: Some(image.to_owned()),
        volumes: beyond(config.volumes, old_image.volumes.as_deref()),
        working_dir: differing(config.working_dir, old_image.working_dir.as_ref()),
        entrypoint,
        network_disabled: config.network_disabled,
        on_build: None,
        labels: labels(config.labels, old_image.labels.as_ref()),
        stop_signal: differing(config.stop_signal, old_image.stop_signal.as_ref()),
        stop_timeout: config.stop_timeout,
        shell: differing(config.shell, old_image.shell.as_ref()),
        networking_config: first_network(old, &mode),
        host_config: Some(host_config),
    }
}

/// The networks to which the container is to be connected, by name; those that its network mode is, are not among them.
pub(crate) fn networks(container: &ContainerInspectResponse) -> HashMap<String, EndpointSettings> {
    let mode = mode(container);
    if mode == "host" || mode == "none" || mode.starts_with("container:") {
        return HashMap::new();
    }
    let networks = container.network_settings.as_ref().and_then(|settings| settings.networks.clone());
    networks
        .unwrap_or_default()
        .into_iter()
        .filter(|(name, _)| !is_default(name))
        .map(|(name, settings)| (name, endpoint(container, settings)))
        .collect()
}

/// As the container was made; empty if unknown.
fn mode(container: &ContainerInspectResponse) -> &str {
    let host = container.host_config.as_ref();
    host.and_then(|host| host.network_mode.as_deref()).unwrap_or_default()
}

/// The engine's own bridge takes no settings.
fn is_default(network: &str) -> bool {
    matches!(network, "" | "default" | "bridge")
}

/// The network of the mode; an engine before 25 takes no more than one when it makes a container.
fn first_network(old: &ContainerInspectResponse, mode: &str) -> Option<NetworkingConfig> {
    let own = |name: &str, settings: &EndpointSettings| {
        name == mode || settings.network_id.as_deref().is_some_and(|id| id == mode)
    };
    let all = old.network_settings.as_ref()?.networks.as_ref()?;
    let (name, _) = all.iter().find(|(name, settings)| own(name, settings))?;
    let settings = networks(old).remove(name)?;
    Some(NetworkingConfig { endpoints_config: Some(HashMap::from([(name.clone(), settings)])) })
}

/// What was asked for, without what the engine chose.
fn endpoint(container: &ContainerInspectResponse, settings: EndpointSettings) -> EndpointSettings {
    let id = container.id.as_deref().unwrap_or_default();
    let own = id.get(..SHORT).unwrap_or(id);
    let aliases = settings.aliases.map(|aliases| aliases.into_iter().filter(|alias| alias != own).collect());
    EndpointSettings {
        ipam_config: settings.ipam_config,
        links: settings.links,
        // Only that of a stopped container was asked for; a running one has one in any case.
        mac_address: settings.mac_address.filter(|mac| !mac.is_empty()),
        aliases,
        driver_opts: settings.driver_opts,
        gw_priority: settings.gw_priority,
        ..EndpointSettings::default()
    }
}

/// The host's settings, with the volumes that have no name: their data belongs to the container that follows, too.
fn with_volumes(old: &ContainerInspectResponse) -> HostConfig {
    let mut host = old.host_config.clone().unwrap_or_default();
    let mut named: Vec<String> = Vec::new();
    for bind in host.binds.iter().flatten() {
        named.extend(bind.split(':').nth(1).map(str::to_owned));
    }
    for mount in host.mounts.iter().flatten().filter(|mount| mount.source.is_some()) {
        named.extend(mount.target.clone());
    }
    let others = host.volumes_from.as_ref().is_some_and(|from| !from.is_empty());
    for mount in old.mounts.iter().flatten() {
        let (Some(name), Some(place)) = (&mount.name, &mount.destination) else { continue };
        if mount.typ.as_deref() != Some("volume") || others || named.contains(place) {
            continue;
        }
        let end = if mount.rw == Some(false) { ":ro" } else { "" };
        host.mounts = host.mounts.map(|mut all| {
            all.retain(|other| other.target.as_ref() != Some(place));
            all
        });
        host.binds.get_or_insert_default().push(format!("{name}:{place}{end}"));
    }
    host.container_id_file = None;
    host
}

fn hostname(
    old: &ContainerInspectResponse,
    config: &ContainerConfig,
    mode: &str,
    host: Option<&str>,
) -> Option<String> {
    let name = config.hostname.clone().filter(|name| !name.is_empty())?;
    let own = old.id.as_deref().and_then(|id| id.get(..SHORT)) == Some(name.as_str());
    let of_host = mode == "host" && host == Some(name.as_str());
    (!own && !of_host && !mode.starts_with("container:")).then_some(name)
}

/// Entrypoint and command: an own entrypoint takes the image's command away, so they go over together.
fn command(config: &ContainerConfig, image: &ImageConfig) -> (Option<Vec<String>>, Option<Vec<String>>) {
    let list = |words: &Option<Vec<String>>| words.clone().unwrap_or_default();
    let (entrypoint, cmd) = (list(&config.entrypoint), list(&config.cmd));
    if entrypoint == list(&image.entrypoint) {
        let own = cmd != list(&image.cmd);
        return (None, own.then_some(cmd));
    }
    // One empty word: the image's entrypoint does not count.
    let entrypoint = if entrypoint.is_empty() { vec![String::new()] } else { entrypoint };
    (Some(entrypoint), Some(cmd).filter(|cmd| !cmd.is_empty()))
}

fn differing<T: PartialEq>(own: Option<T>, image: Option<&T>) -> Option<T> {
    own.filter(|own| Some(own) != image)
}

/// What stands in the list, and not in that of the image.
fn beyond(own: Option<Vec<String>>, image: Option<&[String]>) -> Option<Vec<String>> {
    let image = image.unwrap_or_default();
    own.map(|own| own.into_iter().filter(|item| !image.contains(item)).collect())
}

fn labels(
    own: Option<HashMap<String, String>>,
    image: Option<&HashMap<String, String>>,
) -> Option<HashMap<String, String>> {
    let of_image =
        |name: &str, value: &str| image.and_then(|image| image.get(name)).is_some_and(|found| found == value);
    own.map(|own| own.into_iter().filter(|(name, value)| !of_image(name, value)).collect())
}

/// The engine merges health checks field by field.
fn health(own: Option<HealthConfig>, image: Option<&HealthConfig>) -> Option<HealthConfig> {
    let none = HealthConfig::default();
    let (own, image) = (own?, image.unwrap_or(&none));
    let mine = HealthConfig {
        test: differing(own.test, image.test.as_ref()),
        interval: differing(own.interval, image.interval.as_ref()),
        timeout: differing(own.timeout, image.timeout.as_ref()),
        retries: differing(own.retries, image.retries.as_ref()),
        start_period: differing(own.start_period, image.start_period.as_ref()),
        start_interval: differing(own.start_interval, image.start_interval.as_ref()),
    };
    (mine != none).then_some(mine)
}

#[cfg(test)]
mod tests;
