//! `catalog/register` and `catalog/deregister`: nodes that run no agent.

use std::collections::BTreeMap;

use serde::Deserialize;
use serde_json::Value;
use weir_registry::{CheckDefinition, Command, Deregistration, Registration, Status};

use crate::agent::{ServiceBody, read};
use crate::http::{Answer, Context, Reply, Request, Route, Shared, Verb};

pub(super) fn routes() -> Vec<Route> {
    vec![
        Route::data("/v1/catalog/register", &[Verb::Put], register),
        Route::data("/v1/catalog/deregister", &[Verb::Put], deregister),
    ]
}

/// The body of `catalog/register`.
#[derive(Debug, Default, Deserialize)]
#[serde(default, rename_all = "PascalCase")]
struct Register {
    datacenter: String,
    id: String,
    node: String,
    address: String,
    tagged_addresses: BTreeMap<String, String>,
    node_meta: BTreeMap<String, String>,
    skip_node_update: bool,
    service: Option<ServiceBody>,
    check: Option<CatalogCheck>,
    checks: Vec<CatalogCheck>,
}

/// A check that somebody else runs.
#[derive(Debug, Default, Deserialize)]
#[serde(default, rename_all = "PascalCase")]
struct CatalogCheck {
    #[serde(alias = "check_id")]
    check_id: String,
    name: String,
    status: String,
    notes: String,
    output: String,
    #[serde(alias = "service_id")]
    service_id: String,
    definition: Value,
}

/// The body of `catalog/deregister`.
#[derive(Debug, Default, Deserialize)]
#[serde(default, rename_all = "PascalCase")]
struct Deregister {
    datacenter: String,
    node: String,
    #[serde(alias = "service_id")]
    service_id: String,
    #[serde(alias = "check_id")]
    check_id: String,
}

fn register(context: Shared, mut request: Request) -> Reply {
    Box::pin(async move { try_register(&context, &mut request).await.unwrap_or_else(|refused| refused) })
}

async fn try_register(context: &Context, request: &mut Request) -> Result<Answer, Answer> {
    let body: Register = read(context, request)?;
    own_datacenter(context, &body.datacenter)?;
    let checks = body.check.into_iter().chain(body.checks).map(CatalogCheck::definition).collect();
    let registration = Registration {
        node: body.node,
        node_id: body.id,
        address: body.address,
        tagged_addresses: body.tagged_addresses,
        node_meta: body.node_meta,
        skip_node_update: body.skip_node_update,
        service: body.service.map(ServiceBody::catalog).transpose()?,
        checks,
    };
    context.write(Command::Register(registration)).await?;
    Ok(Answer::json(&true))
}

fn deregister(context: Shared, mut request: Request) -> Reply {
    Box::pin(async move { try_deregister(&context, &mut request).await.unwrap_or_else(|refused| refused) })
}

async fn try_deregister(context: &Context, request: &mut Request) -> Result<Answer, Answer> {
    let Deregister { datacenter, node, service_id, check_id } = read(context, request)?;
    own_datacenter(context, &datacenter)?;
    context.write(Command::Deregister(Deregistration { node, service_id, check_id })).await?;
    Ok(Answer::json(&true))
}

fn own_datacenter(context: &Context, given: &str) -> Result<(), Answer> {
    if given.is_empty() || given.eq_ignore_ascii_case(&context.settings().datacenter) {
        return Ok(());
    }
    Err(Answer::text(hyper::StatusCode::INTERNAL_SERVER_ERROR, "No path to datacenter"))
}

impl CatalogCheck {
    /// A status that is none of Consul's counts as critical.
    fn definition(self) -> CheckDefinition {
        CheckDefinition {
            check_id: self.check_id,
            name: self.name,
            notes: self.notes,
            service_id: self.service_id,
            status: Status::parse(&self.status),
            output: self.output,
            definition: if self.definition.is_object() { self.definition } else { Value::Null },
            ..CheckDefinition::default()
        }
    }
}
