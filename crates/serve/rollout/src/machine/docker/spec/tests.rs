//! Old containers and their images as an engine shows them, and what is asked for.

use serde_json::{Value, json};

use super::*;

const ID: &str = "0123456789abcdef";

fn container(value: Value) -> ContainerInspectResponse {
    let mut whole = json!({"Id": ID, "Config": {}, "HostConfig": {}});
    for (name, part) in value.as_object().expect("an object") {
        whole[name] = part.clone();
    }
    serde_json::from_value(whole).expect("a container")
}

fn image(value: Value) -> ImageConfig {
    serde_json::from_value(value).expect("an image")
}

fn words(list: &[&str]) -> Option<Vec<String>> {
    Some(list.iter().map(|&word| word.to_owned()).collect())
}

#[test]
fn what_the_old_image_gave_does_not_go_over() {
    let settings = json!({
        "User": "app", "Env": ["PATH=/bin", "V=1"], "Cmd": ["run"], "Entrypoint": ["/app"], "WorkingDir": "/srv",
        "Labels": {"v": "1", "same": "x"}, "ExposedPorts": {"80/tcp": {}}, "StopSignal": "SIGINT",
        "Healthcheck": {"Test": ["CMD", "true"], "Interval": 1_000_000_000},
    });
    let mut own = settings.clone();
    own["Hostname"] = json!("0123456789ab");
    let made = body(&container(json!({"Config": own.clone()})), &image(settings.clone()), "app:2", None);
    let empty = ContainerCreateBody {
        image: Some("app:2".to_owned()),
        env: words(&[]),
        labels: Some(HashMap::new()),
        exposed_ports: words(&[]),
        host_config: Some(HostConfig::default()),
        ..ContainerCreateBody::default()
    };
    assert_eq!(made, empty);

    own["Env"] = json!(["PATH=/bin", "V=1", "OWN=1"]);
    own["Cmd"] = json!(["run", "--fast"]);
    own["Labels"] = json!({"v": "9", "same": "x"});
    own["Hostname"] = json!("web-1");
    own["User"] = json!("root");
    own["Healthcheck"]["Interval"] = json!(2_000_000_000);
    let made = body(&container(json!({"Config": own})), &image(settings), "app:2", None);
    assert_eq!(made.env, words(&["OWN=1"]));
    assert_eq!(made.cmd, words(&["run", "--fast"]));
    assert_eq!(made.entrypoint, None);
    assert_eq!(made.labels, Some(HashMap::from([("v".to_owned(), "9".to_owned())])));
    assert_eq!(made.hostname.as_deref(), Some("web-1"));
    assert_eq!(made.user.as_deref(), Some("root"));
    let health = HealthConfig { interval: Some(2_000_000_000), ..HealthConfig::default() };
    assert_eq!(made.healthcheck, Some(health));
}

#[test]
fn an_entrypoint_of_its_own_takes_its_command_along() {
    let image = image(json!({"Entrypoint": ["/app"], "Cmd": ["run"]}));
    let made = |config: Value| {
        let made = body(&container(json!({"Config": config})), &image, "app:2", None);
        (made.entrypoint, made.cmd)
    };
    assert_eq!(made(json!({"Entrypoint": ["/own"], "Cmd": ["run"]})), (words(&["/own"]), words(&["run"])));
    assert_eq!(made(json!({"Entrypoint": ["/own"]})), (words(&["/own"]), None));
    assert_eq!(made(json!({"Cmd": ["sh"]})), (words(&[""]), words(&["sh"])), "--entrypoint ''");
}

#[test]
fn volumes_without_a_name_are_kept() {
    let old = container(json!({
        "HostConfig": {
            "Binds": ["/etc/app:/etc/app:ro", "named:/named"],
            "Mounts": [{"Type": "volume", "Target": "/mounted"}, {"Type": "volume", "Source": "own", "Target": "/own"}],
        },
        "Mounts": [
            {"Type": "bind", "Source": "/etc/app", "Destination": "/etc/app", "RW": false},
            {"Type": "volume", "Name": "named", "Destination": "/named", "RW": true},
            {"Type": "volume", "Name": "own", "Destination": "/own", "RW": true},
            {"Type": "volume", "Name": "aaaa", "Destination": "/mounted", "RW": true},
            {"Type": "volume", "Name": "bbbb", "Destination": "/of-image", "RW": false},
        ],
    }));
    let host = body(&old, &ImageConfig::default(), "app:2", None).host_config.expect("settings");
    let binds = ["/etc/app:/etc/app:ro", "named:/named", "aaaa:/mounted", "bbbb:/of-image:ro"];
    assert_eq!(host.binds, words(&binds));
    let targets: Vec<_> = host.mounts.into_iter().flatten().filter_map(|mount| mount.target).collect();
    assert_eq!(targets, ["/own"]);
}

#[test]
fn networks_go_over_without_what_the_engine_chose() {
    let old = container(json!({
        "HostConfig": {"NetworkMode": "front"},
        "NetworkSettings": {"Networks": {
            "front": {
                "Aliases": ["web", "0123456789ab"], "IPAMConfig": {"IPv4Address": "10.1.0.5"}, "MacAddress": "",
                "IPAddress": "10.1.0.5", "NetworkID": "f1", "EndpointID": "e1",
            },
            "back": {"Aliases": null, "NetworkID": "b1"},
        }},
    }));
    let all = networks(&old);
    assert_eq!(all.len(), 2);
    let front = &all["front"];
    assert_eq!(front.aliases, words(&["web"]));
    let fixed = front.ipam_config.as_ref().and_then(|config| config.ipv4_address.as_deref());
    assert_eq!(fixed, Some("10.1.0.5"));
    assert_eq!((&front.ip_address, &front.network_id, &front.mac_address), (&None, &None, &None));
    let first = body(&old, &ImageConfig::default(), "app:2", None).networking_config.expect("one");
    let first: Vec<_> = first.endpoints_config.expect("one").into_keys().collect();
    assert_eq!(first, ["front"], "others are connected later");
}

#[test]
fn the_network_of_the_host_has_its_name() {
    let old = |name: &str, mode: &str| {
        container(json!({
            "Config": {"Hostname": name}, "HostConfig": {"NetworkMode": mode},
            "NetworkSettings": {"Networks": {"host": {"NetworkID": "h1"}}},
        }))
    };
    let made = body(&old("node-1", "host"), &ImageConfig::default(), "app:2", Some("node-1"));
    assert_eq!((made.hostname, made.networking_config), (None, None));
    let made = body(&old("other", "host"), &ImageConfig::default(), "app:2", Some("node-1"));
    assert_eq!(made.hostname.as_deref(), Some("other"));
    let made = body(&old("any", "container:db"), &ImageConfig::default(), "app:2", None);
    assert_eq!(made.hostname, None);
}
