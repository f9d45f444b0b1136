//! The catalogue of rules.

mod agree;
mod listen;
mod local;
mod members;
mod peers;
mod preempt;
mod priority;
mod upstreams;

use crate::Rule;

const TABLES: &[&[Rule]] = &[
    agree::RULES,
    peers::RULES,
    priority::RULES,
    preempt::RULES,
    members::RULES,
    listen::RULES,
    local::RULES,
    upstreams::RULES,
];

/// Every rule.
pub fn rules() -> impl Iterator<Item = &'static Rule> + Clone {
    TABLES.iter().flat_map(|table| table.iter())
}
