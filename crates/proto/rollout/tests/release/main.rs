//! Releases against a world with virtual time.

mod checks;
mod endings;
mod halts;
mod plans;
mod simulation;
mod watching;
mod world;
