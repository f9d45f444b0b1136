//! `/v1/weir/`: registrations that live as long as the connection that made them.
//!
//! Below them are Consul's own means: a service with a TTL check, or a key that is bound to a session. The registry keeps
//! the clock wound up while the connection is there and removes them when it breaks. It does not when the registry itself
//! ends: after a restart every one of them has the time of its clock to come back.

use std::cell::{Cell, RefCell};
use std::collections::HashMap;
use std::net::{IpAddr, SocketAddr};
use std::time::Duration;

use hyper::StatusCode;
use serde_json::{Value, json};
use weir_registry::{Behavior, Command, KvEntry, KvWrite, Outcome, SessionRequest, Status, TxnOp, TxnVerb};

use crate::agent::ServiceBody;
use crate::http::{Answer, Context, Query, Reply, Request, Route, Shared, Verb, duration};

/// The clock of what is registered: the shortest that Consul has for sessions.
const TTL: Duration = Duration::from_secs(10);
const TTL_TEXT: &str = "10s";
/// A service whose clock has run out goes after this.
const REAP: &str = "5s";
/// The largest value of a key, in bytes.
const MOST_VALUE: usize = 64 * 1024;

pub(crate) fn routes() -> Vec<Route> {
    vec![
        Route::plain("/v1/weir/version", &[Verb::Get], version),
        Route::data("/v1/weir/register", &[Verb::Put, Verb::Post], register),
    ]
}

/// What this registry can do beyond Consul's API.
fn version(context: Shared, _request: Request) -> Reply {
    let mut features = vec!["lease"];
    if context.settings().mounted {
        // /v1/upstreams and what is below it.
        features.push("upstreams");
    }
    let answer = json!({ "Version": env!("CARGO_PKG_VERSION"), "Features": features });
    Box::pin(std::future::ready(Answer::json(&answer)))
}

/// `?service=NAME&port=PORT[&id=][&address=][&tag=]...[&meta=KEY:VALUE]...[&weight=1][&status=passing][&ttl=10s]`, or
/// `?kv=PREFIX[/ADDRESS:PORT][&port=]` with the value as the body.
///
/// Without an address the one of who asks is taken. With `ttl` the registration is not bound to the connection: the
/// check `service:ID` has to be passed within that time.
fn register(context: Shared, mut request: Request) -> Reply {
    Box::pin(async move {
        let registered = if request.query.has("kv") {
            key(&context, &mut request).await
        } else {
            service(&context, &request).await
        };
        registered.unwrap_or_else(|refused| refused)
    })
}

async fn service(context: &Shared, request: &Request) -> Result<Answer, Answer> {
    let query = &request.query;
    let name = query.first("service").filter(|name| !name.is_empty()).ok_or_else(|| {
        Answer::bad(
            "no service= in the query; expected /v1/weir/register?service=NAME&port=PORT or ?kv=PREFIX",
        )
    })?;
    let (address, port) = place(context, request)?;
    let id = query.first("id").filter(|id| !id.is_empty());
    let id = id.map_or_else(|| format!("{name}-{address}-{port}"), str::to_owned);
    let ttl = query.first("ttl");
    if ttl.is_some_and(|ttl| duration::parse(ttl).is_none_or(|nanos| nanos <= 0)) {
        return Err(Answer::bad("ttl= is no time; expected a number with a unit, as 10s"));
    }
    let status = match query.first("status").unwrap_or("passing") {
        "passing" => Status::Passing,
        "warning" => Status::Warning,
        "critical" => Status::Critical,
        other => return Err(Answer::bad(format!("status {other:?}; expected passing, warning or critical"))),
    };
    let mut definition = json!({
        "Name": name, "ID": id, "Address": address.to_string(), "Port": port,
        "Tags": query.all("tag").collect::<Vec<_>>(), "Meta": meta(query)?,
        "Check": { "CheckID": format!("service:{id}"), "TTL": ttl.unwrap_or(TTL_TEXT), "Status": "critical" },
    });
    if let Some(weight) = query.first("weight") {
        let weight: u16 =
            weight.parse().map_err(|_| Answer::bad(format!("weight {weight:?}; expected 1 to 65535")))?;
        let weights = json!({ "Passing": weight, "Warning": weight });
        definition.as_object_mut().map(|fields| fields.insert("Weights".to_owned(), weights));
    }
    if ttl.is_none()
        && let Some(check) = definition.get_mut("Check").and_then(Value::as_object_mut)
    {
        check.insert("DeregisterCriticalServiceAfter".to_owned(), REAP.into());
    }
    let body: ServiceBody = context.decode(definition.to_string().as_bytes())?;
    let (service, checks) = body.agent()?;
    context.write(Command::AgentServiceRegister { service, checks, replace_checks: true }).await?;
    let update = Command::CheckUpdate {
        id: format!("service:{id}"),
        status,
        output: if ttl.is_none() { "its connection is there" } else { "" }.to_owned(),
    };
    context.write(update).await?;
    let line = json!({ "ID": id, "Address": address.to_string(), "Port": port });
    if ttl.is_some() {
        return Ok(Answer::json(&line));
    }
    Ok(first_line(&line).held(Lease::of_service(context, id)))
}

