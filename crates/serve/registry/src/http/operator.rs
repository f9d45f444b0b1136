//! `/v1/operator/`: what the command line asks about the servers.

use serde::Serialize;

use super::{Answer, Reply, Request, Route, Shared, Verb};

pub(super) fn routes() -> Vec<Route> {
    vec![Route::data("/v1/operator/raft/configuration", &[Verb::Get], raft_configuration)]
}

#[derive(Serialize)]
#[serde(rename_all = "PascalCase")]
struct Configuration {
    servers: [Server; 1],
    index: u64,
}

#[derive(Serialize)]
#[serde(rename_all = "PascalCase")]
struct Server {
    #[serde(rename = "ID")]
    id: String,
    node: String,
    address: String,
    leader: bool,
    protocol_version: &'static str,
    voter: bool,
}

fn raft_configuration(context: Shared, _request: Request) -> Reply {
    let id = context.engine.read(|state| state.identity().node_id.clone());
    let settings = context.settings();
    let server = Server {
        id,
        node: settings.node.clone(),
        address: settings.server_address(),
        leader: true,
        protocol_version: "3",
        voter: true,
    };
    Box::pin(std::future::ready(Answer::json(&Configuration { servers: [server], index: 0 })))
}
