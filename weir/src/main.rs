//! The weir binary: command line, keeper, worker, wiring.
//! Everything that has a rule of its own lives in crates/.
fn main() {}
