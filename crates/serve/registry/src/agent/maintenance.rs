//! Maintenance mode of the node and of its services.

use hyper::StatusCode;
use weir_registry::Command;

use crate::http::{Answer, Query, Reply, Request, Route, Shared, Verb};

pub(super) fn routes() -> Vec<Route> {
    vec![
        Route::data("/v1/agent/maintenance", &[Verb::Put], node),
        Route::data("/v1/agent/service/maintenance/", &[Verb::Put], service),
    ]
}

fn node(context: Shared, request: Request) -> Reply {
    Box::pin(async move {
        let command = match reason(&request.query) {
            Ok(reason) => Command::NodeMaintenance { reason },
            Err(refused) => return refused,
        };
        match context.write(command).await {
            Ok(_) => Answer::empty(StatusCode::OK),
            Err(refused) => refused,
        }
    })
}

fn service(context: Shared, request: Request) -> Reply {
    Box::pin(async move {
        let id = request.name();
        if id.is_empty() {
            return Answer::bad("Missing service ID");
        }
        let command = match reason(&request.query) {
            Ok(reason) => Command::ServiceMaintenance { id, reason },
            Err(refused) => return refused,
        };
        match context.write(command).await {
            Ok(_) => Answer::empty(StatusCode::OK),
            Err(refused) => refused,
        }
    })
}

/// Why, if it is to be on; an empty reason is replaced by the state.
fn reason(query: &Query) -> Result<Option<String>, Answer> {
    let Some(enable) = query.first("enable") else { return Err(Answer::bad("Missing value for enable")) };
    let enable =
        boolean(enable).ok_or_else(|| Answer::bad(format!("Invalid value for enable: {enable:?}")))?;
    let given = query.first("reason").unwrap_or_default();
    Ok(enable.then(|| given.to_owned()))
}

/// As Go's `strconv.ParseBool` reads.
pub(crate) fn boolean(word: &str) -> Option<bool> {
    match word {
        "1" | "t" | "T" | "true" | "TRUE" | "True" => Some(true),
        "0" | "f" | "F" | "false" | "FALSE" | "False" => Some(false),
        _ => None,
    }
}
