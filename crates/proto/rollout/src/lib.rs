//! A release, server by server, without I/O: the plan, the states, what to do next and how it can go on after an interruption.
//! Stores, proxies, machines and clocks are left to weir-serve-rollout.

mod amount;
mod command;
mod gate;
mod history;
mod metrics;
mod moment;
mod parse;
mod plan;
mod progress;
mod queue;
mod refusal;
mod replan;
mod rollout;
mod server;
mod stage;
mod step;
mod text;
mod view;

pub use amount::{Amount, Expectation, Share, Statuses};
pub use command::{Action, Command, Event, Note, NoteLevel, Outcome};
pub use gate::Answer;
pub use history::History;
pub use metrics::{Bucket, Counters, Metrics};
pub use moment::{Moment, Span};
pub use parse::PlanError;
pub use plan::{
    Batch, Canary, Check, Docker, Drain, Driver, External, Gate, Hooks, OnFailure, OnTimeout, Pause, Plan,
    ProxyTimeout, Shell, Store, StoreKind, Systemd, Version, Warm, Watch,
};
pub use progress::{Phase, Progress, SCHEMA};
pub use refusal::Refusal;
pub use rollout::Rollout;
pub use server::{Fate, Role, Row, ServerProgress, State};
pub use stage::{Stage, environment};
pub use step::{Course, Step};
pub use view::{PeerState, PeerView};
