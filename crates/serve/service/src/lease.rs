//! The registration of one instance: made, renewed, made again when it was lost, and given up.

use std::sync::Arc;
use std::time::Duration;

use tokio::sync::watch;
use tokio::time::{Instant, timeout, timeout_at};

use crate::plan::{Form, Instance, Plan};
use crate::transport::{Log, Stream, Transport};
use crate::{key, service};

const PATIENCE: Duration = Duration::from_secs(3);
/// A connection that brings no line for so long is dead; one comes each second.
const SILENCE: Duration = Duration::from_secs(3);
/// From try to try.
const FIRST_RETRY: Duration = Duration::from_millis(250);
const LAST_RETRY: Duration = Duration::from_secs(2);
/// Giving up may take so long in all: the application has ended already, and what stays behind runs out.
const LEAVE: Duration = Duration::from_secs(3);

/// How the instance should be seen.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Wish {
    Serve,
    /// Its check fails; what was seen.
    Failing(String),
    Drain,
    Leave,
}

impl Wish {
    /// The status of its check. A drain is said by maintenance.
    pub(crate) fn status(&self) -> &'static str {
        if matches!(self, Self::Failing(_)) { "critical" } else { "passing" }
    }

    /// The status of its check until everything is said: nobody is sent there meanwhile who should not be.
    pub(crate) fn first_status(&self) -> &'static str {
        if *self == Self::Serve { "passing" } else { "critical" }
    }

    pub(crate) fn output(&self) -> &str {
        if let Self::Failing(text) = self { text } else { "the application's check passes" }
    }
}

/// Why something was not done.
#[derive(Debug)]
pub(crate) enum Problem {
    /// The registry does not know the instance any more.
    Lost(String),
    Failed(String),
}

impl Problem {
    pub(crate) fn text(self) -> String {
        let (Self::Lost(text) | Self::Failed(text)) = self;
        text
    }
}

/// What holds a registration.
enum Hold {
    /// As long as this is open.
    Connection { stream: Box<dyn Stream>, heard: Instant },
    /// Renewed every third of the time.
    Clock,
}

struct Registered {
    hold: Hold,
    /// Of a key.
    session: String,
    /// What the registry was told last.
    told: Option<Wish>,
}

pub(crate) struct Lease {
    transport: Arc<dyn Transport>,
    plan: Plan,
    log: Log,
    instance: Option<Instance>,
    registered: Option<Registered>,
    problem: Option<String>,
}

impl Lease {
    pub(crate) fn new(transport: Arc<dyn Transport>, plan: Plan, log: Log) -> Self {
        Self { transport, plan, log, instance: None, registered: None, problem: None }
    }

    /// Keeps the registry at what is wished, until `Leave`. `standing` is what it was told last.
    pub(crate) async fn keep(
        mut self,
        mut wish: watch::Receiver<Wish>,
        standing: watch::Sender<Option<Wish>>,
    ) {
        let mut retry = FIRST_RETRY;
        loop {
            let wanted = wish.borrow_and_update().clone();
            if wanted == Wish::Leave {
                return self.leave().await;
            }
            let pause = match self.reach(&wanted).await {
                Ok(()) => {
                    retry = FIRST_RETRY;
                    standing.send_replace(Some(wanted));
                    self.beat()
                }
                Err(text) => {
                    standing.send_replace(None);
                    self.tell(text);
                    retry = (retry * 2).min(LAST_RETRY);
                    retry
                }
            };
            tokio::select! {
                changed = wish.changed() => {
                    if changed.is_err() {
                        return self.leave().await;
                    }
                }
                () = tokio::time::sleep(pause) => {}
                text = lost(self.registered.as_mut()) => {
                    self.registered = None;
                    standing.send_replace(None);
                    self.tell(text);
                }
            }
        }
    }

    fn beat(&self) -> Duration {
        match self.plan.form {
            Form::Service => self.plan.ttl / 3,
            Form::Key { .. } => Duration::from_secs(3),
        }
    }

    fn tell(&mut self, text: String) {
        if self.problem.as_ref() != Some(&text) {
            (self.log)(format!("registry {}: {text}; tried again and again", self.transport.name()));
            self.problem = Some(text);
        }
    }

    /// Registers if need be, and says how the instance is.
    async fn reach(&mut self, wish: &Wish) -> Result<(), String> {
        let instance = match &self.instance {
            Some(instance) => instance.clone(),
            None => self.instance.insert(Instance::of(&self.plan).await?).clone(),
        };
        if self.registered.is_some() {
            match self.report(&instance, wish).await {
                Err(Problem::Lost(text)) => {
                    (self.log)(format!(
                        "registry {}: it has lost {}: {text}",
                        self.transport.name(),
                        instance.id
                    ));
                    self.registered = None;
                }
                done => return done.map_err(Problem::text),
            }
        }
        let registered = self.register(&instance, wish).await?;
        let how = match registered.hold {
            Hold::Connection { .. } => "as long as the connection lasts".to_owned(),
            Hold::Clock => format!("renewed every {:?}", self.beat()),
        };
        self.registered = Some(registered);
        self.report(&instance, wish).await.map_err(|problem| {
            self.registered = None;
            problem.text()
        })?;
        self.problem = None;
        let what = match &self.plan.form {
            Form::Service => format!("service {} as {}", self.plan.service, instance.id),
            Form::Key { prefix } => format!("key {}", key::name(prefix, &instance)),
        };
        (self.log)(format!("registered at {}: {what}, {}, {how}", self.transport.name(), instance.address));
        Ok(())
    }

