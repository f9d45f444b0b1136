//! Runs active checks: one thread, one event loop, one probe for each peer and check.
//! What a result means for traffic is left to weir-directory.
