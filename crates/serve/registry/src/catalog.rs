//! `/v1/catalog/`: nodes and services, of this machine and registered from outside.

mod register;
mod wanted;

use std::collections::{BTreeMap, BTreeSet};

use weir_registry::{NodeServices, State, Topic};

use crate::http::{Answer, Reply, Request, Route, Shared, Verb, blocking};

pub(crate) use wanted::Wanted;

pub(crate) fn routes() -> Vec<Route> {
    let mut routes = register::routes();
    routes.extend([
        Route::plain("/v1/catalog/datacenters", &[Verb::Get], datacenters),
        Route::data("/v1/catalog/nodes", &[Verb::Get], nodes),
        Route::data("/v1/catalog/node/", &[Verb::Get], node),
        Route::data("/v1/catalog/services", &[Verb::Get], services),
        Route::data("/v1/catalog/service/", &[Verb::Get], service),
    ]);
    routes
}

fn datacenters(context: Shared, _request: Request) -> Reply {
    let own = context.engine.read(|state| state.identity().datacenter.clone());
    Box::pin(std::future::ready(Answer::json(&[own])))
}

fn nodes(context: Shared, request: Request) -> Reply {
    Box::pin(async move {
        let wanted = match Wanted::of(&request.query) {
            Ok(wanted) => wanted,
            Err(refused) => return refused.failed_read(),
        };
        blocking(&context, request, Topic::Nodes, move |state| {
            let reply = state.nodes();
            let rows = reply.data.into_iter().filter(|node| wanted.node(&node.meta)).collect();
            (reply.index, wanted.rows(rows).consistent())
        })
        .await
    })
}

fn node(context: Shared, request: Request) -> Reply {
    Box::pin(async move {
        let name = request.name();
        if name.is_empty() {
            return Answer::bad("Missing node name");
        }
        let wanted = match Wanted::of(&request.query) {
            Ok(wanted) => wanted,
            Err(refused) => return refused.failed_read(),
        };
        blocking(&context, request, Topic::node(&name), move |state| {
            let reply = state.node(&name);
            let found = reply.data.map(|found| NodeServices {
                services: found.services.into_iter().filter(|service| wanted.service(service)).collect(),
                node: found.node,
            });
            (reply.index, Answer::json(&found).consistent())
        })
        .await
    })
}

fn services(context: Shared, request: Request) -> Reply {
    Box::pin(async move {
        let wanted = match Wanted::of(&request.query) {
            Ok(wanted) => wanted,
            Err(refused) => return refused.failed_read(),
        };
        blocking(&context, request, Topic::Services, move |state| {
            let mut reply = state.services();
            if wanted.has_meta() {
                let here = on_nodes(state, &wanted);
                reply.data.retain(|name, tags| match here.get(name) {
                    Some(found) => {
                        tags.retain(|tag| found.contains(tag));
                        true
                    }
                    None => false,
                });
            }
            (reply.index, Answer::json(&reply.data).consistent())
        })
        .await
    })
}

/// The services of the nodes that are wanted, and their tags.
fn on_nodes(state: &State, wanted: &Wanted) -> BTreeMap<String, BTreeSet<String>> {
    let mut found = BTreeMap::<_, BTreeSet<String>>::new();
    for node in state.nodes().data.iter().filter(|node| wanted.node(&node.meta)) {
        let services = state.node(&node.node).data.map(|node| node.services).unwrap_or_default();
        for service in services {
            found.entry(service.name.clone()).or_default().extend(service.tags.iter().cloned());
        }
    }
    found
}

fn service(context: Shared, request: Request) -> Reply {
    Box::pin(async move {
        let name = request.name();
        if name.is_empty() {
            return Answer::bad("Missing service name");
        }
        let wanted = match Wanted::of(&request.query) {
            Ok(wanted) => wanted,
            Err(refused) => return refused.failed_read(),
        };
        blocking(&context, request, Topic::service(&name), move |state| {
            let reply = state.service(&name, &wanted.tags());
            let rows = reply.data.into_iter().filter(|row| wanted.node(&row.node.meta)).collect();
            (reply.index, wanted.rows(rows).consistent())
        })
        .await
    })
}
