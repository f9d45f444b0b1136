//! `weir service`: applications that register themselves.

use std::ffi::OsString;
use std::net::{IpAddr, SocketAddr};
use std::path::PathBuf;
use std::process::ExitCode;
use std::sync::Arc;
use std::time::Duration;

use clap::{Args, Subcommand};
use hyper::header::{AUTHORIZATION, HeaderMap, HeaderValue};
use weir_model::Endpoint;
use weir_model::source::ClientTls;
use weir_serve_admin::parse_time;
use weir_serve_discovery::client::{self, Client};
use weir_serve_service::{
    BoxFuture, Check, Form, Log, Place, Plan, Proxy, Reply, Row, Stream, Transport, deregister, drain, list,
    register, run,
};

use super::link::store;

/// The time that was given to a wait is over.
const OVER: u8 = 3;

/// What `weir service` is told.
#[derive(Args, Debug)]
#[command(after_help = "Examples:\n  \
    weir service run --service web --port 8080 --check /health -- ./app --port 8080\n  \
    weir service run --service web --port 8080 --registry 10.0.0.2:8500 --kv upstreams/web -- ./app\n  \
    weir service list\n  \
    weir service drain web-10.0.0.7-8080 --peer 10.0.0.7:8080 --proxy 10.0.0.2:8081\n\n\
    Exit code of run: that of the application, 128+N if signal N ended it, 127 or 126 if it could not be started,\n\
    1 if it was not ready in time. Of the others 0: done; 1: refused or no answer; 3: the drain took too long.")]
pub(super) struct Words {
    #[command(subcommand)]
    action: Action,
}

#[derive(Subcommand, Debug)]
enum Action {
    /// Start an application, and have it in the registry as long as it runs and its check passes
    ///
    /// SIGTERM and SIGINT drain first: they are passed on when no proxy serves anybody there any more, or after the
    /// drain timeout; a second one is passed on at once. All other signals are passed on to the application's process
    /// group. Its input, output and exit code are its own; as process 1 of a container orphans are reaped. On a
    /// terminal the application is a background job: it cannot read the keyboard.
    Run(Run),
    /// Register once, with a check that the registry runs itself
    Register(Register),
    /// Take an instance out of the registry
    Deregister {
        /// Its id, or with --kv its ADDRESS:PORT
        id: String,
        #[command(flatten)]
        registry: Registry,
    },
    /// Take an instance out of traffic, or put it back
    Drain {
        /// Its id, or with --kv its ADDRESS:PORT
        id: String,
        /// Back into traffic
        #[arg(long)]
        off: bool,
        /// Its address, to wait until no proxy serves anybody there
        #[arg(long, value_name = "ADDRESS:PORT", requires_all = ["proxy", "upstream"])]
        peer: Option<SocketAddr>,
        /// What the proxies call the upstream
        #[arg(long, value_name = "NAME")]
        upstream: Option<String>,
        /// How long to wait at most
        #[arg(long, value_name = "TIME", value_parser = parse_time, default_value = "30s")]
        drain_timeout: Duration,
        #[command(flatten)]
        proxies: Proxies,
        #[command(flatten)]
        registry: Registry,
    },
    /// Show the instances that are registered
    List {
        /// One service; without it all
        #[arg(conflicts_with = "kv")]
        service: Option<String>,
        #[command(flatten)]
        registry: Registry,
    },
}

#[derive(Args, Debug)]
struct Registry {
    /// The registry, or several addresses of one: HOST:PORT, https://HOST:PORT, unix:PATH
    #[arg(long, value_name = "ADDRESS", value_delimiter = ',', default_value = "127.0.0.1:8500")]
    registry: Vec<String>,
    /// A file with the token that the registry wants
    #[arg(long, value_name = "FILE")]
    token_file: Option<PathBuf>,
    /// A PEM file: whom to trust where the registry is https://; without it the roots of the machine
    #[arg(long, value_name = "FILE")]
    registry_ca: Option<String>,
    /// Instances are keys PREFIX/ADDRESS:PORT with nginx-upsync's attributes, and not services
    #[arg(long, value_name = "PREFIX")]
    kv: Option<String>,
}

