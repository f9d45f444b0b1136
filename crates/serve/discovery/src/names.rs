//! Names to addresses, with the time to live of the answers.

use std::collections::HashMap;
use std::net::IpAddr;
use std::pin::Pin;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use tokio::sync::mpsc::{UnboundedReceiver, UnboundedSender, unbounded_channel};
use tokio::sync::oneshot;
use tokio::time::Instant;
use weir_discovery::dns::lifetime;
use weir_model::Resolver;

use crate::dns::{Dns, Failure};

/// A future that can be kept and moved.
pub type BoxFuture<'a, T> = Pin<Box<dyn Future<Output = T> + Send + 'a>>;

/// How long it is remembered that a name has no address.
const FAILED: Duration = Duration::from_secs(1);

/// A cache forgets everything when it has more names: `proxy_pass` may take them from clients.
const NAMES: usize = 10_000;

/// Looks names up, for `proxy_pass` with variables and for whoever has names of peers.
///
/// One task asks the name servers. Each clone has a cache of its own, so data threads that have a clone each share
/// nothing; a clone for every request would ask the task each time.
pub struct Names {
    questions: UnboundedSender<Question>,
    cache: Arc<Mutex<Cache>>,
    dns: Arc<Dns>,
}

/// What was found, and how long it holds.
#[derive(Clone, Debug)]
pub(crate) struct Found {
    pub(crate) addresses: Result<Arc<[IpAddr]>, Failure>,
    pub(crate) until: Instant,
}

struct Question {
    resolver: Resolver,
    name: String,
    answer: oneshot::Sender<Found>,
}

/// By name, then by resolver: there are few of the latter.
#[derive(Default)]
struct Cache(HashMap<String, Vec<(Resolver, Found)>>);

impl Names {
    /// Starts the task that asks; inside a tokio runtime, which has to run as long as names are looked up.
    #[must_use]
    pub fn new() -> Self {
        let (questions, asked) = unbounded_channel();
        let dns = Arc::default();
        tokio::spawn(answer(asked, Arc::clone(&dns)));
        Self { questions, cache: Arc::default(), dns }
    }

    /// The addresses of a name, or the address that is written there. Name servers turn the order of the addresses; it
    /// is left as it comes.
    ///
    /// # Errors
    /// In nginx's words: `3: Host not found`, `110: Operation timed out`, `2: Server failure`.
    #[must_use]
    pub fn lookup(
        &self,
        resolver: &Resolver,
        name: &str,
    ) -> BoxFuture<'static, Result<Arc<[IpAddr]>, String>> {
        let found = self.find(resolver, name);
        Box::pin(async move { found.await.addresses.map_err(|failure| failure.to_string()) })
    }

    pub(crate) fn find(&self, resolver: &Resolver, name: &str) -> BoxFuture<'static, Found> {
        let literal = name.strip_prefix('[').and_then(|name| name.strip_suffix(']')).unwrap_or(name);
        if let Ok(ip) = literal.parse::<IpAddr>() {
            let until = Instant::now() + Duration::from_secs(3600);
            return Box::pin(async move { Found { addresses: Ok(Arc::new([ip])), until } });
        }
        if let Some(found) = lock(&self.cache).find(resolver, name) {
            return Box::pin(async move { found });
        }
        let (answer, answered) = oneshot::channel();
        let question = Question { resolver: resolver.clone(), name: name.to_ascii_lowercase(), answer };
        // An error here is one of `answered` as well.
        let _ = self.questions.send(question);
        let cache = Arc::clone(&self.cache);
        let (resolver, name) = (resolver.clone(), name.to_owned());
        Box::pin(async move {
            // The task keeps to the limit; the second is for the way there and back.
            let limit = resolver.timeout.duration() + Duration::from_secs(1);
            let failed = |failure| Found { addresses: Err(failure), until: Instant::now() };
            match tokio::time::timeout(limit, answered).await {
                Ok(Ok(found)) => {
                    lock(&cache).put(resolver, name, found.clone());
                    found
                }
                Ok(Err(_)) => failed(Failure::Server),
                Err(_) => failed(Failure::Timeout),
            }
        })
    }

    pub(crate) fn dns(&self) -> &Arc<Dns> {
        &self.dns
    }
}

impl Default for Names {
    fn default() -> Self {
        Self::new()
    }
}

/// With a cache of its own.
impl Clone for Names {
    fn clone(&self) -> Self {
        Self { questions: self.questions.clone(), cache: Arc::default(), dns: Arc::clone(&self.dns) }
    }
}

impl std::fmt::Debug for Names {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Names")
    }
}

impl Cache {
    fn find(&self, resolver: &Resolver, name: &str) -> Option<Found> {
        let found = self.0.get(name)?.iter().find(|(of, _)| of == resolver)?;
        (found.1.until > Instant::now()).then(|| found.1.clone())
    }

    fn put(&mut self, resolver: Resolver, name: String, found: Found) {
        if self.0.len() >= NAMES && !self.0.contains_key(&name) {
            self.0.clear();
        }
        let list = self.0.entry(name).or_default();
        list.retain(|(of, _)| *of != resolver);
        list.push((resolver, found));
    }
}

fn lock(cache: &Mutex<Cache>) -> std::sync::MutexGuard<'_, Cache> {
    cache.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Asks for every name once at a time, and tells all who asked.
async fn answer(mut questions: UnboundedReceiver<Question>, dns: Arc<Dns>) {
    let (done, mut answers) = unbounded_channel::<(Resolver, String, Found)>();
    let mut cache = Cache::default();
    let mut waiting: HashMap<String, Vec<(Resolver, Vec<oneshot::Sender<Found>>)>> = HashMap::new();
    loop {
        tokio::select! {
            question = questions.recv() => {
                let Some(Question { resolver, name, answer }) = question else { return };
                if let Some(found) = cache.find(&resolver, &name) {
                    let _ = answer.send(found);
                    continue;
                }
                let list = waiting.entry(name.clone()).or_default();
                if let Some((_, waiters)) = list.iter_mut().find(|(of, _)| *of == resolver) {
                    waiters.push(answer);
                    continue;
                }
                list.push((resolver.clone(), vec![answer]));
                let (dns, done) = (Arc::clone(&dns), done.clone());
                tokio::spawn(async move {
                    let found = ask(&dns, &resolver, &name).await;
                    let _ = done.send((resolver, name, found));
                });
            }
            Some((resolver, name, found)) = answers.recv() => {
                let mut list = waiting.remove(&name).unwrap_or_default();
                if let Some(at) = list.iter().position(|(of, _)| *of == resolver) {
                    for waiter in list.swap_remove(at).1 {
                        let _ = waiter.send(found.clone());
                    }
                }
                if !list.is_empty() {
                    waiting.insert(name.clone(), list);
                }
                cache.put(resolver, name, found);
            }
        }
    }
}

async fn ask(dns: &Dns, resolver: &Resolver, name: &str) -> Found {
    let (addresses, lifetime) = match dns.addresses(resolver, name).await {
        // Half an answer serves, and the other half is asked for soon.
        Ok(found) if found.missing.is_some() => (Ok(found.records.into()), FAILED),
        Ok(found) => (Ok(found.records.into()), lifetime(resolver.valid, found.seconds)),
        Err(failure) => (Err(failure), FAILED),
    };
    Found { addresses, until: Instant::now() + lifetime }
}
