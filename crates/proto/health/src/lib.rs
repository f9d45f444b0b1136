//! Active checks without I/O: what a probe sends, what counts as alive, when the next one is due.
//! Sockets and clocks are left to weir-serve-health.
