//! `agent/health/service/`: the state of services of the own node, for load balancers that read a status line.

use hyper::StatusCode;
use hyper::header::{HeaderName, HeaderValue};
use serde::Serialize;
use weir_registry::AgentHealth;

use crate::http::{Answer, Query, Reply, Request, Route, Shared, Verb};

const REASON: HeaderName = HeaderName::from_static("x-consul-reason");
/// From best to worst.
const ORDER: [&str; 4] = ["passing", "warning", "critical", "maintenance"];

pub(super) fn routes() -> Vec<Route> {
    vec![
        Route::data("/v1/agent/health/service/id/", &[Verb::Get], by_id),
        Route::data("/v1/agent/health/service/name/", &[Verb::Get], by_name),
    ]
}

/// What is told of a service that is not there.
#[derive(Serialize)]
#[serde(rename_all = "PascalCase")]
struct Nothing {
    aggregated_status: &'static str,
    service: (),
    checks: (),
}

fn by_id(context: Shared, request: Request) -> Reply {
    let id = request.name();
    let answer = if id.is_empty() {
        Answer::text(StatusCode::INTERNAL_SERVER_ERROR, "Bad request: Missing serviceID")
    } else {
        match context.engine.read(|state| state.agent_health(&id)) {
            Some(health) => told(&request.query, health.code(), health.status, &health),
            None => {
                let nothing = Nothing { aggregated_status: "critical", service: (), checks: () };
                told(&request.query, 404, &format!("ServiceId {id} not found"), &nothing)
            }
        }
    };
    Box::pin(std::future::ready(answer))
}

fn by_name(context: Shared, request: Request) -> Reply {
    let name = request.name();
    let answer = if name.is_empty() {
        Answer::text(StatusCode::INTERNAL_SERVER_ERROR, "Bad request: Missing service Name")
    } else {
        let found = context.engine.read(|state| state.agent_health_named(&name));
        match found.iter().max_by_key(|health| rank(health)) {
            Some(worst) => told(&request.query, worst.code(), worst.status, &found),
            None => told(&request.query, 404, &format!("ServiceName {name} Not Found"), &found),
        }
    };
    Box::pin(std::future::ready(answer))
}

fn rank(health: &AgentHealth) -> Option<usize> {
    ORDER.iter().position(|status| *status == health.status)
}

/// JSON, or with `?format=text` the reason alone.
fn told(query: &Query, code: u16, reason: &str, body: &impl Serialize) -> Answer {
    let answer = if query.first("format") == Some("text") {
        Answer::bytes(reason.to_owned(), "text/plain")
    } else {
        Answer::json(body)
    };
    let status = StatusCode::from_u16(code).unwrap_or(StatusCode::SERVICE_UNAVAILABLE);
    // A name may hold what a header cannot.
    let reason = HeaderValue::from_str(reason).unwrap_or(HeaderValue::from_static("not found"));
    answer.status(status).with(REASON, reason)
}
