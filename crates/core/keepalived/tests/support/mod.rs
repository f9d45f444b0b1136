//! A machine made of texts.

// Each test file uses its own part of this module.
#![allow(dead_code)]

use std::collections::BTreeMap;
use std::io;

use weir_keepalived::{Environment, Failure, Loaded, load};
use weir_model::vrrp::{Instance, Vrrp};
use weir_syntax::Source;
use weir_syntax::keepalived::Settings;

/// The main file of every machine.
pub(crate) const PATH: &str = "/k/keepalived.conf";

#[derive(Default)]
pub(crate) struct Machine {
    files: BTreeMap<String, Vec<u8>>,
}

impl Machine {
    pub(crate) fn with(text: &str) -> Self {
        Self::default().file(PATH, text)
    }

    pub(crate) fn file(mut self, path: &str, text: &str) -> Self {
        self.files.insert(path.to_owned(), text.as_bytes().to_vec());
        self
    }

    pub(crate) fn load(&self) -> Result<Loaded, Box<Failure>> {
        let settings = Settings { node: "box.test".to_owned(), ..Settings::default() };
        load(PATH, &settings, self)
    }
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
    fn routing_table(&self, name: &str) -> Option<u32> {
        (name == "uplink").then_some(100)
    }
}

/// The lines of an instance that is complete but for what a test adds.
pub(crate) fn instance(lines: &str) -> String {
    format!(
        "vrrp_instance A {{\ninterface eth0\nvirtual_router_id 5\nvirtual_ipaddress {{\n10.9.0.9\n}}\n{lines}\n}}\n"
    )
}

pub(crate) fn model(text: &str) -> Vrrp {
    match Machine::with(text).load() {
        Ok(loaded) => loaded.vrrp,
        Err(failure) => panic!("{failure}"),
    }
}

/// The first instance of a text.
pub(crate) fn first(text: &str) -> Instance {
    model(text).instances.into_iter().next().expect("there is an instance")
}

/// What is said about a text, each line `warning: ...` or `error: ...`, without places.
pub(crate) fn said(text: &str) -> Vec<String> {
    let diagnostics = match Machine::with(text).load() {
        Ok(loaded) => loaded.warnings,
        Err(failure) => failure.diagnostics,
    };
    let line = |one: &weir_syntax::Diagnostic| match one.severity {
        weir_syntax::Severity::Error => format!("error: {}", one.message),
        weir_syntax::Severity::Warning => format!("warning: {}", one.message),
    };
    diagnostics.iter().map(line).collect()
}
