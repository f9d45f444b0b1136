//! The flags of `weir rollout`: every one of them is a key of the plan, and counts more than the plan's file.

use std::path::PathBuf;

use clap::{Args, ValueEnum};
use weir_rollout::{
    Amount, Canary, Check, Docker, Driver, Expectation, External, OnFailure, OnTimeout, Plan, ProxyTimeout,
    Shell, Span, Stage, Statuses, StoreKind, Systemd, Warm, Watch,
};

/// Where the plan, the store and the proxies are.
#[derive(Args, Debug, Default)]
#[command(next_help_heading = "Where")]
pub(super) struct Where {
    /// The plan's file; flags count more than what stands there
    #[arg(long, value_name = "FILE")]
    plan: Option<PathBuf>,
    /// What holds the list of servers; without it what the proxies say
    #[arg(long, value_name = "KIND")]
    store: Option<Kind>,
    /// Its address, or several of one: HOST:PORT, https://HOST:PORT, unix:PATH
    #[arg(long, value_name = "ADDRESS", value_delimiter = ',')]
    store_address: Vec<String>,
    /// What the keys of the servers begin with, as in upstreams/web; without it what the proxies say
    #[arg(long)]
    prefix: Option<String>,
    /// Where lock, progress and history are kept with --store control
    #[arg(long, value_name = "FOLDER")]
    store_folder: Option<String>,
    /// A file with the token that the store wants
    #[arg(long, value_name = "FILE")]
    store_token_file: Option<String>,
    /// A PEM file: whom to trust where the store is https://; without it the roots of the machine
    #[arg(long, value_name = "FILE")]
    store_ca: Option<String>,
    /// The control API of a proxy: HOST:PORT or unix:PATH; name every proxy that serves the upstream
    #[arg(long, value_name = "ADDRESS", value_delimiter = ',')]
    proxy: Vec<String>,
    /// A file with the token that the proxies want
    #[arg(long, value_name = "FILE")]
    proxy_token_file: Option<String>,
    /// Leave out a proxy that cannot be reached, instead of waiting for it
    #[arg(long)]
    proxy_optional: bool,
}

#[derive(Clone, Copy, Debug, ValueEnum)]
enum Kind {
    /// Consul's KV store, or Weir's own registry
    Consul,
    Etcd,
    /// The proxies themselves are told
    Control,
}

impl Where {
    /// The same flags as text, for what people are told to type.
    pub(super) fn words(&self) -> String {
        let plan = self.plan.as_ref().map(|path| path.display().to_string());
        let kind = self.store.and_then(|kind| Some(kind.to_possible_value()?.get_name().to_owned()));
        let list = |values: &[String]| (!values.is_empty()).then(|| values.join(","));
        let flags = [
            ("--plan", plan),
            ("--store", kind),
            ("--store-address", list(&self.store_address)),
            ("--prefix", self.prefix.clone()),
            ("--store-folder", self.store_folder.clone()),
            ("--store-token-file", self.store_token_file.clone()),
            ("--store-ca", self.store_ca.clone()),
            ("--proxy", list(&self.proxy)),
            ("--proxy-token-file", self.proxy_token_file.clone()),
        ];
        let given =
            flags.into_iter().filter_map(|(flag, value)| Some(format!(" {flag} {}", quoted(&value?))));
        let mut words: String = given.collect();
        if self.proxy_optional {
            words.push_str(" --proxy-optional");
        }
        words
    }

    /// Whether the plan's file says what is done at a server. What cannot be read is told when it is.
    pub(super) fn names_driver(&self) -> bool {
        let text = self.plan.as_ref().and_then(|path| std::fs::read_to_string(path).ok());
        text.is_some_and(|text| Plan::names_driver(&text))
    }

