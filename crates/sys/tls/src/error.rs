use std::path::{Path, PathBuf};

use rustls_pki_types::pem;

/// Why TLS settings cannot be made; the message names the file and the remedy.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    #[error(
        "cannot read {path:?}: {source}; the file has to exist and be readable by the user who starts weir"
    )]
    Read { path: PathBuf, source: std::io::Error },
    #[error(
        "{path:?} is damaged as PEM: {reason}; expected \"-----BEGIN ...-----\", base64 and \"-----END ...-----\""
    )]
    Pem { path: PathBuf, reason: String },
    #[error(
        "{path:?} holds no certificate; expected PEM with \"-----BEGIN CERTIFICATE-----\", the server's own one first"
    )]
    NoCertificate { path: PathBuf },
    #[error(
        "{path:?} holds no private key; expected PEM with \"-----BEGIN PRIVATE KEY-----\" (PKCS 8, PKCS 1 or SEC 1)"
    )]
    NoKey { path: PathBuf },
    #[error(
        "the private key in {path:?} is encrypted; nobody is there to type its password: store it decrypted (openssl pkey -in FILE -out FILE.plain), readable by root alone"
    )]
    EncryptedKey { path: PathBuf },
    #[error(
        "the certificate in {cert:?} and the key in {key:?} do not fit together; give the key that this certificate was made for"
    )]
    Mismatch { cert: PathBuf, key: PathBuf },
    #[error("the certificate in {cert:?} or the key in {key:?} cannot be used: {source}")]
    Unusable { cert: PathBuf, key: PathBuf, source: rustls::Error },
    #[error("a certificate in {path:?} cannot be a root: {source}; expected the certificates of authorities")]
    Root { path: PathBuf, source: rustls::Error },
    #[error(
        "this machine has no root certificates; install the package ca-certificates or name a file of roots"
    )]
    NoMachineRoots,
    #[error("no TLS settings are possible: {0}")]
    Settings(#[source] rustls::Error),
}

impl Error {
    pub(crate) fn pair(cert: &Path, key: &Path, source: rustls::Error) -> Self {
        let (cert, key) = (cert.to_owned(), key.to_owned());
        match source {
            rustls::Error::InconsistentKeys(rustls::InconsistentKeys::KeyMismatch) => {
                Self::Mismatch { cert, key }
            }
            source => Self::Unusable { cert, key, source },
        }
    }

    pub(crate) fn pem(path: &Path, source: pem::Error) -> Self {
        // The library prints the bytes of a wrong marker as numbers; the case alone says enough.
        let reason = match source {
            pem::Error::MissingSectionEnd { .. } => "a section has no end line".to_owned(),
            pem::Error::IllegalSectionStart { .. } => "a begin line is malformed".to_owned(),
            pem::Error::Base64Decode(what) => format!("wrong base64 ({what})"),
            other => other.to_string(),
        };
        Self::Pem { path: path.to_owned(), reason }
    }
}
