//! The directory from outside: events in, actions and states out.

mod lists;
mod orders;
mod properties;
mod reload;
mod shares;
mod states;
mod support;
