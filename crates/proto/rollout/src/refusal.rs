//! Why a release is not begun; the exit code is 3.

use crate::parse::PlanError;
use crate::progress::SCHEMA;
use crate::text::counted;

/// Nothing was changed.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Refusal {
    #[error("the plan is wrong: {0}")]
    Plan(#[from] PlanError),
    #[error(
        "upstream {upstream} has no servers in the store or at the proxies; look for its name with: weir upstream"
    )]
    UnknownUpstream { upstream: String },
    #[error("server {server} is not in upstream {upstream}; {}", likely(near))]
    UnknownServer { upstream: String, server: String, near: Option<String> },
    #[error("server {server} stands twice in the plan, expected once")]
    Duplicate { server: String },
    #[error(
        "batch.max_unavailable is {size}, but only {} released; expected at most {servers}",
        counted(*servers, "server is", "servers are")
    )]
    BatchTooBig { size: usize, servers: usize },
    /// `serving`: without those of the batch.
    #[error(
        "batch {batch} ({}) would leave {} serving, the minimum is {minimum}; make batches smaller, lower batch.min_healthy, or bring other servers up first",
        servers.join(", "),
        counted(*serving, "server", "servers")
    )]
    BelowMinimum { batch: usize, servers: Vec<String>, serving: usize, minimum: usize },
    #[error(
        "no server is left to release in upstream {upstream}: all were taken out by somebody else; name them in the plan to release them nevertheless"
    )]
    NothingToDo { upstream: String },
    #[error("surge server {server} serves already; expected one that stands by drained")]
    SpareServes { server: String },
    #[error("the release that was interrupted is of upstream {found}, expected {expected}")]
    OtherUpstream { found: String, expected: String },
    #[error(
        "the release was written down in form {found}, this program knows {SCHEMA}; resume it with the program that began it"
    )]
    Schema { found: u32 },
    #[error(
        "a release that was begun keeps its {key}, and another one is given; leave it out, or give the release up and begin another: weir rollout abort {upstream}"
    )]
    AnotherRelease { upstream: String, key: &'static str },
    #[error("the last release of upstream {upstream} is over ({outcome}); there is nothing to resume")]
    Finished { upstream: String, outcome: String },
    #[error(
        "server {server} of the interrupted release is not in upstream {upstream} any more; register it again, or begin a new release"
    )]
    Gone { upstream: String, server: String },
}

fn likely(near: &Option<String>) -> String {
    match near {
        Some(near) => format!("did you mean {near}?"),
        None => "it has no servers".to_owned(),
    }
}
