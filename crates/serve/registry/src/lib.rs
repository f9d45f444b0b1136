//! The embedded registry: a durable store with Consul's HTTP API and DNS.
//! Peers of upstreams and checks of them are left to weir-serve-discovery and weir-serve-health.
