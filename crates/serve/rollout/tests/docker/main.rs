//! Containers that a release makes anew, with a real engine.

mod engine;

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

use bollard::Docker;
use bollard::models::{
    ContainerCreateBody, ContainerInspectResponse, HostConfig, RestartPolicy, RestartPolicyNameEnum,
};
use bollard::query_parameters::{
    CreateContainerOptionsBuilder, InspectContainerOptions, RenameContainerOptionsBuilder,
    StartContainerOptions,
};
use engine::Engine;
use weir_rollout::Plan;
use weir_serve_rollout::Machine;

/// The first process of a container ignores SIGTERM, unless it says otherwise.
const COMMAND: &str = r#"CMD ["/bin/busybox", "sh", "-c", "trap 'kill $!; exit' TERM; /bin/busybox httpd -f -p 127.0.0.1:$PORT -h /www & wait"]"#;

/// One engine, one application on its port, and releases of it.
struct Bench {
    engine: Engine,
    docker: Docker,
    server: String,
    port: u16,
}

impl Bench {
    async fn start() -> Self {
        let engine = Engine::start().await;
        engine
            .image("app", "1", "version 1\n", &["ENV RELEASE=1", "LABEL release=1", "WORKDIR /www", COMMAND])
            .await;
        let second = ["ENV RELEASE=2 MORE=2", "LABEL release=2", "WORKDIR /data", COMMAND];
        engine.image("app", "2", "version 2\n", &second).await;
        engine.image("app", "broken", "", &[r#"CMD ["/no/such/program"]"#]).await;
        let port = std::net::TcpListener::bind("127.0.0.1:0").expect("a port");
        let port = port.local_addr().expect("an address").port();
        let docker = engine.docker();
        Self { engine, docker, server: format!("127.0.0.1:{port}"), port }
    }

    /// As an operator made it once.
    async fn make(&self, name: &str) {
        let body = ContainerCreateBody {
            image: Some("app:1".to_owned()),
            env: Some(vec![format!("PORT={}", self.port), "OWN=yes".to_owned()]),
            labels: Some(HashMap::from([("owner".to_owned(), "team".to_owned())])),
            host_config: Some(HostConfig {
                network_mode: Some("host".to_owned()),
                binds: Some(vec![format!("{}:/etc/app:ro", self.engine.place("root-app-1").display())]),
                restart_policy: Some(RestartPolicy {
                    name: Some(RestartPolicyNameEnum::ALWAYS),
                    maximum_retry_count: None,
                }),
                memory: Some(64 << 20),
                ..HostConfig::default()
            }),
            ..ContainerCreateBody::default()
        };
        let options = CreateContainerOptionsBuilder::default().name(name).build();
        self.docker.create_container(Some(options), body).await.expect("a container");
        self.docker.start_container(name, None::<StartContainerOptions>).await.expect("it starts");
    }

    fn machine(&self, image: &str, more: &str) -> Machine {
        let engine = self.engine.address();
        let text = format!(
            "upstream = \"web\"\nversion = {{ old = \"1\", new = \"2\" }}\n\
             [gate]\ncheck = \"/version\"\nexpect_body = \"version {{version}}\"\n\
             [driver.docker]\ncontainer = \"app\"\nimage = \"{image}\"\nengine = \"{engine}\"\npull = false\n{more}"
        );
        let plan = Plan::parse(&text).unwrap_or_else(|error| panic!("{error}"));
        Machine::new(&plan, Arc::new(|server, line| println!("{server}: {line}")))
    }

    async fn find(&self, name: &str) -> Option<ContainerInspectResponse> {
        self.docker.inspect_container(name, None::<InspectContainerOptions>).await.ok()
    }

    async fn need(&self, name: &str) -> ContainerInspectResponse {
        self.find(name).await.unwrap_or_else(|| panic!("no container {name}"))
    }

    /// The container serves, with this version.
    async fn serves(&self, rollback: bool) {
        let machine = self.machine("app:2", "");
        let mut seen = Ok(());
        for _ in 0..600 {
            seen = machine.probe(&self.server, None, rollback).await;
            if seen.is_ok() {
                return;
            }
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
        panic!("{seen:?}");
    }
}

fn id(container: &ContainerInspectResponse) -> String {
    container.id.clone().expect("an id")
}

fn runs(container: &ContainerInspectResponse) -> bool {
    container.state.as_ref().and_then(|state| state.running).expect("a state")
}

fn restart(container: &ContainerInspectResponse) -> RestartPolicyNameEnum {
    let host = container.host_config.clone().expect("settings");
    host.restart_policy.and_then(|policy| policy.name).expect("a policy")
}

#[tokio::test]
async fn a_container_is_made_anew_and_brought_back() {
    let bench = Bench::start().await;
    nothing_is_found_wrong_too_late(&bench).await;
    bench.make("app").await;
    bench.serves(true).await;
    let first = bench.need("app").await;
    what_cannot_be_pulled_stops_nothing(&bench).await;
    upgraded(&bench, &first).await;
    brought_back(&bench, &first).await;
    interrupted_anywhere_it_goes_on(&bench, &first).await;
    a_broken_image_is_told_and_rolled_back(&bench, &first).await;
    leftovers_go(&bench).await;
}

async fn nothing_is_found_wrong_too_late(bench: &Bench) {
    let servers = [bench.server.clone()];
    let (server, engine) = (&bench.server, bench.engine.address());
    let error = bench.machine("app:2", "").prepare(&servers).await.expect_err("no container");
    let remedy = "make it once by hand, or look at driver.docker.container";
    assert_eq!(error, format!("{server}: docker engine {engine} has no container app; {remedy}"));
    let error = bench.machine("app:2", "").stop(server, None).await.expect_err("no container");
    assert_eq!(error, format!("docker engine {engine} has no container app; {remedy}"));
    let text = "upstream = \"web\"\n[driver.docker]\ncontainer = \"app\"\nimage = \"app\"\nengine = ";
    for (engine, why) in [
        ("unix:///nowhere/docker.sock", "there is no /nowhere/docker.sock"),
        ("tcp://127.0.0.1:1", "Connection refused (os error 111)"),
    ] {
        let plan = Plan::parse(&format!("{text}\"{engine}\"")).expect("a plan");
        let machine = Machine::new(&plan, Arc::new(|_, _| {}));
        let error = machine.prepare(&servers).await.expect_err("no engine");
        let remedy = "start it, or name another in driver.docker.engine or DOCKER_HOST";
        assert_eq!(error, format!("{server}: docker engine {engine} cannot be reached: {why}; {remedy}"));
    }
}

async fn what_cannot_be_pulled_stops_nothing(bench: &Bench) {
    let servers = [bench.server.clone()];
    let error = bench.machine("app:3", "").prepare(&servers).await.expect_err("no image");
    let expected = format!("image app:3 is not at docker engine {}; pull it", bench.engine.address());
    assert!(error.contains(&expected), "{error}");
    let text = format!(
        "upstream = \"web\"\n[driver.docker]\ncontainer = \"app\"\nimage = \"127.0.0.1:1/app:3\"\nengine = \"{}\"",
        bench.engine.address()
    );
    let plan = Plan::parse(&text).expect("a plan");
    let machine = Machine::new(&plan, Arc::new(|_, _| {}));
    machine.prepare(&servers).await.expect("it may be pulled");
    let error = machine.stop(&bench.server, None).await.expect_err("there is no registry");
    assert!(error.starts_with("pulling image 127.0.0.1:1/app:3: docker engine says: "), "{error}");
    assert!(runs(&bench.need("app").await), "it was not touched");
}

async fn upgraded(bench: &Bench, first: &ContainerInspectResponse) {
    let machine = bench.machine("app:2", "");
    machine.prepare(std::slice::from_ref(&bench.server)).await.expect("all is there");
    for _ in 0..2 {
        machine.stop(&bench.server, None).await.expect("it stops");
        assert!(!runs(&bench.need("app").await));
    }
    machine.start(&bench.server, None).await.expect("it starts");
    bench.serves(false).await;
    let second = bench.need("app").await;
    machine.start(&bench.server, None).await.expect("it runs already");
    assert_eq!(id(&bench.need("app").await), id(&second), "nothing was made twice");

    let config = second.config.clone().expect("settings");
    let env = config.env.expect("an environment");
    for expected in ["OWN=yes", "RELEASE=2", "MORE=2", &format!("PORT={}", bench.port)] {
        assert!(env.iter().any(|found| found == expected), "no {expected} in {env:?}");
    }
    assert!(!env.iter().any(|found| found == "RELEASE=1"), "{env:?}");
    let labels = config.labels.expect("labels");
    assert_eq!(labels.get("owner").map(String::as_str), Some("team"));
    assert_eq!(labels.get("release").map(String::as_str), Some("2"));
    assert_eq!(config.working_dir.as_deref(), Some("/data"));
    assert_eq!(config.image.as_deref(), Some("app:2"));
    let (host, before) = (second.host_config.clone(), first.host_config.clone());
    let (host, before) = (host.expect("settings"), before.expect("settings"));
    assert_eq!(host.binds, before.binds);
    assert_eq!(host.memory, before.memory);
    assert_eq!(host.network_mode, before.network_mode);
    assert_eq!(restart(&second), RestartPolicyNameEnum::ALWAYS);

    let old = bench.need("app-weir-old").await;
    assert_eq!(id(&old), id(first));
    assert!(!runs(&old));
    assert_eq!(restart(&old), RestartPolicyNameEnum::NO, "an engine that starts again leaves it alone");
}

async fn brought_back(bench: &Bench, first: &ContainerInspectResponse) {
    let machine = bench.machine("app:2", "");
    for _ in 0..2 {
        machine.rollback(&bench.server, None).await.expect("it comes back");
        bench.serves(true).await;
        let back = bench.need("app").await;
        assert_eq!(id(&back), id(first));
        assert_eq!(restart(&back), RestartPolicyNameEnum::ALWAYS);
        assert!(bench.find("app-weir-old").await.is_none());
    }
    machine.clean(std::slice::from_ref(&bench.server)).await.expect("nothing was kept");
    assert_eq!(id(&bench.need("app").await), id(first));
}

async fn interrupted_anywhere_it_goes_on(bench: &Bench, first: &ContainerInspectResponse) {
    let machine = bench.machine("app:2", "");
    let rename = |from: &'static str, to: &str| {
        bench.docker.rename_container(from, RenameContainerOptionsBuilder::default().name(to).build())
    };
    // It broke off before anything was made.
    machine.stop(&bench.server, None).await.expect("it stops");
    rename("app", "app-weir-old").await.expect("another name");
    machine.stop(&bench.server, None).await.expect("it is stopped");
    machine.start(&bench.server, None).await.expect("it goes on");
    bench.serves(false).await;
    // A rollback broke off between its steps.
    machine.stop(&bench.server, None).await.expect("it stops");
    bench.docker.remove_container("app", None).await.expect("it goes");
    machine.rollback(&bench.server, None).await.expect("it goes on");
    bench.serves(true).await;
    assert_eq!(id(&bench.need("app").await), id(first));
}

async fn a_broken_image_is_told_and_rolled_back(bench: &Bench, first: &ContainerInspectResponse) {
    let machine = bench.machine("app:broken", "");
    machine.stop(&bench.server, None).await.expect("it stops");
    let error = machine.start(&bench.server, None).await.expect_err("there is no such program");
    assert!(error.starts_with("starting container app: docker engine says: "), "{error}");
    assert!(error.contains("/no/such/program"), "{error}");
    machine.rollback(&bench.server, None).await.expect("it comes back");
    bench.serves(true).await;
    assert_eq!(id(&bench.need("app").await), id(first));
}

async fn leftovers_go(bench: &Bench) {
    let (up, down) = (bench.machine("app:2", ""), bench.machine("app:1", ""));
    up.start(&bench.server, None).await.expect("a start stops the old one itself");
    bench.serves(false).await;
    let second = bench.need("app").await;
    // Nobody cleaned; the next release has another image.
    down.start(&bench.server, None).await.expect("it starts");
    bench.serves(true).await;
    assert_eq!(id(&bench.need("app-weir-old").await), id(&second));
    for _ in 0..2 {
        down.clean(std::slice::from_ref(&bench.server)).await.expect("it goes");
        assert!(bench.find("app-weir-old").await.is_none());
    }
    bench.serves(true).await;
    let error = down.rollback(&bench.server, None).await.expect_err("nothing was kept");
    assert_eq!(
        error,
        "container app has image app:1, and there is no app-weir-old to bring back; start the old image by hand"
    );
}
