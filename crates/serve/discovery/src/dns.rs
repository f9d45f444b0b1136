//! Questions to name servers.

use std::collections::HashMap;
use std::fs;
use std::net::{IpAddr, SocketAddr};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, SystemTime};

use hickory_resolver::config::{
    ConnectionConfig, NameServerConfig, ResolveHosts, ResolverConfig, ResolverOpts,
};
use hickory_resolver::lookup::Lookup;
use hickory_resolver::net::runtime::TokioRuntimeProvider;
use hickory_resolver::net::{DnsError, NetError};
use hickory_resolver::proto::op::{Query, ResponseCode};
use hickory_resolver::proto::rr::{Name, RData, RecordType};
use hickory_resolver::{Hosts, TokioResolver};
use weir_discovery::dns::Service;
use weir_model::Resolver;

/// A name server may take so long before it is asked again, as in nginx.
const RESEND: Duration = Duration::from_secs(5);

/// Seconds that a line of the hosts file holds: the file has no time to live, and may be edited at any moment.
const HOSTS: u32 = 5;

/// Why a name has no answer, in nginx's words with the numbers of RFC 1035, section 4.1.1.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub(crate) enum Failure {
    #[error("1: Format error")]
    Format,
    #[error("2: Server failure")]
    Server,
    /// The name does not exist, or has no record of the kind.
    #[error("3: Host not found")]
    NotFound,
    #[error("4: Unimplemented")]
    Unimplemented,
    #[error("5: Operation refused")]
    Refused,
    #[error("110: Operation timed out")]
    Timeout,
}

impl From<NetError> for Failure {
    fn from(error: NetError) -> Self {
        let code = match &error {
            NetError::Timeout => return Self::Timeout,
            NetError::Dns(DnsError::NoRecordsFound(_)) => return Self::NotFound,
            NetError::Dns(DnsError::ResponseCode(code)) => *code,
            _ => return Self::Server,
        };
        match code {
            ResponseCode::FormErr => Self::Format,
            ResponseCode::NXDomain => Self::NotFound,
            ResponseCode::NotImp => Self::Unimplemented,
            ResponseCode::Refused => Self::Refused,
            _ => Self::Server,
        }
    }
}

/// Records, and the seconds that all of them hold.
#[derive(Clone, Debug)]
pub(crate) struct Records<T> {
    pub(crate) records: Vec<T>,
    pub(crate) seconds: u32,
    /// The answer to the other of two questions (A and AAAA) is missing.
    pub(crate) missing: Option<Failure>,
}

/// The resolvers of all settings. Nothing is cached here.
#[derive(Default)]
pub(crate) struct Dns {
    explicit: Mutex<HashMap<(Vec<SocketAddr>, Duration), TokioResolver>>,
    system: Mutex<Option<System>>,
}

/// The machine's settings, as they were when its files had these times.
struct System {
    changed: [Option<SystemTime>; 2],
    resolver: TokioResolver,
    hosts: Arc<Hosts>,
}

impl Dns {
    /// A and AAAA records, as far as the resolver wants them.
    pub(crate) async fn addresses(
        &self,
        settings: &Resolver,
        name: &str,
    ) -> Result<Records<IpAddr>, Failure> {
        let (resolver, hosts) = self.resolver(settings)?;
        let domain = domain(settings, name)?;
        if let Some(found) = hosts.and_then(|hosts| static_addresses(&hosts, settings, &domain)) {
            return Ok(found);
        }
        let ask = async |wanted: bool, kind| match wanted {
            true => Some(resolver.lookup(domain.clone(), kind).await.map_err(Failure::from)),
            false => None,
        };
        let both =
            async { tokio::join!(ask(settings.ipv4, RecordType::A), ask(settings.ipv6, RecordType::AAAA)) };
        let limit = settings.timeout.duration();
        let (v4, v6) = tokio::time::timeout(limit, both).await.map_err(|_| Failure::Timeout)?;
        let (mut records, mut seconds, mut missing) = (Vec::new(), u32::MAX, None);
        for answer in [v4, v6].into_iter().flatten() {
            match answer {
                Ok(lookup) => {
                    seconds = seconds.min(shortest(&lookup));
                    records.extend(lookup.answers().iter().filter_map(|record| record.data.ip_addr()));
                }
                Err(Failure::NotFound) => {}
                Err(failure) => missing = Some(failure),
            }
        }
        match missing {
            Some(failure) if records.is_empty() => Err(failure),
            None if records.is_empty() => Err(Failure::NotFound),
            missing => Ok(Records { records, seconds, missing }),
        }
    }

