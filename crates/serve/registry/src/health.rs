//! `/v1/health/`: services with their checks, and checks by node, service and state.

use std::sync::Arc;

use weir_registry::{Check, State, Status, Topic};

use crate::agent::boolean;
use crate::catalog::Wanted;
use crate::http::{Answer, Context, Query, Reply, Request, Route, Shared, Verb, blocking};

pub(crate) fn routes() -> Vec<Route> {
    vec![
        Route::data("/v1/health/service/", &[Verb::Get], service),
        Route::data("/v1/health/checks/", &[Verb::Get], checks),
        Route::data("/v1/health/node/", &[Verb::Get], node),
        Route::data("/v1/health/state/", &[Verb::Get], state),
    ]
}

fn service(context: Shared, request: Request) -> Reply {
    Box::pin(async move { of_service(&context, request).await.unwrap_or_else(|refused| refused) })
}

async fn of_service(context: &Context, request: Request) -> Result<Answer, Answer> {
    let name = named(&request, "Missing service name")?;
    let passing = passing(&request.query)?;
    let wanted = Wanted::of(&request.query).map_err(Answer::failed_read)?;
    let answer = blocking(context, request, Topic::service(&name), move |state| {
        let reply = state.health(&name, &wanted.tags(), passing);
        let rows = reply.data.into_iter().filter(|row| wanted.node(&row.node.meta)).collect();
        (reply.index, wanted.rows(rows).consistent())
    });
    Ok(answer.await)
}

/// `?passing`: alone it means yes.
fn passing(query: &Query) -> Result<bool, Answer> {
    match query.first("passing") {
        None => Ok(false),
        Some("") => Ok(true),
        Some(word) => boolean(word).ok_or_else(|| Answer::bad("Invalid value for ?passing")),
    }
}

fn checks(context: Shared, request: Request) -> Reply {
    Box::pin(async move {
        let list = |name: String| {
            move |state: &State| {
                let mut reply = state.service_checks(&name);
                reply
                    .data
                    .sort_by(|one, other| (&one.node, &one.check_id).cmp(&(&other.node, &other.check_id)));
                (reply.index, reply.data)
            }
        };
        list_of(&context, request, "Missing service name", Topic::service, list).await
    })
}

fn node(context: Shared, request: Request) -> Reply {
    Box::pin(async move {
        let list = |name: String| {
            move |state: &State| {
                let reply = state.node_checks(&name);
                (reply.index, reply.data)
            }
        };
        list_of(&context, request, "Missing node name", Topic::node, list).await
    })
}

fn state(context: Shared, request: Request) -> Reply {
    Box::pin(async move {
        let list = |word: String| {
            move |state: &State| match (word.as_str(), Status::parse(&word)) {
                ("any", _) => {
                    let reply = state.checks(None);
                    (reply.index, reply.data)
                }
                (_, Some(status)) => {
                    let reply = state.checks(Some(status));
                    (reply.index, reply.data)
                }
                // No check is in such a state.
                (_, None) => (state.checks(Some(Status::Critical)).index, Vec::new()),
            }
        };
        list_of(&context, request, "Missing check state", |_| Topic::Checks, list).await
    })
}

/// A list of checks by a name in the path.
async fn list_of<L>(
    context: &Context,
    request: Request,
    missing: &str,
    topic: impl Fn(&str) -> Topic,
    list: impl Fn(String) -> L,
) -> Answer
where
    L: Fn(&State) -> (u64, Vec<Arc<Check>>),
{
    let choice = named(&request, missing).and_then(|name| {
        let wanted = Wanted::of(&request.query).map_err(Answer::failed_read)?;
        Ok((name, wanted))
    });
    let (name, wanted) = match choice {
        Ok(choice) => choice,
        Err(refused) => return refused,
    };
    let topic = topic(&name);
    let list = list(name);
    blocking(context, request, topic, move |state| {
        let (index, mut rows) = list(state);
        if wanted.has_meta() {
            rows.retain(|check| {
                state.node(&check.node).data.is_some_and(|found| wanted.node(&found.node.meta))
            });
        }
        (index, wanted.rows(rows).consistent())
    })
    .await
}

fn named(request: &Request, missing: &str) -> Result<String, Answer> {
    let name = request.name();
    if name.is_empty() { Err(Answer::bad(missing)) } else { Ok(name) }
}
