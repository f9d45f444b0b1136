//! Figures of what runs beside the traffic: how fast a change is obeyed, what the registry writes, what watchers, members
//! and checks cost. nginx and haproxy have no counterpart; Consul has one for some rows, and is measured where it is installed.

mod checks;
mod churn;
mod node;
mod propagation;
mod registry;

use std::path::PathBuf;

use anyhow::{Result, bail};

use crate::machine;

/// What is measured with, and where.
pub(crate) struct Place {
    pub(crate) folder: PathBuf,
    pub(crate) weir: PathBuf,
}

/// One line of the table.
pub(crate) struct Row {
    pub(crate) title: String,
    pub(crate) value: f64,
    pub(crate) unit: &'static str,
    /// What it has to reach; absent: for comparison.
    pub(crate) target: Option<Target>,
}

/// A bound of a figure.
pub(crate) enum Target {
    AtMost(f64),
    AtLeast(f64),
}

impl Row {
    /// A figure that is there for comparison.
    pub(crate) fn plain(title: impl Into<String>, value: f64, unit: &'static str) -> Row {
        Row { title: title.into(), value, unit, target: None }
    }

    pub(crate) fn at_most(title: impl Into<String>, value: f64, unit: &'static str, limit: f64) -> Row {
        Row { title: title.into(), value, unit, target: Some(Target::AtMost(limit)) }
    }

    pub(crate) fn at_least(title: impl Into<String>, value: f64, unit: &'static str, limit: f64) -> Row {
        Row { title: title.into(), value, unit, target: Some(Target::AtLeast(limit)) }
    }

    fn text(&self) -> String {
        let Self { title, value, unit, target } = self;
        let value = format!("{value:.2} {unit}");
        let (target, verdict) = match target {
            None => (String::new(), ""),
            Some(Target::AtMost(limit)) => {
                (format!("at most {limit} {unit}"), if self.value <= *limit { "met" } else { "missed" })
            }
            Some(Target::AtLeast(limit)) => {
                (format!("at least {limit} {unit}"), if self.value >= *limit { "met" } else { "missed" })
            }
        };
        format!("{title:<72} {value:>14}  {target:<22} {verdict}\n")
    }
}

type Case = (&'static str, fn(&Place) -> Result<Vec<Row>>);

const CASES: &[Case] = &[
    ("propagation", propagation::embedded),
    ("consul", propagation::consul),
    ("killed-peer", propagation::killed_peer),
    ("writes", registry::writes),
    ("watchers", registry::watchers),
    ("churn", churn::churn),
    ("checks", checks::checks),
];

/// Measures all cases, or those whose name starts with a word of `only`. True when all could be measured.
pub(crate) fn run(place: &Place, only: &[String]) -> Result<bool> {
    for word in only {
        if !CASES.iter().any(|(name, _)| name.starts_with(word.as_str())) {
            let names: Vec<&str> = CASES.iter().map(|(name, _)| *name).collect();
            bail!("no case is named {word}; there are {}", names.join(", "));
        }
    }
    machine::raise_open_files(60_000);
    let mut complete = true;
    let wanted = |name: &str| only.is_empty() || only.iter().any(|word| name.starts_with(word.as_str()));
    for (name, measure) in CASES.iter().filter(|(name, _)| wanted(name)) {
        eprintln!("{name}");
        match measure(place) {
            Ok(rows) => rows.iter().for_each(|row| print!("{}", row.text())),
            Err(error) => {
                complete = false;
                println!("{name}: not measured: {error:#}");
            }
        }
    }
    Ok(complete)
}