    /// SRV records.
    pub(crate) async fn services(
        &self,
        settings: &Resolver,
        name: &str,
    ) -> Result<Records<Service>, Failure> {
        let (resolver, _) = self.resolver(settings)?;
        let question = resolver.lookup(domain(settings, name)?, RecordType::SRV);
        let answer = tokio::time::timeout(settings.timeout.duration(), question).await;
        let lookup = answer.map_err(|_| Failure::Timeout)??;
        let records = lookup.answers().iter().filter_map(|record| match &record.data {
            RData::SRV(srv) => Some(Service {
                priority: srv.priority,
                weight: srv.weight,
                port: srv.port,
                target: srv.target.to_utf8(),
            }),
            _ => None,
        });
        Ok(Records { records: records.collect(), seconds: shortest(&lookup), missing: None })
    }

    fn resolver(&self, settings: &Resolver) -> Result<(TokioResolver, Option<Arc<Hosts>>), Failure> {
        let resend = RESEND.min(settings.timeout.duration());
        if settings.servers.is_empty() {
            return self.system(resend);
        }
        let key = (settings.servers.clone(), resend);
        let mut explicit = self.explicit.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(resolver) = explicit.get(&key) {
            return Ok((resolver.clone(), None));
        }
        let servers = settings.servers.iter().map(|server| {
            let mut config = NameServerConfig::udp_and_tcp(server.ip());
            config
                .connections
                .iter_mut()
                .for_each(|connection: &mut ConnectionConfig| connection.port = server.port());
            config
        });
        let config = ResolverConfig::from_parts(None, Vec::new(), servers.collect());
        let resolver = build(config, ResolverOpts::default(), resend)?;
        explicit.insert(key, resolver.clone());
        Ok((resolver, None))
    }

    fn system(&self, resend: Duration) -> Result<(TokioResolver, Option<Arc<Hosts>>), Failure> {
        let changed = ["/etc/resolv.conf", "/etc/hosts"]
            .map(|path| fs::metadata(path).and_then(|metadata| metadata.modified()).ok());
        let mut system = self.system.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(known) = system.as_ref().filter(|known| known.changed == changed) {
            return Ok((known.resolver.clone(), Some(Arc::clone(&known.hosts))));
        }
        let (config, options) = hickory_resolver::system_conf::read_system_conf()?;
        let resolver = build(config, options, resend)?;
        let hosts = Arc::new(Hosts::from_system().unwrap_or_default());
        *system = Some(System { changed, resolver: resolver.clone(), hosts: Arc::clone(&hosts) });
        Ok((resolver, Some(hosts)))
    }
}

fn build(
    config: ResolverConfig,
    mut options: ResolverOpts,
    resend: Duration,
) -> Result<TokioResolver, Failure> {
    options.cache_size = 0;
    options.use_hosts_file = ResolveHosts::Never;
    options.timeout = resend;
    // The limit of the whole question ends it.
    options.attempts = 8;
    let mut builder = TokioResolver::builder_with_config(config, TokioRuntimeProvider::default());
    *builder.options_mut() = options;
    Ok(builder.build()?)
}

/// Named servers are asked for the name as it stands; the machine's search list belongs to the machine's resolver.
fn domain(settings: &Resolver, name: &str) -> Result<Name, Failure> {
    let mut domain = Name::from_utf8(name).map_err(|_| Failure::Format)?;
    if !settings.servers.is_empty() {
        domain.set_fqdn(true);
    }
    Ok(domain)
}

fn static_addresses(hosts: &Hosts, settings: &Resolver, domain: &Name) -> Option<Records<IpAddr>> {
    let kinds = [(settings.ipv4, RecordType::A), (settings.ipv6, RecordType::AAAA)];
    let lookups = kinds.into_iter().filter(|(wanted, _)| *wanted);
    let lookups =
        lookups.filter_map(|(_, kind)| hosts.lookup_static_host(&Query::query(domain.clone(), kind)));
    let records: Vec<_> = lookups
        .flat_map(|lookup| {
            lookup.answers().iter().filter_map(|record| record.data.ip_addr()).collect::<Vec<_>>()
        })
        .collect();
    (!records.is_empty()).then_some(Records { records, seconds: HOSTS, missing: None })
}

fn shortest(lookup: &Lookup) -> u32 {
    lookup.answers().iter().map(|record| record.ttl).min().unwrap_or(0)
}