fn meta(query: &Query) -> Result<HashMap<&str, &str>, Answer> {
    let pair = |text| {
        str::split_once(text, ':')
            .ok_or_else(|| Answer::bad(format!("meta={text} has no colon; expected meta=KEY:VALUE")))
    };
    query.all("meta").map(pair).collect()
}

/// The address and the port of what is registered.
fn place(context: &Context, request: &Request) -> Result<(IpAddr, u16), Answer> {
    let port = request.query.first("port").unwrap_or_default();
    let port: u16 = port
        .parse()
        .ok()
        .filter(|port| *port > 0)
        .ok_or_else(|| Answer::bad(format!("port {port:?}; expected port=1 to port=65535")))?;
    let address = match request.query.first("address").unwrap_or_default() {
        "" => request.peer.unwrap_or(context.settings().address),
        text => text.parse().map_err(|_| {
            Answer::bad(format!("address {text:?}; expected an IP address, or none for your own"))
        })?,
    };
    Ok((address, port))
}

async fn key(context: &Shared, request: &mut Request) -> Result<Answer, Answer> {
    let key = key_name(context, request)?;
    let body = request.body(MOST_VALUE, "kv_max_value_size")?;
    let found = context.engine.read(|state| state.kv(key.as_bytes()).data.clone());
    let value = match (&found, body.is_empty()) {
        // What others have written there stays.
        (Some(entry), _) if !entry.value.is_empty() => entry.value.to_vec(),
        (_, false) => body.to_vec(),
        (_, true) => b"{}".to_vec(),
    };
    let id = crate::uuid::random().map_err(|error| {
        Answer::text(StatusCode::INTERNAL_SERVER_ERROR, format!("no random numbers for an id: {error}"))
    })?;
    let session = SessionRequest {
        id: id.clone(),
        name: format!("weir:{key}"),
        node: String::new(),
        lock_delay: Duration::ZERO,
        behavior: Behavior::Delete,
        ttl: Some(TTL),
        ttl_text: TTL_TEXT.to_owned(),
        node_checks: vec!["serfHealth".to_owned()],
        service_checks: Vec::new(),
    };
    context.write(Command::SessionCreate(session)).await?;
    // From here on the session goes if anything fails.
    let lease = Lease { context: context.clone(), held: Held::Key { session: id.clone() } };
    bind(context, key.clone().into_bytes(), value, found.as_deref(), &id).await?;
    Ok(first_line(&json!({ "Key": key, "Session": id })).held(lease))
}