    /// The plan's file with these flags; an empty plan where there is no file.
    pub(super) fn plan(self) -> Result<Plan, String> {
        let mut plan = match &self.plan {
            Some(path) => read(path)?,
            None => Plan::default(),
        };
        let store = &mut plan.store;
        if let Some(kind) = self.store {
            store.kind = match kind {
                Kind::Consul => StoreKind::Consul,
                Kind::Etcd => StoreKind::Etcd,
                Kind::Control => StoreKind::Control,
            };
        }
        list(&mut store.endpoints, self.store_address);
        some(&mut store.prefix, self.prefix);
        some(&mut store.folder, self.store_folder);
        some(&mut store.token_file, self.store_token_file);
        some(&mut store.ca_file, self.store_ca);
        list(&mut plan.proxies, self.proxy);
        some(&mut plan.proxy_token_file, self.proxy_token_file);
        plan.proxy_optional |= self.proxy_optional;
        Ok(plan)
    }
}

/// As a shell reads it.
fn quoted(word: &str) -> String {
    let plain = |c: char| c.is_ascii_alphanumeric() || "-_./:,@%+=".contains(c);
    if word.chars().all(plain) { word.to_owned() } else { format!("'{}'", word.replace('\'', "'\\''")) }
}

fn read(path: &std::path::Path) -> Result<Plan, String> {
    let text = std::fs::read_to_string(path).map_err(|error| format!("{}: {error}", path.display()))?;
    Plan::parse(&text).map_err(|error| format!("{}: {error}", path.display()))
}

/// How the release goes.
#[derive(Args, Debug, Default)]
pub(super) struct Flags {
    #[command(flatten)]
    batch: BatchFlags,
    #[command(flatten)]
    drain: DrainFlags,
    #[command(flatten)]
    driver: DriverFlags,
    #[command(flatten)]
    gate: GateFlags,
    #[command(flatten)]
    after: AfterFlags,
}

#[derive(Args, Debug, Default)]
#[command(next_help_heading = "Which servers, and how many at once")]
struct BatchFlags {
    /// Only this server; may be given several times, and the order counts
    #[arg(long, value_name = "ADDRESS", value_delimiter = ',')]
    server: Vec<String>,
    /// Servers of one batch: 2, 25%
    #[arg(long, value_name = "NUMBER")]
    max_unavailable: Option<Amount>,
    /// So many others serve at any time: 3, 75%
    #[arg(long, value_name = "NUMBER")]
    min_healthy: Option<Amount>,
    /// A server that stands by drained and helps out meanwhile; may be given several times
    #[arg(long, value_name = "ADDRESS", value_delimiter = ',')]
    surge: Vec<String>,
}

#[derive(Args, Debug, Default)]
#[command(next_help_heading = "Draining")]
struct DrainFlags {
    /// How long the requests of a server may take to end [default: 30s]
    #[arg(long, value_name = "TIME")]
    drain_timeout: Option<Span>,
    /// When they do not end: abort puts the server back and stops, force stops the server all the same, wait waits on
    /// [default: abort]
    #[arg(long, value_name = "WORD", value_parser = on_timeout)]
    on_drain_timeout: Option<OnTimeout>,
    /// Do not wait for open WebSockets
    #[arg(long)]
    ignore_websockets: bool,
    /// How long the proxies may take to obey a change [default: 30s]
    #[arg(long, value_name = "TIME")]
    proxy_timeout: Option<Span>,
}

