//! Measurements of Weir, nginx and haproxy in the same run.
//! Nothing of the product depends on it.
fn main() {}