#[derive(Args, Debug)]
struct Proxies {
    /// The control API of a proxy that says who is still served: HOST:PORT or unix:PATH; may be given several times
    #[arg(long, value_name = "ADDRESS", value_delimiter = ',')]
    proxy: Vec<String>,
    /// A file with the token that the proxies want
    #[arg(long, value_name = "FILE")]
    proxy_token_file: Option<PathBuf>,
}

#[derive(Args, Debug)]
struct Instance {
    /// The service's name
    #[arg(long, value_name = "NAME")]
    service: String,
    /// The application's port
    #[arg(long, value_parser = clap::value_parser!(u16).range(1..))]
    port: u16,
    /// The application's address; without it the one from which this machine reaches the registry
    #[arg(long)]
    address: Option<IpAddr>,
    /// The id in the registry; without it SERVICE-ADDRESS-PORT
    #[arg(long)]
    id: Option<String>,
    /// May be given several times
    #[arg(long)]
    tag: Vec<String>,
    /// May be given several times
    #[arg(long, value_name = "KEY=VALUE", value_parser = pair)]
    meta: Vec<(String, String)>,
    /// Its share of the requests
    #[arg(long, default_value_t = 1, value_parser = clap::value_parser!(u16).range(1..))]
    weight: u16,
    /// tcp, a path as /health, or http://HOST:PORT/PATH
    #[arg(long, default_value = "tcp")]
    check: String,
    /// From check to check
    #[arg(long, value_name = "TIME", value_parser = parse_time, default_value = "1s")]
    interval: Duration,
    /// Checks in a row that have to pass
    #[arg(long, default_value_t = 1, value_parser = clap::value_parser!(u32).range(1..))]
    rise: u32,
    /// Checks in a row that have to fail
    #[arg(long, default_value_t = 2, value_parser = clap::value_parser!(u32).range(1..))]
    fall: u32,
    #[command(flatten)]
    registry: Registry,
}

#[derive(Args, Debug)]
struct Register {
    #[command(flatten)]
    instance: Instance,
}

#[derive(Args, Debug)]
struct Run {
    #[command(flatten)]
    instance: Instance,
    /// The application has to be ready by then, or is ended; 0: whenever it likes
    #[arg(long, value_name = "TIME", value_parser = parse_time, default_value = "60s")]
    start_deadline: Duration,
    /// How long the end of requests is waited for at most
    #[arg(long, value_name = "TIME", value_parser = parse_time, default_value = "30s")]
    drain_timeout: Duration,
    /// The application says by sd_notify when it is ready, instead of the first check, and when it stops
    #[arg(long)]
    notify: bool,
    /// What the proxies call the upstream; without it the service's name
    #[arg(long, value_name = "NAME")]
    upstream: Option<String>,
    #[command(flatten)]
    proxies: Proxies,
    /// The application and its words
    #[arg(last = true, required = true)]
    command: Vec<OsString>,
}

impl Words {
    /// Whether signals are waited for and not suffered.
    pub(super) fn waits_for_signals(&self) -> bool {
        matches!(self.action, Action::Run(_))
    }
}

/// Does what the words say.
pub(super) fn run_words(words: Words) -> ExitCode {
    let runtime = match tokio::runtime::Builder::new_current_thread().enable_all().build() {
        Ok(runtime) => runtime,
        Err(error) => return failed(&error.to_string()),
    };
    match runtime.block_on(obey(words.action)) {
        Ok(code) => code,
        Err(text) => failed(&text),
    }
}

fn failed(text: &str) -> ExitCode {
    eprintln!("weir: {text}");
    ExitCode::FAILURE
}

