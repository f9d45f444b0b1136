//! Stores and control APIs that are named on the command line.

use weir_model::source::ClientTls;
use weir_model::{Endpoint, Secret, Store};

/// The store behind addresses that were typed.
pub(super) fn store(addresses: &[String], token: Option<Secret>, tls: ClientTls) -> Result<Store, String> {
    let secured = addresses.iter().filter(|address| address.starts_with("https://")).count();
    if secured != 0 && secured != addresses.len() {
        return Err("some addresses are https:// and some are not; expected all of one kind".to_owned());
    }
    let endpoints = addresses.iter().map(|address| endpoint(address)).collect::<Result<_, _>>()?;
    Ok(Store { endpoints, token, tls: (secured != 0).then_some(tls) })
}

fn endpoint(address: &str) -> Result<Endpoint, String> {
    if let Some(path) = address.strip_prefix("unix:") {
        return Ok(Endpoint::Unix(path.trim_start_matches("//").to_owned()));
    }
    let bare = address.trim_start_matches("https://").trim_start_matches("http://").trim_end_matches('/');
    let wrong = || format!("address {address:?}; expected HOST:PORT, https://HOST:PORT or unix:PATH");
    let (host, port) = bare.rsplit_once(':').ok_or_else(wrong)?;
    let host = host.trim_matches(['[', ']']);
    let port = port.parse().map_err(|_| wrong())?;
    if host.is_empty() || host.contains('/') {
        return Err(wrong());
    }
    Ok(Endpoint::Host { host: host.to_owned(), port })
}
