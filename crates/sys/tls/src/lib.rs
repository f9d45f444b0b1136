//! TLS settings from PEM files, for servers and clients.
//! Handshakes and streams are left to tokio-rustls.

mod error;
mod unverified;

use std::path::Path;
use std::sync::Arc;

use rustls::crypto::{CryptoProvider, aws_lc_rs};
use rustls::{ClientConfig, RootCertStore, ServerConfig};
use rustls_pki_types::pem::{self, PemObject};
use rustls_pki_types::{CertificateDer, PrivateKeyDer};
use weir_model::source::ClientTls;

pub use error::Error;

/// Settings of a server that shows the certificate (and the chain below it) of `cert_path` and signs with the key of
/// `key_path`. TLS 1.2 and 1.3, no client certificate asked for, `http/1.1` offered by ALPN.
pub fn server_config(cert_path: &Path, key_path: &Path) -> Result<Arc<ServerConfig>, Error> {
    let chain = certificates(cert_path)?;
    let key = private_key(key_path)?;
    let mut config = ServerConfig::builder_with_provider(provider())
        .with_safe_default_protocol_versions()
        .map_err(Error::Settings)?
        .with_no_client_auth()
        .with_single_cert(chain, key)
        .map_err(|source| Error::pair(cert_path, key_path, source))?;
    config.alpn_protocols = vec![b"http/1.1".to_vec()];
    Ok(Arc::new(config))
}

/// Settings of a client: the roots of `ca` or of the machine, its own certificate where there is one. The name to verify
/// (`tls.server_name`) is given to the handshake by the caller. No ALPN.
pub fn client_config(tls: &ClientTls) -> Result<Arc<ClientConfig>, Error> {
    let roots = match &tls.ca {
        Some(path) => roots_of(Path::new(path))?,
        None => machine_roots()?,
    };
    let builder = ClientConfig::builder_with_provider(provider())
        .with_safe_default_protocol_versions()
        .map_err(Error::Settings)?
        .with_root_certificates(roots);
    let config = match &tls.identity {
        None => builder.with_no_client_auth(),
        Some((cert, key)) => {
            let (cert, key) = (Path::new(cert), Path::new(key));
            builder
                .with_client_auth_cert(certificates(cert)?, private_key(key)?)
                .map_err(|source| Error::pair(cert, key, source))?
        }
    };
    Ok(Arc::new(config))
}

/// Settings of a client that takes any certificate (`TLSSkipVerify` of a check): encrypted, with nobody known at the other
/// end. Nothing secret may be sent over it.
pub fn unverified_client_config() -> Result<Arc<ClientConfig>, Error> {
    let provider = provider();
    let config = ClientConfig::builder_with_provider(provider.clone())
        .with_safe_default_protocol_versions()
        .map_err(Error::Settings)?
        .dangerous()
        .with_custom_certificate_verifier(Arc::new(unverified::AnyCertificate(provider)))
        .with_no_client_auth();
    Ok(Arc::new(config))
}

fn provider() -> Arc<CryptoProvider> {
    Arc::new(aws_lc_rs::default_provider())
}

fn certificates(path: &Path) -> Result<Vec<CertificateDer<'static>>, Error> {
    let text = read(path)?;
    let found: Result<Vec<_>, pem::Error> = CertificateDer::pem_slice_iter(&text).collect();
    let found = found.map_err(|source| Error::pem(path, source))?;
    if found.is_empty() {
        return Err(Error::NoCertificate { path: path.to_owned() });
    }
    Ok(found)
}

fn private_key(path: &Path) -> Result<PrivateKeyDer<'static>, Error> {
    let text = read(path)?;
    PrivateKeyDer::from_pem_slice(&text).map_err(|source| match source {
        pem::Error::NoItemsFound if text.windows(9).any(|word| word == b"ENCRYPTED") => {
            Error::EncryptedKey { path: path.to_owned() }
        }
        pem::Error::NoItemsFound => Error::NoKey { path: path.to_owned() },
        source => Error::pem(path, source),
    })
}

fn roots_of(path: &Path) -> Result<RootCertStore, Error> {
    let mut roots = RootCertStore::empty();
    for certificate in certificates(path)? {
        roots.add(certificate).map_err(|source| Error::Root { path: path.to_owned(), source })?;
    }
    Ok(roots)
}

fn machine_roots() -> Result<RootCertStore, Error> {
    let found = rustls_native_certs::load_native_certs();
    let mut roots = RootCertStore::empty();
    roots.add_parsable_certificates(found.certs);
    if roots.is_empty() {
        return Err(Error::NoMachineRoots);
    }
    Ok(roots)
}

fn read(path: &Path) -> Result<Vec<u8>, Error> {
    std::fs::read(path).map_err(|source| Error::Read { path: path.to_owned(), source })
}
