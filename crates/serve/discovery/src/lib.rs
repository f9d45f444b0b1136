//! Follows sources of peers: Consul, etcd, DNS, folders; the last good list is kept on disk.
//! What becomes of the lists is left to weir-directory.