/// `PREFIX/ADDRESS:PORT`, of which the last part may be left out.
fn key_name(context: &Context, request: &Request) -> Result<String, Answer> {
    let path = request.query.first("kv").unwrap_or_default().trim_matches('/');
    let last = path.rsplit('/').next().unwrap_or_default();
    if last.parse::<SocketAddr>().is_ok() {
        return Ok(path.to_owned());
    }
    if path.is_empty() {
        return Err(Answer::bad(
            "kv= is empty; expected kv=PREFIX/ADDRESS:PORT, or kv=PREFIX with port=PORT",
        ));
    }
    let (address, port) = place(context, request)?;
    Ok(format!("{path}/{}", SocketAddr::new(address, port)))
}

/// Binds a key to a session. It is taken from the session that held it, which was of an earlier life of the same peer.
async fn bind(
    context: &Context,
    key: Vec<u8>,
    value: Vec<u8>,
    found: Option<&KvEntry>,
    session: &str,
) -> Result<(), Answer> {
    let Some(old) = found.and_then(|entry| entry.session.clone()) else {
        let write = KvWrite::Acquire { key, value, flags: 0, session: session.to_owned() };
        return match context.write(Command::Kv(write)).await? {
            Outcome::Bool(false) => Err(Answer::text(
                StatusCode::CONFLICT,
                "the key was taken by somebody else just now; ask again",
            )),
            _ => Ok(()),
        };
    };
    let op = |verb, session: &str| TxnOp {
        verb,
        key: key.clone(),
        value: value.clone(),
        flags: 0,
        index: 0,
        session: session.to_owned(),
    };
    let ops = vec![op(TxnVerb::Unlock, &old), op(TxnVerb::Lock, session)];
    context.write(Command::Txn(ops)).await?;
    context.write(Command::SessionDestroy { id: old }).await?;
    Ok(())
}

fn first_line(value: &Value) -> Answer {
    Answer::bytes(format!("{value}\n"), "application/x-ndjson")
}

/// The leases of services that are held, and whether their end counts.
#[derive(Default)]
pub(crate) struct Leases {
    /// By service: the newest lease of it.
    newest: RefCell<HashMap<String, u64>>,
    last: Cell<u64>,
    /// The registry ends, and not those who registered.
    kept: Cell<bool>,
}

impl Leases {
    /// From now on a lease that ends leaves its registration as it is.
    pub(crate) fn keep(&self) {
        self.kept.set(true);
    }
}

/// One registration; it goes when this is dropped.
pub(crate) struct Lease {
    context: Shared,
    held: Held,
}

enum Held {
    Service { id: String, number: u64 },
    Key { session: String },
}

impl std::fmt::Debug for Lease {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match &self.held {
            Held::Service { id, .. } => write!(f, "Lease of {id}"),
            Held::Key { .. } => f.write_str("Lease of a key"),
        }
    }
}

impl Lease {
    /// Who registers again has a new connection; the old one may end later and must not take the new one's service away.
    fn of_service(context: &Shared, id: String) -> Self {
        let leases = &context.leases;
        let number = leases.last.get() + 1;
        leases.last.set(number);
        leases.newest.borrow_mut().insert(id.clone(), number);
        Self { context: context.clone(), held: Held::Service { id, number } }
    }

    /// Winds the clock up; false: what was registered is not there any more.
    pub(crate) async fn renew(&self) -> bool {
        let command = match &self.held {
            Held::Service { id, .. } => Command::CheckRenew { id: format!("service:{id}") },
            Held::Key { session } => Command::SessionRenew { id: session.clone() },
        };
        self.context.try_write(command).await.is_ok()
    }
}

impl Drop for Lease {
    fn drop(&mut self) {
        let leases = &self.context.leases;
        if leases.kept.get() {
            return;
        }
        match &self.held {
            Held::Service { id, number } => {
                let mut newest = leases.newest.borrow_mut();
                if newest.get(id) == Some(number) {
                    newest.remove(id);
                    self.context.engine.order(Command::AgentServiceDeregister { id: id.clone() });
                }
            }
            Held::Key { session } => {
                self.context.engine.order(Command::SessionDestroy { id: session.clone() })
            }
        }
    }
}
