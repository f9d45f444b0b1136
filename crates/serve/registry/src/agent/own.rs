//! Who the agent is, and the endpoints of a cluster that one node answers for itself.

use hyper::StatusCode;
use serde_json::{Value, json};
use weir_registry::State;

use crate::http::{Answer, Reply, Request, Route, Shared, Verb};

/// The version of Consul whose API this is; clients decide by it what they may ask.
const API_VERSION: &str = "1.8.7";

pub(super) fn routes() -> Vec<Route> {
    vec![
        Route::data("/v1/agent/self", &[Verb::Get], itself),
        Route::data("/v1/agent/members", &[Verb::Get], members),
        Route::plain("/v1/agent/reload", &[Verb::Put], nothing),
        Route::plain("/v1/agent/leave", &[Verb::Put], alone),
        Route::plain("/v1/agent/join/", &[Verb::Put], alone),
        Route::plain("/v1/agent/force-leave/", &[Verb::Put], alone),
    ]
}

fn ready(answer: Answer) -> Reply {
    Box::pin(std::future::ready(answer))
}

/// The configuration is Weir's, and is reloaded with it.
fn nothing(_context: Shared, _request: Request) -> Reply {
    ready(Answer::empty(StatusCode::OK))
}

fn alone(_context: Shared, _request: Request) -> Reply {
    ready(Answer::text(
        StatusCode::FORBIDDEN,
        "this registry is a single node: there is no cluster to join or to leave",
    ))
}

fn members(context: Shared, request: Request) -> Reply {
    if !matches!(request.query.first("segment").unwrap_or_default(), "" | "_all") {
        let text = "Network segments are not supported in this version of Consul";
        return ready(Answer::text(StatusCode::INTERNAL_SERVER_ERROR, text));
    }
    let mut members = context.engine.read(State::members);
    if request.query.has("wan") {
        let datacenter = &context.settings().datacenter;
        for member in &mut members {
            member.name = format!("{}.{datacenter}", member.name);
            member.port += 1;
            member.tags.remove("wan_join_port");
        }
    }
    ready(Answer::json(&members))
}

fn itself(context: Shared, _request: Request) -> Reply {
    let leader = context.settings().server_address();
    ready(Answer::json(&context.engine.read(|state| description(state, &leader))))
}

/// The parts of Consul's description that clients read, in its shape. A map of JSON would sort the names; their order
/// means nothing to anybody.
fn description(state: &State, leader: &str) -> Value {
    let identity = state.identity();
    let (services, checks) = (state.agent_services().len(), state.agent_checks().len());
    let index = state.index().to_string();
    json!({
        "Config": {
            "Datacenter": identity.datacenter,
            "NodeName": identity.node,
            "NodeID": identity.node_id,
            "Revision": "",
            "Server": true,
            "Version": API_VERSION,
        },
        "DebugConfig": {
            "Datacenter": identity.datacenter,
            "NodeName": identity.node,
            "NodeID": identity.node_id,
            "Version": API_VERSION,
            "ServerMode": true,
            "DNSDomain": "consul.",
            "ACLsEnabled": false,
        },
        "Coord": { "Vec": [0, 0, 0, 0, 0, 0, 0, 0], "Error": 1.5, "Adjustment": 0, "Height": 0.00001 },
        "Member": state.members().first(),
        "Stats": {
            "agent": { "checks": checks.to_string(), "services": services.to_string() },
            "build": { "prerelease": "", "revision": "", "version": API_VERSION },
            "consul": {
                "acl": "disabled",
                "bootstrap": "true",
                "known_datacenters": "1",
                "leader": "true",
                "leader_addr": leader,
                "server": "true",
            },
            "raft": { "applied_index": index, "commit_index": index, "num_peers": "0", "state": "Leader" },
            "runtime": { "arch": std::env::consts::ARCH, "os": std::env::consts::OS },
        },
        "Meta": { "consul-network-segment": "" },
    })
}
