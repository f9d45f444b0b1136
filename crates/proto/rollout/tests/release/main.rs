//! Releases against a world with virtual time.

mod checks;
mod endings;
mod halts;
mod lines;
mod plans;
mod several;
mod simulation;
mod watching;
mod world;
