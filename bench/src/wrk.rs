//! wrk as the load for throughput: started once per round, its figures read from a script's line.

use std::fs;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context, Result, bail, ensure};

const MARK: &str = "figures:";

const SCRIPT: &str = r#"
function done(summary, latency, requests)
  local e = summary.errors
  io.write(string.format("figures: %.0f %.0f %.0f %.0f %.0f %.0f %.0f %.0f\n",
    summary.requests, summary.duration, latency:percentile(50), latency:percentile(99),
    e.connect + e.timeout, e.read, e.write, e.status))
end
"#;

/// Load of one round.
pub(crate) struct Load<'a> {
    pub(crate) address: SocketAddr,
    pub(crate) path: &'a str,
    pub(crate) connections: usize,
    pub(crate) close: bool,
    pub(crate) seconds: u32,
}

/// Figures of one round.
#[derive(Debug, PartialEq)]
pub(crate) struct Figures {
    pub(crate) requests: f64,
    pub(crate) seconds: f64,
    /// Microseconds.
    pub(crate) p50: f64,
    /// Microseconds.
    pub(crate) p99: f64,
    /// Connections that failed, ended inside a reply or timed out, and replies of 400 and above.
    pub(crate) errors: f64,
}

/// wrk with its script written.
pub(crate) struct Wrk {
    script: PathBuf,
}

impl Wrk {
    pub(crate) fn new(folder: &Path) -> Result<Self> {
        let script = folder.join("figures.lua");
        fs::write(&script, SCRIPT)?;
        Ok(Self { script })
    }

    /// Runs on the caller's cores and waits for the end.
    pub(crate) fn run(&self, load: &Load<'_>) -> Result<Figures> {
        let mut command = Command::new("wrk");
        command
            .arg("--threads=1")
            .arg(format!("--connections={}", load.connections))
            .arg(format!("--duration={}s", load.seconds))
            .arg("--timeout=5s")
            .arg("--script")
            .arg(&self.script);
        if load.close {
            command.args(["--header", "Connection: close"]);
        }
        command.arg(format!("http://{}{}", load.address, load.path));
        let output = command.output().context("cannot start wrk")?;
        let text = String::from_utf8_lossy(&output.stdout);
        ensure!(output.status.success(), "wrk failed: {}{text}", String::from_utf8_lossy(&output.stderr));
        let figures = parse(&text)?;
        ensure!(figures.requests > 0.0, "wrk got no reply: {text}");
        Ok(figures)
    }
}

fn parse(text: &str) -> Result<Figures> {
    let Some(line) = text.lines().find_map(|line| line.strip_prefix(MARK)) else {
        bail!("wrk printed no figures: {text}");
    };
    let numbers = line.split_whitespace().map(str::parse).collect::<Result<Vec<f64>, _>>()?;
    let [requests, micros, p50, p99, errors @ ..] = numbers.as_slice() else {
        bail!("wrk printed too few figures: {line}");
    };
    Ok(Figures {
        requests: *requests,
        seconds: micros / 1e6,
        p50: *p50,
        p99: *p99,
        errors: errors.iter().sum(),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_line_of_figures_is_found_among_the_rest() {
        let figures = parse("Running 2s test\nfigures: 1000 2000000 80 250 0 1 0 2\n").expect("a line");
        assert_eq!(figures, Figures { requests: 1000.0, seconds: 2.0, p50: 80.0, p99: 250.0, errors: 3.0 });
    }

    #[test]
    fn no_figures_is_an_error_that_shows_the_output() {
        let error = parse("unable to connect").expect_err("no line");
        assert_eq!(error.to_string(), "wrk printed no figures: unable to connect");
    }
}
