//! The agent's checks that ask somebody: HTTP, TCP and gRPC, each at its interval. TTL and alias checks and thresholds
//! belong to the state.

mod grpc;
mod http;
mod probe;
mod schedule;
#[cfg(test)]
mod tests;
mod tls;

pub(crate) use probe::OUTPUT_LIMIT;
pub(crate) use schedule::run;
