//! HTTP/1 as bytes in, decisions out: heads, bodies, routing, rewriting, variables.
//! Sockets, files and clocks are left to weir-serve-http.
