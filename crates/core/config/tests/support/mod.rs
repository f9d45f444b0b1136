//! A machine made of texts.

// Each test file uses its own part of this module.
#![allow(dead_code)]

use std::collections::BTreeMap;
use std::io;
use std::net::IpAddr;

use weir_config::{Environment, Failure, Loaded, Options, load};
use weir_syntax::Source;

/// Files, names and an account.
#[derive(Default)]
pub(crate) struct Machine {
    pub(crate) files: BTreeMap<String, Vec<u8>>,
    pub(crate) names: BTreeMap<String, Vec<IpAddr>>,
    pub(crate) uid: u32,
}

impl Machine {
    /// A machine that knows a few names and has one main file, `/w/nginx.conf`, and a folder of tokens and certificates.
    pub(crate) fn with(text: &str) -> Self {
        let mut machine = Self::default();
        machine.names.insert("app.test".to_owned(), vec![address("10.0.0.1")]);
        machine.names.insert("pair.test".to_owned(), vec![address("10.0.0.1"), address("10.0.0.2")]);
        let machine = ["ca.pem", "client.pem", "client.key"]
            .into_iter()
            .fold(machine, |machine, name| machine.file(&format!("/w/keys/{name}"), "PEM"));
        machine.file("/w/keys/token", "from-a-file\n").file("/w/keys/empty", "\n").file("/w/nginx.conf", text)
    }

    pub(crate) fn file(mut self, path: &str, text: &str) -> Self {
        self.files.insert(path.to_owned(), text.as_bytes().to_vec());
        self
    }

    pub(crate) fn load(&self) -> Result<Loaded, Box<Failure>> {
        load(&options(), self)
    }
}

pub(crate) fn options() -> Options {
    Options { prefix: "/w/".to_owned(), conf_path: "nginx.conf".to_owned(), ..Options::default() }
}

fn address(text: &str) -> IpAddr {
    text.parse().expect("the test writes addresses")
}

impl Source for Machine {
    fn read(&self, path: &str) -> io::Result<Vec<u8>> {
        self.files.get(path).cloned().ok_or_else(|| io::Error::from_raw_os_error(2))
    }

    fn glob(&self, pattern: &str) -> Vec<String> {
        let (start, end) = pattern.split_once('*').unwrap_or((pattern, ""));
        self.files.keys().filter(|path| path.starts_with(start) && path.ends_with(end)).cloned().collect()
    }
}

impl Environment for Machine {
    fn resolve(&self, host: &str) -> io::Result<Vec<IpAddr>> {
        self.names.get(host).cloned().ok_or_else(|| io::Error::other("no such name"))
    }

    fn hostname(&self) -> String {
        "Box.test".to_owned()
    }

    fn effective_uid(&self) -> u32 {
        self.uid
    }
}

/// The http block of a text that goes inside `http { }`.
pub(crate) fn http(body: &str) -> weir_model::Http {
    let machine = Machine::with(&format!("events {{}}\nhttp {{\n{body}\n}}\n"));
    match machine.load() {
        Ok(loaded) => loaded.config.http.expect("there is an http block"),
        Err(failure) => panic!("{failure}"),
    }
}

/// nginx's line for the first error of a text that goes inside `http { }`, whose first line is line 3.
pub(crate) fn error(body: &str) -> String {
    let machine = Machine::with(&format!("events {{}}\nhttp {{\n{body}\n}}\n"));
    match machine.load() {
        Ok(_) => "it loads".to_owned(),
        Err(failure) => failure.to_string(),
    }
}

/// nginx's lines for the warnings of a text that goes inside `http { }`.
pub(crate) fn warnings(body: &str) -> Vec<String> {
    let machine = Machine::with(&format!("events {{}}\nhttp {{\n{body}\n}}\n"));
    match machine.load() {
        Ok(loaded) => loaded.warnings.iter().map(|warning| warning.nginx_line(&loaded.tree.files)).collect(),
        Err(failure) => panic!("{failure}"),
    }
}
