//! The data of a registry as Consul has it: keys, sessions, services, checks, their index and who waits for them.
//! Disk, sockets and clocks are left to weir-serve-registry.
