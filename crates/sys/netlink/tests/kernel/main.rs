//! Against the kernel, each test in a network namespace of its own, with ip(8) as the witness.

mod addresses;
mod links;
mod monitor;
mod refusals;
mod routes;
mod rules;
mod support;
