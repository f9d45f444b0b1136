//! Name servers: asked again when the records' time to live is over.

use std::time::Duration;

use weir_discovery::{Document, dns};
use weir_model::source::DnsQuery;

use super::Pauses;
use crate::dns::Failure;
use crate::follower::Follower;

pub(crate) async fn follow(follower: &mut Follower, query: &DnsQuery) {
    let mut pauses = Pauses::of(follower);
    let servers: Vec<_> = query.resolver.servers.iter().map(ToString::to_string).collect();
    let endpoint = if servers.is_empty() { "dns".to_owned() } else { format!("dns {}", servers.join(",")) };
    let question = dns::question(query);
    loop {
        match ask(follower, query, &question).await {
            Ok((document, lifetime)) => {
                follower.adopt(0, endpoint.clone(), document).await;
                pauses.succeeded();
                follower.meanwhile(tokio::time::sleep(lifetime)).await;
            }
            Err(failure) => {
                let error = format!("{question} could not be resolved ({failure})");
                pauses.failed(follower, &error, endpoint.clone()).await;
            }
        }
    }
}

/// Half an answer is none: it would take peers away because a name server failed.
async fn ask(
    follower: &mut Follower,
    query: &DnsQuery,
    question: &str,
) -> Result<(Document, Duration), Failure> {
    let servers = follower.names.dns().clone();
    let template = follower.source.template.clone();
    let (document, seconds) = if query.service.is_some() {
        let found = follower.meanwhile(servers.services(&query.resolver, question)).await?;
        (dns::services(query, &found.records, &template), found.seconds)
    } else {
        let found = follower.meanwhile(servers.addresses(&query.resolver, question)).await?;
        if let Some(failure) = found.missing {
            return Err(failure);
        }
        (dns::addresses(query, &found.records, &template), found.seconds)
    };
    Ok((document, dns::lifetime(query.resolver.valid, seconds)))
}