#[derive(Args, Debug, Default)]
#[command(next_help_heading = "What is done at a server: shell, systemd, Docker, or somebody else")]
struct DriverFlags {
    /// Shell command that stops it; {server}, {host} and {port} stand for its address
    #[arg(long, value_name = "COMMAND")]
    stop: Option<String>,
    /// Shell command that starts the new version
    #[arg(long, value_name = "COMMAND")]
    start: Option<String>,
    /// Shell command that brings the old version back
    #[arg(long, value_name = "COMMAND")]
    rollback: Option<String>,
    /// Run the commands there: deploy@{host}
    #[arg(long, value_name = "HOST")]
    ssh: Option<String>,
    /// systemd unit that is stopped and started; with --ssh there
    #[arg(long, conflicts_with_all = ["stop", "start"])]
    unit: Option<String>,
    /// Docker container that is made anew
    #[arg(long, value_name = "NAME", conflicts_with_all = ["stop", "start", "unit", "ssh", "rollback"])]
    container: Option<String>,
    /// The new image
    #[arg(long, requires = "container")]
    image: Option<String>,
    /// unix:///var/run/docker.sock, tcp://{host}:2375
    #[arg(long, value_name = "ADDRESS", requires = "container")]
    engine: Option<String>,
    /// Between SIGTERM and SIGKILL of the old container [default: 10s]
    #[arg(long, value_name = "TIME", requires = "container")]
    grace: Option<Span>,
    /// Use the image that the engine has
    #[arg(long, requires = "container")]
    no_pull: bool,
    /// Somebody else replaces a server while it is out; `weir rollout continue` says when
    #[arg(long, conflicts_with_all = ["stop", "start", "unit", "container", "ssh", "rollback"])]
    external: bool,
    /// Of each command [default: 5m, Docker 10m, --external 1h]
    #[arg(long, value_name = "TIME")]
    command_timeout: Option<Span>,
    /// Shell command run here at a stage, as in pre_drain='./announce'; may be given several times. Stages: pre_ and
    /// post_ of plan, drain, stop, start, check, undrain; and on_fail
    #[arg(long, value_name = "STAGE=COMMAND", value_parser = hook)]
    hook: Vec<(Stage, String)>,
    /// Of each hook [default: 5m]
    #[arg(long, value_name = "TIME")]
    hook_timeout: Option<Span>,
    /// For commands, hooks and checks: WEIR_OLD_VERSION
    #[arg(long, value_name = "VERSION")]
    old_version: Option<String>,
    /// For commands, hooks and checks: WEIR_NEW_VERSION, and {version} in what is expected
    #[arg(long, value_name = "VERSION")]
    new_version: Option<String>,
}

#[derive(Args, Debug, Default)]
#[command(next_help_heading = "What a started server has to show")]
struct GateFlags {
    /// A path as /health, or tcp, or none [default: tcp]
    #[arg(long)]
    check: Option<Check>,
    /// Without it the server's own
    #[arg(long, value_name = "PORT")]
    check_port: Option<u16>,
    /// [default: GET]
    #[arg(long, value_name = "METHOD")]
    check_method: Option<String>,
    /// Without it the server's address
    #[arg(long, value_name = "NAME")]
    check_host: Option<String>,
    /// 200, 200-299, "200 204" [default: 200-299]
    #[arg(long, value_name = "CODES")]
    expect_status: Option<Statuses>,
    /// "X-Version: {version}"; may be given several times
    #[arg(long, value_name = "HEADER")]
    expect_header: Vec<Expectation>,
    /// A part of the body
    #[arg(long, value_name = "TEXT")]
    expect_body: Option<String>,
    /// Passes in a row [default: 3]
    #[arg(long)]
    rise: Option<u32>,
    /// From check to check [default: 1s]
    #[arg(long, value_name = "TIME")]
    interval: Option<Span>,
    /// Of one check [default: 5s]
    #[arg(long, value_name = "TIME")]
    check_timeout: Option<Span>,
    /// Of all checks of a server together [default: 120s]
    #[arg(long, value_name = "TIME")]
    deadline: Option<Span>,
    /// It has to stay healthy for so long [default: 0s]
    #[arg(long, value_name = "TIME")]
    min_healthy_time: Option<Span>,
    /// A URL that is asked when the server is back, to see the whole way of a request
    #[arg(long, value_name = "URL")]
    through_proxy: Option<String>,
    /// Requests to a server before clients come: 20, 20:/path
    #[arg(long, value_name = "NUMBER[:PATH]", value_parser = warm)]
    warm: Option<Warm>,
}