async fn obey(action: Action) -> Result<ExitCode, String> {
    let log: Log = Arc::new(|text| eprintln!("weir service: {text}"));
    match action {
        Action::Run(words) => {
            let proxies = words.proxies.open()?;
            let registry = words.instance.registry.open()?;
            let mut plan = words.instance.plan()?;
            plan.start_deadline = words.start_deadline;
            plan.drain_timeout = words.drain_timeout;
            plan.notify = words.notify;
            plan.supervisor = std::env::var_os("NOTIFY_SOCKET").filter(|socket| !socket.is_empty());
            plan.upstream = words.upstream.unwrap_or_else(|| plan.service.clone());
            plan.command = words.command;
            return Ok(run(plan, registry, proxies, log).await.into());
        }
        Action::Register(words) => {
            let registry = words.instance.registry.open()?;
            let id = register(&*registry, &words.instance.plan()?).await?;
            println!("{id} is registered");
        }
        Action::Deregister { id, registry } => {
            let (form, id) = registry.named(&id);
            deregister(&*registry.open()?, &form, &id).await?;
            println!("{id} is not registered any more");
        }
        Action::Drain { id, off, peer, upstream, drain_timeout, proxies, registry } => {
            let (form, id) = registry.named(&id);
            let (proxies, peer) = (proxies.open()?, peer.map(|peer| peer.to_string()));
            let wait = peer.as_deref().zip(upstream.as_deref());
            let wait = wait.map(|(peer, upstream)| (upstream, peer, proxies.as_slice(), drain_timeout));
            let quiet = drain(registry.open()?, &form, &id, !off, wait, &log).await?;
            match (off, quiet, wait.is_some()) {
                (true, ..) => println!("{id} gets traffic again"),
                (_, false, _) => {
                    eprintln!("weir: {id} drains, but requests still run after {drain_timeout:?}");
                    return Ok(OVER.into());
                }
                (_, _, true) => println!("{id} is drained, no request is left"),
                (_, _, false) => println!("{id} drains"),
            }
        }
        Action::List { service, registry } => {
            let rows = list(&*registry.open()?, &registry.form(), service.as_deref()).await?;
            print!("{}", table(&rows));
        }
    }
    Ok(ExitCode::SUCCESS)
}

fn table(rows: &[Row]) -> String {
    let head = ["SERVICE", "ID", "ADDRESS", "STATUS", "TAGS"].map(str::to_owned);
    let cells = rows.iter().map(|row| {
        [row.service.clone(), row.id.clone(), row.address.clone(), row.status.clone(), row.tags.join(",")]
    });
    let lines: Vec<[String; 5]> = std::iter::once(head).chain(cells).collect();
    let width =
        |column: usize| lines.iter().map(|line| line.get(column).map_or(0, String::len)).max().unwrap_or(0);
    let widths = [0, 1, 2, 3].map(width);
    let line = |[service, id, address, status, tags]: &[String; 5]| {
        let [one, two, three, four] = widths;
        let line = format!("{service:one$}  {id:two$}  {address:three$}  {status:four$}  {tags}");
        format!("{}\n", line.trim_end())
    };
    lines.iter().map(line).collect()
}

impl Instance {
    fn plan(&self) -> Result<Plan, String> {
        let place = match self.address {
            Some(address) if address.is_unspecified() => {
                return Err(format!(
                    "--address {address} is nowhere; give the address that proxies connect to"
                ));
            }
            Some(address) => Place::Address(address),
            None => self.registry.place()?,
        };
        Ok(Plan {
            service: self.service.clone(),
            port: self.port,
            place,
            id: self.id.clone(),
            tags: self.tag.clone(),
            meta: self.meta.clone(),
            weight: self.weight,
            form: self.registry.form(),
            check: Check::parse(&self.check, self.port).map_err(|error| error.to_string())?,
            interval: self.interval.max(Duration::from_millis(50)),
            rise: self.rise,
            fall: self.fall,
            start_deadline: Duration::ZERO,
            drain_timeout: Duration::ZERO,
            notify: false,
            supervisor: None,
            upstream: self.service.clone(),
            ttl: Duration::from_secs(15),
            command: Vec::new(),
        })
    }
}

impl Registry {
    fn form(&self) -> Form {
        match &self.kv {
            Some(prefix) => Form::Key { prefix: prefix.trim_matches('/').to_owned() },
            None => Form::Service,
        }
    }

    /// How an instance is known that was named in the command.
    fn named(&self, id: &str) -> (Form, String) {
        let form = self.form();
        let id = match &form {
            Form::Key { prefix } => format!("{prefix}/{id}"),
            Form::Service => id.to_owned(),
        };
        (form, id)
    }

