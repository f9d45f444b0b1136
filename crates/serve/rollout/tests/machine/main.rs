//! What a release does at servers, with real processes: commands, units, hooks, probes, warming, waiting for others.

mod commands;
mod external;
mod probes;
mod remote;
mod support;
mod units;
