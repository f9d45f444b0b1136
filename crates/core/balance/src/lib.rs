//! Peers, groups, selection algorithms and passive failure accounting.
//! Connections, clocks and retries are left to weir-serve-*.
