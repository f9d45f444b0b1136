//! A release, server by server, without I/O: the plan, the states, what to do next and how it can go on after an interruption.
//! Stores, proxies, machines and clocks are left to weir-serve-rollout.
