//! Services of the own node.

use hyper::StatusCode;
use hyper::header::{HeaderName, HeaderValue};
use tokio::time::timeout;
use weir_registry::{AgentService, Command, Topic};

use super::{ServiceBody, read};
use crate::catalog::Wanted;
use crate::http::{Answer, Context, Reply, Request, Route, Shared, Verb};

const CONTENT_HASH: HeaderName = HeaderName::from_static("x-consul-contenthash");

pub(super) fn routes() -> Vec<Route> {
    vec![
        Route::data("/v1/agent/services", &[Verb::Get], list),
        Route::data("/v1/agent/service/", &[Verb::Get], one),
        Route::data("/v1/agent/service/register", &[Verb::Put], register),
        Route::data("/v1/agent/service/deregister/", &[Verb::Put], deregister),
    ]
}

fn list(context: Shared, request: Request) -> Reply {
    Box::pin(async move {
        let wanted = match Wanted::of(&request.query) {
            Ok(wanted) => wanted,
            Err(refused) => return refused,
        };
        let services = context.engine.read(weir_registry::State::agent_services);
        wanted.map(services)
    })
}

fn one(context: Shared, request: Request) -> Reply {
    Box::pin(async move {
        let id = request.name();
        let seen = request.query.first("hash").unwrap_or_default().to_owned();
        let wait = request.options.wait;
        drop(request);
        let found =
            if seen.is_empty() { service(&context, &id) } else { newer(&context, &id, &seen, wait).await };
        match found {
            Some(service) => with_hash(&service),
            None => Answer::text(StatusCode::NOT_FOUND, format!("unknown service ID: {id}")),
        }
    })
}

fn service(context: &Context, id: &str) -> Option<AgentService> {
    context.engine.read(|state| state.agent_service(id))
}

fn with_hash(service: &AgentService) -> Answer {
    let hash = service.hash.as_deref().and_then(|hash| HeaderValue::from_str(hash).ok());
    match hash {
        Some(hash) => Answer::json(service).with(CONTENT_HASH, hash),
        None => Answer::json(service),
    }
}

/// The service once its hash is another than `seen`, or as it is after `wait`.
async fn newer(context: &Context, id: &str, seen: &str, wait: std::time::Duration) -> Option<AgentService> {
    let watch = context.engine.watch(&Topic::Agent);
    let changed = async {
        loop {
            let (index, found) =
                context.engine.read(|state| (state.agent_probes().index, state.agent_service(id)));
            if found.as_ref().is_none_or(|service| service.hash.as_deref() != Some(seen)) {
                return found;
            }
            watch.changed(index).await;
        }
    };
    match timeout(wait, changed).await {
        Ok(found) => found,
        Err(_) => service(context, id),
    }
}

fn register(context: Shared, mut request: Request) -> Reply {
    Box::pin(async move { try_register(&context, &mut request).await.unwrap_or_else(|refused| refused) })
}

async fn try_register(context: &Context, request: &mut Request) -> Result<Answer, Answer> {
    let body: ServiceBody = read(context, request)?;
    let (service, checks) = body.agent()?;
    let replace_checks = matches!(request.query.first("replace-existing-checks"), Some("" | "true"));
    context.write(Command::AgentServiceRegister { service, checks, replace_checks }).await?;
    Ok(Answer::empty(StatusCode::OK))
}

fn deregister(context: Shared, request: Request) -> Reply {
    Box::pin(async move {
        let id = request.name();
        if id.is_empty() {
            return Answer::text(StatusCode::INTERNAL_SERVER_ERROR, "ServiceID missing");
        }
        match context.write(Command::AgentServiceDeregister { id }).await {
            Ok(_) => Answer::empty(StatusCode::OK),
            Err(refused) => refused,
        }
    })
}
