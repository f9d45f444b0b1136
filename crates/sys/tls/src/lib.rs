//! TLS settings from PEM files, for servers and clients.
//! Handshakes and streams are left to tokio-rustls.