    async fn register(&mut self, instance: &Instance, wish: &Wish) -> Result<Registered, String> {
        let transport = Arc::clone(&self.transport);
        let transport = &*transport;
        let clock = |session| Registered { hold: Hold::Clock, session, told: None };
        let leases = has_leases(transport).await?;
        match &self.plan.form.clone() {
            Form::Service if leases => self.connect(&service::query(instance, wish), Vec::new()).await,
            Form::Service => {
                service::register(transport, instance, wish).await.map(|()| clock(String::new()))
            }
            Form::Key { prefix } if leases => {
                let path = crate::transport::escape(&key::name(prefix, instance));
                let value = serde_json::Value::Object(key::attributes(instance)).to_string();
                let path = format!("/v1/weir/register?kv={path}");
                self.connect(&path, value.into_bytes()).await
            }
            Form::Key { prefix } => {
                key::create_session(transport, &key::name(prefix, instance)).await.map(clock)
            }
        }
    }

    /// Opens the connection that holds the registration, and reads its first line.
    async fn connect(&mut self, path: &str, body: Vec<u8>) -> Result<Registered, String> {
        let mut stream = self.transport.open(path, body, PATIENCE).await?;
        let line =
            timeout(SILENCE, stream.next()).await.map_err(|_| "no first line within 3 s".to_owned())??;
        let line = line.ok_or_else(|| "the registry ended the connection at once".to_owned())?;
        let session = match self.plan.form {
            Form::Service => String::new(),
            Form::Key { .. } => key::session(&line)?,
        };
        Ok(Registered { hold: Hold::Connection { stream, heard: Instant::now() }, session, told: None })
    }

    async fn report(&mut self, instance: &Instance, wish: &Wish) -> Result<(), Problem> {
        let Some(registered) = &mut self.registered else { return Ok(()) };
        let transport = &*self.transport;
        let clock = matches!(registered.hold, Hold::Clock);
        match &self.plan.form {
            Form::Key { prefix } => {
                if clock {
                    key::renew_session(transport, &registered.session).await?;
                }
                let key = key::name(prefix, instance);
                key::put(transport, &key, instance, &registered.session, wish).await?;
            }
            Form::Service => {
                let drains = |wish: &Wish| *wish == Wish::Drain;
                let drained = registered.told.as_ref().map(drains);
                if drained != Some(drains(wish)) {
                    let reason = "drained by weir service";
                    service::maintenance(transport, &instance.id, drains(wish), reason).await?;
                }
                if clock || registered.told.as_ref() != Some(wish) {
                    service::report(transport, instance, wish).await?;
                }
            }
        }
        registered.told = Some(wish.clone());
        Ok(())
    }

    async fn leave(mut self) {
        let (Some(instance), Some(registered)) = (self.instance.take(), self.registered.take()) else {
            return;
        };
        let transport = &*self.transport;
        let leaving = async {
            match self.plan.form {
                Form::Service => service::deregister(transport, &instance.id).await,
                Form::Key { .. } => key::destroy_session(transport, &registered.session).await,
            }
        };
        let left = timeout_at(Instant::now() + LEAVE, leaving).await;
        match left.unwrap_or_else(|_| Err("no answer within 3 s".to_owned())) {
            Ok(()) => (self.log)(format!("deregistered at {}", transport.name())),
            Err(text) => (self.log)(format!(
                "registry {}: {text}; the registration runs out by itself",
                transport.name()
            )),
        }
    }
}

/// Whether registrations can live as long as their connection: only Weir's registry knows the question.
async fn has_leases(transport: &dyn Transport) -> Result<bool, String> {
    let reply = transport.send("GET", "/v1/weir/version", Vec::new(), PATIENCE).await?;
    match reply.status {
        200 => Ok(true),
        401 | 403 => Err(format!("status {}: {}; is the token right?", reply.status, reply.text())),
        _ => Ok(false),
    }
}

/// Ready when the connection that holds the registration is dead.
async fn lost(registered: Option<&mut Registered>) -> String {
    let Some(Registered { hold: Hold::Connection { stream, heard }, .. }) = registered else {
        return std::future::pending().await;
    };
    loop {
        match timeout_at(*heard + SILENCE, stream.next()).await {
            Ok(Ok(Some(_))) => *heard = Instant::now(),
            Ok(Ok(None)) => return "it has ended the registration".to_owned(),
            Ok(Err(text)) => return text,
            Err(_) => return format!("nothing was heard for {SILENCE:?}"),
        }
    }
}
