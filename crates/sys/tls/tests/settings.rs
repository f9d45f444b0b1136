//! Settings from files that are good, missing, damaged or do not fit together; and a handshake with them.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use rustls::{ClientConnection, ServerConnection};
use tempfile::TempDir;
use weir_model::source::ClientTls;
use weir_tls::{Error, client_config, server_config, unverified_client_config};

struct Files {
    folder: TempDir,
    cert: PathBuf,
    key: PathBuf,
}

fn text(path: &Path) -> String {
    path.to_str().expect("a path in UTF-8").to_owned()
}

impl Files {
    fn new() -> Self {
        let folder = tempfile::tempdir().expect("a folder");
        let made =
            rcgen::generate_simple_self_signed(vec!["store.example".to_owned()]).expect("a certificate");
        let (cert, key) = (folder.path().join("cert.pem"), folder.path().join("key.pem"));
        std::fs::write(&cert, made.cert.pem()).expect("it is written");
        std::fs::write(&key, made.signing_key.serialize_pem()).expect("it is written");
        Self { folder, cert, key }
    }

    fn write(&self, name: &str, content: &str) -> PathBuf {
        let path = self.folder.path().join(name);
        std::fs::write(&path, content).expect("it is written");
        path
    }
}

/// Whether client and server come to an agreement, in memory.
fn handshake(
    client: Arc<rustls::ClientConfig>,
    server: Arc<rustls::ServerConfig>,
    name: &'static str,
) -> Result<(), rustls::Error> {
    let mut client = ClientConnection::new(client, name.try_into().expect("a name"))?;
    let mut server = ServerConnection::new(server)?;
    while client.is_handshaking() || server.is_handshaking() {
        let mut wire = Vec::new();
        client.write_tls(&mut wire).expect("a vector takes everything");
        server.read_tls(&mut wire.as_slice()).expect("a slice gives everything");
        server.process_new_packets()?;
        let mut wire = Vec::new();
        server.write_tls(&mut wire).expect("a vector takes everything");
        client.read_tls(&mut wire.as_slice()).expect("a slice gives everything");
        client.process_new_packets()?;
    }
    Ok(())
}

#[test]
fn a_client_that_knows_the_authority_trusts_the_server() {
    let files = Files::new();
    let server = server_config(&files.cert, &files.key).expect("a server");
    let known = ClientTls { ca: Some(text(&files.cert)), ..ClientTls::default() };
    let client = client_config(&known).expect("a client");
    handshake(Arc::clone(&client), Arc::clone(&server), "store.example").expect("they trust");
    let wrong = handshake(client, Arc::clone(&server), "other.example").expect_err("another name");
    assert!(matches!(wrong, rustls::Error::InvalidCertificate(_)), "{wrong}");

    let stranger = Files::new();
    let unknown = ClientTls { ca: Some(text(&stranger.cert)), ..ClientTls::default() };
    let error = handshake(client_config(&unknown).expect("a client"), Arc::clone(&server), "store.example");
    assert!(matches!(error, Err(rustls::Error::InvalidCertificate(_))), "{error:?}");

    let careless = unverified_client_config().expect("a client");
    handshake(careless, server, "other.example").expect("it takes any certificate");
}

#[test]
fn a_client_may_have_a_certificate_of_its_own() {
    let files = Files::new();
    let identity = Some((text(&files.cert), text(&files.key)));
    let tls = ClientTls { ca: Some(text(&files.cert)), identity, server_name: None };
    client_config(&tls).expect("a client");
}

#[test]
fn what_is_wrong_with_a_file_is_said() {
    let files = Files::new();
    let missing = server_config(Path::new("/nowhere/cert.pem"), &files.key).expect_err("no file");
    assert!(missing.to_string().starts_with("cannot read \"/nowhere/cert.pem\": "), "{missing}");

    let empty = files.write("empty.pem", "");
    assert!(matches!(server_config(&empty, &files.key), Err(Error::NoCertificate { path }) if path == empty));
    assert!(matches!(server_config(&files.cert, &empty), Err(Error::NoKey { path }) if path == empty));
    assert!(matches!(server_config(&files.cert, &files.cert), Err(Error::NoKey { .. })));

    let cut = files.write("cut.pem", "-----BEGIN CERTIFICATE-----\nMIIB\n");
    let error = server_config(&cut, &files.key).expect_err("no end");
    assert!(error.to_string().contains("a section has no end line"), "{error}");

    let locked = "-----BEGIN ENCRYPTED PRIVATE KEY-----\nMIIB\n-----END ENCRYPTED PRIVATE KEY-----\n";
    let locked = files.write("locked.pem", locked);
    assert!(
        matches!(server_config(&files.cert, &locked), Err(Error::EncryptedKey { path }) if path == locked)
    );

    let other = Files::new();
    let error = server_config(&files.cert, &other.key).expect_err("another key");
    assert!(matches!(error, Error::Mismatch { .. }), "{error}");
    assert!(error.to_string().contains("do not fit together"), "{error}");

    let tls = ClientTls { ca: Some(text(&files.key)), ..ClientTls::default() };
    assert!(matches!(client_config(&tls), Err(Error::NoCertificate { .. })));
}
