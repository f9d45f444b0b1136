//! Checks of the own node.

use hyper::StatusCode;
use serde::Deserialize;
use weir_registry::{Command, Status};

use super::definition::CheckBody;
use super::read;
use crate::catalog::Wanted;
use crate::checks::OUTPUT_LIMIT;
use crate::http::{Answer, Context, Reply, Request, Route, Shared, Verb};

pub(super) fn routes() -> Vec<Route> {
    vec![
        Route::data("/v1/agent/checks", &[Verb::Get], list),
        Route::data("/v1/agent/check/register", &[Verb::Put], register),
        Route::data("/v1/agent/check/deregister/", &[Verb::Put], deregister),
        Route::data("/v1/agent/check/pass/", &[Verb::Put], |context, request| {
            note(context, request, Status::Passing)
        }),
        Route::data("/v1/agent/check/warn/", &[Verb::Put], |context, request| {
            note(context, request, Status::Warning)
        }),
        Route::data("/v1/agent/check/fail/", &[Verb::Put], |context, request| {
            note(context, request, Status::Critical)
        }),
        Route::data("/v1/agent/check/update/", &[Verb::Put], update),
    ]
}

fn list(context: Shared, request: Request) -> Reply {
    Box::pin(async move {
        let wanted = match Wanted::of(&request.query) {
            Ok(wanted) => wanted,
            Err(refused) => return refused,
        };
        let checks = context.engine.read(weir_registry::State::agent_checks);
        wanted.map(checks)
    })
}

fn register(context: Shared, mut request: Request) -> Reply {
    Box::pin(async move { try_register(&context, &mut request).await.unwrap_or_else(|refused| refused) })
}

async fn try_register(context: &Context, request: &mut Request) -> Result<Answer, Answer> {
    let body: CheckBody = read(context, request)?;
    done(context, Command::AgentCheckRegister(body.alone()?)).await
}

fn deregister(context: Shared, request: Request) -> Reply {
    Box::pin(async move {
        let id = request.name();
        if id.is_empty() {
            return Answer::text(StatusCode::INTERNAL_SERVER_ERROR, "CheckID missing");
        }
        done(&context, Command::AgentCheckDeregister { id }).await.unwrap_or_else(|refused| refused)
    })
}

fn note(context: Shared, request: Request, status: Status) -> Reply {
    Box::pin(async move {
        let output = trimmed(request.query.first("note").unwrap_or_default());
        let command = Command::CheckUpdate { id: request.name(), status, output };
        done(&context, command).await.unwrap_or_else(|refused| refused)
    })
}

/// The body of `agent/check/update`.
#[derive(Debug, Default, Deserialize)]
#[serde(default, rename_all = "PascalCase")]
struct Update {
    status: String,
    output: String,
}

fn update(context: Shared, mut request: Request) -> Reply {
    Box::pin(async move { try_update(&context, &mut request).await.unwrap_or_else(|refused| refused) })
}

async fn try_update(context: &Context, request: &mut Request) -> Result<Answer, Answer> {
    let Update { status, output } = read(context, request)?;
    let Some(status) = Status::parse(&status) else {
        return Err(Answer::bad(format!("Invalid check status: '{status}'")));
    };
    let command = Command::CheckUpdate { id: request.name(), status, output: trimmed(&output) };
    done(context, command).await
}

async fn done(context: &Context, command: Command) -> Result<Answer, Answer> {
    context.write(command).await?;
    Ok(Answer::empty(StatusCode::OK))
}

/// What a client says about a check, in as many bytes as a probe's answer may have; Consul's note stands at a cut.
fn trimmed(output: &str) -> String {
    if output.len() <= OUTPUT_LIMIT {
        return output.to_owned();
    }
    let head = output.get(..output.floor_char_boundary(OUTPUT_LIMIT)).unwrap_or_default();
    format!("{head} ... (captured {OUTPUT_LIMIT} of {} bytes)", output.len())
}