#[derive(Args, Debug, Default)]
#[command(next_help_heading = "When it is back")]
struct AfterFlags {
    /// It grows to its whole share over this time
    #[arg(long, value_name = "TIME")]
    slow_start: Option<Span>,
    /// A step of the first server: 5%:10m, 50%:manual; may be given several times
    #[arg(long, value_name = "SHARE:PAUSE")]
    canary: Vec<Canary>,
    /// Compare it with the others for this time
    #[arg(long, value_name = "TIME")]
    watch: Option<Span>,
    /// Part of its answers that may be errors, above that of the others [default: 0.05]
    #[arg(long, value_name = "RATIO")]
    max_error_ratio: Option<f64>,
    /// Connections to it that may fail meanwhile [default: 0]
    #[arg(long, value_name = "NUMBER")]
    max_connect_errors: Option<u64>,
    /// So many times the others' 95th percentile [default: not compared]
    #[arg(long, value_name = "FACTOR")]
    latency_factor: Option<f64>,
    /// With fewer answers nothing is compared [default: 50]
    #[arg(long, value_name = "NUMBER")]
    watch_requests: Option<u64>,
    /// What becomes of upgraded servers when one fails: leave, rollback [default: leave]
    #[arg(long, value_name = "WORD", value_parser = on_failure)]
    on_failure: Option<OnFailure>,
}

impl Flags {
    /// Whether they say what is done at a server.
    pub(super) fn name_driver(&self) -> bool {
        let driver = &self.driver;
        driver.external || [&driver.start, &driver.unit, &driver.container].into_iter().any(Option::is_some)
    }

    /// Puts what was given into the plan.
    pub(super) fn apply(self, plan: &mut Plan) -> Result<(), String> {
        self.batch.apply(plan);
        self.drain.apply(plan);
        self.driver.apply(plan)?;
        self.gate.apply(plan);
        self.after.apply(plan);
        Ok(())
    }
}

impl BatchFlags {
    fn apply(self, plan: &mut Plan) {
        list(&mut plan.servers, self.server);
        set(&mut plan.batch.max_unavailable, self.max_unavailable);
        some(&mut plan.batch.min_healthy, self.min_healthy);
        list(&mut plan.batch.surge, self.surge);
    }
}

impl DrainFlags {
    fn apply(self, plan: &mut Plan) {
        set(&mut plan.drain.timeout, self.drain_timeout);
        set(&mut plan.drain.on_timeout, self.on_drain_timeout);
        plan.drain.websockets &= !self.ignore_websockets;
        set(&mut plan.proxy_timeout, self.proxy_timeout.map(ProxyTimeout));
    }
}

impl DriverFlags {
    fn apply(mut self, plan: &mut Plan) -> Result<(), String> {
        for (stage, command) in std::mem::take(&mut self.hook) {
            *plan.hooks.of(stage) = Some(command);
        }
        set(&mut plan.hooks.timeout, self.hook_timeout);
        some(&mut plan.version.old, self.old_version.take());
        some(&mut plan.version.new, self.new_version.take());
        let limit = self.command_timeout;
        self.choose(&mut plan.driver)?;
        let timeout = match &mut plan.driver {
            Driver::Shell(shell) => &mut shell.timeout,
            Driver::Systemd(systemd) => &mut systemd.timeout,
            Driver::Docker(docker) => &mut docker.timeout,
            Driver::External(external) => &mut external.timeout,
        };
        set(timeout, limit);
        Ok(())
    }

    /// What the plan's file says of the same driver stays.
    fn choose(self, driver: &mut Driver) -> Result<(), String> {
        if self.external {
            if !matches!(driver, Driver::External(_)) {
                *driver = Driver::External(External::default());
            }
        } else if self.container.is_some() {
            if !matches!(driver, Driver::Docker(_)) {
                *driver = Driver::Docker(Docker::default());
            }
        } else if self.unit.is_some() {
            if !matches!(driver, Driver::Systemd(_)) {
                *driver = Driver::Systemd(Systemd::default());
            }
        } else if (self.stop.is_some() || self.start.is_some()) && !matches!(driver, Driver::Shell(_)) {
            *driver = Driver::Shell(Shell::default());
        }
        match driver {
            Driver::Docker(docker) => {
                set(&mut docker.container, self.container);
                set(&mut docker.image, self.image);
                some(&mut docker.engine, self.engine);
                set(&mut docker.grace, self.grace);
                docker.pull &= !self.no_pull;
            }
            Driver::Systemd(systemd) => {
                set(&mut systemd.unit, self.unit);
                some(&mut systemd.host, self.ssh);
                some(&mut systemd.rollback, self.rollback);
            }
            Driver::Shell(shell) => {
                some(&mut shell.stop, self.stop);
                some(&mut shell.start, self.start);
                some(&mut shell.rollback, self.rollback);
                some(&mut shell.ssh, self.ssh);
            }
            Driver::External(_) if self.ssh.is_some() || self.rollback.is_some() => {
                return Err(
                    "--ssh and --rollback belong to commands; expected --stop and --start, or --unit"
                        .to_owned(),
                );
            }
            Driver::External(_) => {}
        }
        Ok(())
    }
}

