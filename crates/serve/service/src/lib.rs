//! Runs an application that registers itself: its check, its lease, its drain, its signals.
//! How registries are reached is left to a trait that the binary implements.
