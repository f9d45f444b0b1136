//! `/v1/agent/`: services and checks of the own node, maintenance, and who the agent is.

mod check;
mod definition;
mod health;
mod maintenance;
mod own;
mod service;

use serde::de::DeserializeOwned;

use crate::http::{Answer, Context, Request, Route};

pub(crate) use definition::ServiceBody;
pub(crate) use maintenance::boolean;

/// The largest body of a registration, in bytes.
const MOST_BODY: usize = 512 * 1024;
/// The setting that Consul's documentation names for it.
const BODY_SETTING: &str = "http_max_body_size";

pub(crate) fn routes() -> Vec<Route> {
    [service::routes(), check::routes(), maintenance::routes(), health::routes(), own::routes()]
        .into_iter()
        .flatten()
        .collect()
}

/// The body of a request as `T`.
pub(crate) fn read<T: DeserializeOwned>(context: &Context, request: &mut Request) -> Result<T, Answer> {
    let body = request.body(MOST_BODY, BODY_SETTING)?;
    context.decode(&body)
}