    fn open(&self) -> Result<Arc<dyn Transport>, String> {
        let token = self.token_file.as_deref().map(super::token).transpose()?;
        let tls = ClientTls { ca: self.registry_ca.clone(), ..ClientTls::default() };
        let store = store(&self.registry, token, tls)?;
        Ok(Arc::new(Line { client: Client::new(&store, None), headers: HeaderMap::new() }))
    }

    /// A registry on this machine has its services at 127.0.0.1.
    fn place(&self) -> Result<Place, String> {
        let hosts =
            store(&self.registry, None, ClientTls::default())?.endpoints.into_iter().filter_map(|endpoint| {
                match endpoint {
                    Endpoint::Host { host, port } => Some((host, port)),
                    _ => None,
                }
            });
        let hosts: Vec<_> = hosts.collect();
        let here = Place::Address(IpAddr::from([127, 0, 0, 1]));
        Ok(if hosts.is_empty() { here } else { Place::Towards(hosts) })
    }
}

impl Proxies {
    fn open(&self) -> Result<Vec<Proxy>, String> {
        let mut headers = HeaderMap::new();
        if let Some(file) = &self.proxy_token_file {
            let token = format!("Bearer {}", super::token(file)?.0);
            let mut value = HeaderValue::from_str(&token).map_err(|_| {
                format!("{}: the token has characters that a header cannot have", file.display())
            })?;
            value.set_sensitive(true);
            headers.insert(AUTHORIZATION, value);
        }
        let open = |address: &String| {
            let store = store(std::slice::from_ref(address), None, ClientTls::default())?;
            Ok(Arc::new(Line { client: Client::new(&store, None), headers: headers.clone() }) as Proxy)
        };
        self.proxy.iter().map(open).collect()
    }
}

fn pair(text: &str) -> Result<(String, String), String> {
    let (key, value) =
        text.split_once('=').ok_or_else(|| format!("{text:?} has no =; expected KEY=VALUE"))?;
    Ok((key.to_owned(), value.to_owned()))
}

/// The client of stores, as an application's registration asks it.
struct Line {
    client: Client,
    headers: HeaderMap,
}

impl Transport for Line {
    fn name(&self) -> String {
        self.client.endpoint()
    }

    fn send<'a>(
        &'a self,
        method: &'a str,
        path_and_query: &'a str,
        body: Vec<u8>,
        timeout: Duration,
    ) -> BoxFuture<'a, Result<Reply, String>> {
        Box::pin(async move {
            let method = method.parse().map_err(|_| format!("method {method:?}"))?;
            let reply =
                self.client.send(method, path_and_query, self.headers.clone(), body.into(), timeout).await;
            let reply = reply.map_err(|error| error.to_string())?;
            Ok(Reply { status: reply.status.as_u16(), body: reply.body.to_vec() })
        })
    }

    fn open<'a>(
        &'a self,
        path_and_query: &'a str,
        body: Vec<u8>,
        timeout: Duration,
    ) -> BoxFuture<'a, Result<Box<dyn Stream>, String>> {
        Box::pin(async move {
            // The client opens a stream to the store that has answered just now, and to no other.
            self.send("GET", "/v1/weir/version", Vec::new(), timeout).await?;
            let stream = self.client.open(path_and_query, self.headers.clone(), body.into(), timeout).await;
            let stream = stream.map_err(|error| error.to_string())?;
            if stream.status == 200 {
                return Ok(Box::new(Lines(stream)) as Box<dyn Stream>);
            }
            let status = stream.status;
            let text = stream.rest().await.map_err(|error| error.to_string())?;
            Err(format!("status {}: {}", status.as_u16(), String::from_utf8_lossy(&text)))
        })
    }
}

struct Lines(client::Stream);

impl Stream for Lines {
    fn next(&mut self) -> BoxFuture<'_, Result<Option<Vec<u8>>, String>> {
        Box::pin(async move {
            let piece = self.0.next().await.map_err(|error| error.to_string())?;
            Ok(piece.map(|piece| piece.to_vec()))
        })
    }
}
