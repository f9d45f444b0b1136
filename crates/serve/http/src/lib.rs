//! The HTTP shell: data threads, connections, proxying, files.
//! Processes and signals are left to the weir binary, decisions without I/O to weir-http and weir-balance.
