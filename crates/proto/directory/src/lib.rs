//! The one owner of what is known about the peers of every upstream: who is in, in which state, since when and why.
//! Where lists come from, probes and threads are left to the shells.
