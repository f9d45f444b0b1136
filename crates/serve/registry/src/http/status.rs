//! `/v1/status/`: there is one server, and it leads.

use super::{Answer, Reply, Request, Route, Shared, Verb};

pub(super) fn routes() -> Vec<Route> {
    vec![
        Route::data("/v1/status/leader", &[Verb::Get], leader),
        Route::data("/v1/status/peers", &[Verb::Get], peers),
    ]
}

fn leader(context: Shared, _request: Request) -> Reply {
    Box::pin(std::future::ready(Answer::json(&context.settings().server_address())))
}

fn peers(context: Shared, _request: Request) -> Reply {
    Box::pin(std::future::ready(Answer::json(&[context.settings().server_address()])))
}
