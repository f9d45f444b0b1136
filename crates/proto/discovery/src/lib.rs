//! What sources of peers say, and when to ask them again: Consul, etcd, DNS, folders.
//! Sockets, files and clocks are left to weir-serve-discovery.