impl GateFlags {
    fn apply(self, plan: &mut Plan) {
        let gate = &mut plan.gate;
        set(&mut gate.check, self.check);
        some(&mut gate.port, self.check_port);
        set(&mut gate.method, self.check_method);
        some(&mut gate.host, self.check_host);
        set(&mut gate.expect_status, self.expect_status);
        list(&mut gate.expect_header, self.expect_header);
        some(&mut gate.expect_body, self.expect_body);
        set(&mut gate.rise, self.rise);
        set(&mut gate.interval, self.interval);
        set(&mut gate.timeout, self.check_timeout);
        set(&mut gate.deadline, self.deadline);
        set(&mut gate.min_healthy_time, self.min_healthy_time);
        some(&mut gate.through_proxy, self.through_proxy);
        some(&mut plan.warm, self.warm);
    }
}

impl AfterFlags {
    fn apply(self, plan: &mut Plan) {
        some(&mut plan.slow_start, self.slow_start);
        list(&mut plan.canary, self.canary);
        set(&mut plan.on_failure, self.on_failure);
        let judged = self.max_error_ratio.is_some()
            || self.max_connect_errors.is_some()
            || self.latency_factor.is_some()
            || self.watch_requests.is_some();
        if self.watch.is_none() && !judged {
            return;
        }
        let watch = plan.watch.get_or_insert_with(Watch::default);
        set(&mut watch.window, self.watch);
        set(&mut watch.max_error_ratio, self.max_error_ratio);
        set(&mut watch.max_connect_errors, self.max_connect_errors);
        some(&mut watch.latency_factor, self.latency_factor);
        set(&mut watch.min_requests, self.watch_requests);
    }
}

fn set<T>(place: &mut T, value: Option<T>) {
    if let Some(value) = value {
        *place = value;
    }
}

fn some<T>(place: &mut Option<T>, value: Option<T>) {
    if value.is_some() {
        *place = value;
    }
}

fn list<T>(place: &mut Vec<T>, values: Vec<T>) {
    if !values.is_empty() {
        *place = values;
    }
}

fn on_timeout(text: &str) -> Result<OnTimeout, String> {
    match text {
        "abort" => Ok(OnTimeout::Abort),
        "force" => Ok(OnTimeout::Force),
        "wait" => Ok(OnTimeout::Wait),
        _ => Err("expected abort, force or wait".to_owned()),
    }
}

fn on_failure(text: &str) -> Result<OnFailure, String> {
    match text {
        "leave" => Ok(OnFailure::Leave),
        "rollback" => Ok(OnFailure::Rollback),
        _ => Err("expected leave or rollback".to_owned()),
    }
}

fn hook(text: &str) -> Result<(Stage, String), String> {
    let (name, command) = text.split_once('=').ok_or("expected STAGE=COMMAND")?;
    let stage = Stage::ALL.into_iter().find(|stage| stage.name() == name);
    let names = Stage::ALL.map(Stage::name).join(", ");
    let stage = stage.ok_or_else(|| format!("\"{name}\" is no stage; expected one of {names}"))?;
    Ok((stage, command.to_owned()))
}

fn warm(text: &str) -> Result<Warm, String> {
    let (number, path) = text.split_once(':').unwrap_or((text, "/"));
    let requests =
        number.parse().map_err(|_| format!("\"{number}\" is no number of requests; expected one like 20"))?;
    Ok(Warm { requests, path: path.to_owned() })
}
