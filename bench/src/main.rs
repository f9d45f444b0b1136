//! Measurements of Weir, nginx and haproxy in the same run, as one command that prints a table.
//! Nothing of the product depends on it; what the rows mean is in `docs/benchmark.md`.

use std::fs;
use std::io::{BufRead, BufReader, Write};
use std::os::unix::fs::PermissionsExt;
use std::path::PathBuf;
use std::process::{Child, Command, ExitCode, Stdio};

use anyhow::{Context, Result, bail, ensure};
use clap::{Parser, Subcommand};
use serde::Serialize;

use crate::cases::THROUGHPUT;
use crate::machine::{Bystanders, Cores, Facts};
use crate::proxy::{Kind, Site};
use crate::results::{Record, Results, Sample};
use crate::table::Run;
use crate::targets::Verdict;
use crate::wrk::Wrk;

mod backend;
mod cases;
mod client;
mod control;
mod idle;
mod load;
mod machine;
mod measure;
mod packages;
mod proxy;
mod reload;
mod results;
mod table;
mod targets;
mod websocket;
mod wrk;

/// Measures nginx, haproxy and Weir side by side and prints CPU time per request, throughput,
/// latency, memory and what reloads cost.
#[derive(Parser)]
#[command(name = "weir-bench", version)]
struct Arguments {
    #[command(subcommand)]
    role: Option<Role>,
    /// Two short rounds: a look in about a minute and a half, not a verdict
    #[arg(long)]
    quick: bool,
    /// Alternating rounds of each case [default: 5, or 2 with --quick]
    #[arg(long, value_parser = clap::value_parser!(u16).range(1..=100))]
    rounds: Option<u16>,
    /// Only the cases whose name starts with NAME; may be given several times
    #[arg(long, value_name = "NAME", global = true)]
    only: Vec<String>,
    /// The binary to measure as Weir [default: built from this workspace, or the one beside this program]
    #[arg(long, value_name = "PATH", global = true)]
    weir: Option<PathBuf>,
    /// Who is measured
    #[arg(long, value_name = "NAME", value_delimiter = ',', default_values = ["nginx", "haproxy", "weir"])]
    proxies: Vec<Kind>,
    /// Requests per second in the latency case [default: a third of what nginx answers at most]
    #[arg(long, value_parser = clap::value_parser!(u32).range(1..=1_000_000))]
    rate: Option<u32>,
    /// Writes every round's figures to FILE
    #[arg(long, value_name = "FILE")]
    json: Option<PathBuf>,
}

#[derive(Subcommand)]
enum Role {
    /// Runs the backend alone and prints its address
    Backend,
    /// Measures what runs beside the traffic: registry, changes of peers, checks
    Control,
}

#[derive(Serialize)]
struct Document<'a> {
    facts: &'a Facts,
    seconds: u32,
    latency_rate: Option<u32>,
    other_programs_percent_of_a_core: f64,
    rounds: Vec<Record<'a>>,
    targets: &'a [Verdict],
    notes: &'a [String],
    problems: &'a [String],
}

fn main() -> ExitCode {
    let arguments = Arguments::parse();
    let result = match arguments.role {
        Some(Role::Backend) => run_backend().map(|()| true),
        Some(Role::Control) => measure_control(&arguments),
        None => measure_all(&arguments),
    };
    match result {
        Ok(true) => ExitCode::SUCCESS,
        Ok(false) => ExitCode::FAILURE,
        Err(error) => {
            eprintln!("weir-bench: {error:#}");
            ExitCode::FAILURE
        }
    }
}

fn run_backend() -> Result<()> {
    let listener = backend::listen()?;
    println!("{}", listener.local_addr()?);
    std::io::stdout().flush()?;
    Ok(backend::serve(listener)?)
}

/// The figures beside the traffic.
fn measure_control(arguments: &Arguments) -> Result<bool> {
    let weir = match &arguments.weir {
        Some(path) => fs::canonicalize(path)
            .with_context(|| format!("no binary at {}, name one with --weir", path.display()))?,
        None => build_weir()?,
    };
    let folder = tempfile::Builder::new().prefix("weir-bench-").tempdir()?;
    fs::set_permissions(folder.path(), fs::Permissions::from_mode(0o755))?;
    control::run(&control::Place { folder: folder.path().to_owned(), weir }, &arguments.only)
}

/// True when every measurement was made and every reply was right.
fn measure_all(arguments: &Arguments) -> Result<bool> {
    let names = chosen(&arguments.only)?;
    packages::ensure_installed(&[("nginx", "nginx-light"), ("haproxy", "haproxy"), ("wrk", "wrk")])?;
    let weir = match &arguments.weir {
        Some(path) => fs::canonicalize(path)
            .with_context(|| format!("no binary at {}, name one with --weir", path.display()))?,
        None if arguments.proxies.contains(&Kind::Weir) => build_weir()?,
        None => PathBuf::from("weir"),
    };
    let cores = Cores::choose()?;
    let open_files = machine::raise_open_files(20_000);
    cores.enter_load_core()?;
    let facts = Facts::read(cores, &arguments.proxies, &weir);
    let folder = tempfile::Builder::new().prefix("weir-bench-").tempdir()?;
    // Workers that drop their privileges must get at their temporary files.
    fs::set_permissions(folder.path(), fs::Permissions::from_mode(0o755))?;

    let rounds = arguments.rounds.map_or(if arguments.quick { 2 } else { 5 }, usize::from);
    let bystanders = Bystanders::start()?;
    let mut origin = Origin::start()?;
    let mut bench = Bench {
        site: Site {
            folder: folder.path().to_owned(),
            address: Site::free_address()?,
            backend: origin.address()?,
            core: cores.proxy,
            weir,
        },
        wrk: Wrk::new(folder.path())?,
        proxies: &arguments.proxies,
        rounds: arguments.rounds.map_or(if arguments.quick { 2 } else { 5 }, usize::from),
        latency_rounds: rounds * if arguments.quick { 2 } else { 3 },
        seconds: if arguments.quick { 1 } else { 2 },
        rate: arguments.rate,
        idle_connections: idle::CONNECTIONS.min((open_files as usize).saturating_sub(1000)),
        results: Results::default(),
    };
    for name in &names {
        bench.case(name)?;
    }
    drop(origin);
    bench.print(&facts, bystanders.percent_of_core()?, arguments)
}

/// The cases that `--only` names, or all.
fn chosen(only: &[String]) -> Result<Vec<&'static str>> {
    let names: Vec<&'static str> =
        THROUGHPUT.iter().map(|case| case.name).chain([cases::LATENCY, idle::NAME, reload::NAME]).collect();
    for prefix in only {
        if !names.iter().any(|name| name.starts_with(prefix.as_str())) {
            bail!("no case is named {prefix}; there are {}", names.join(", "));
        }
    }
    let wanted =
        |name: &&'static str| only.is_empty() || only.iter().any(|prefix| name.starts_with(prefix.as_str()));
    Ok(names.into_iter().filter(wanted).collect())
}

/// Weir as cargo builds it now, or the binary beside this one when cargo did not start us.
fn build_weir() -> Result<PathBuf> {
    let own = std::env::current_exe()?;
    if let Some(cargo) = std::env::var_os("CARGO") {
        let manifest = std::env::var_os("CARGO_MANIFEST_PATH").context("no CARGO_MANIFEST_PATH")?;
        let status = Command::new(cargo)
            .args(["build", "--release", "--quiet", "--package", "weir"])
            .arg("--manifest-path")
            .arg(manifest)
            .status()
            .context("cannot run cargo")?;
        ensure!(status.success(), "cargo build --release -p weir failed");
        // This program may be a debug build; the subject never is.
        let profiles = own.parent().and_then(|folder| folder.parent());
        let built = profiles.map(|folder| folder.join("release").join("weir"));
        if let Some(built) = built.filter(|built| built.is_file()) {
            return Ok(built);
        }
    }
    let beside = own.with_file_name("weir");
    ensure!(
        beside.is_file(),
        "no weir at {}; build it with cargo build --release -p weir, or name a binary with --weir",
        beside.display()
    );
    Ok(beside)
}

/// The backend as a process of its own on the load core; ends when dropped.
struct Origin {
    child: Child,
}

impl Origin {
    fn start() -> Result<Self> {
        let child = Command::new("setpriv")
            .args(["--pdeathsig", "TERM"])
            .arg(std::env::current_exe()?)
            .arg("backend")
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .spawn()
            .context("cannot start the backend")?;
        Ok(Self { child })
    }

    /// Ends it as an application ends that is killed.
    fn kill(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }

    fn address(&mut self) -> Result<std::net::SocketAddr> {
        let output = self.child.stdout.take().context("the backend's output")?;
        let mut line = String::new();
        BufReader::new(output).read_line(&mut line)?;
        line.trim().parse().with_context(|| format!("the backend printed {line:?}, expected its address"))
    }
}

impl Drop for Origin {
    fn drop(&mut self) {
        proxy::stop(&mut self.child);
    }
}

struct Bench<'a> {
    site: Site,
    wrk: Wrk,
    proxies: &'a [Kind],
    rounds: usize,
    latency_rounds: usize,
    seconds: u32,
    rate: Option<u32>,
    idle_connections: usize,
    results: Results,
}

impl Bench<'_> {
    fn case(&mut self, name: &'static str) -> Result<()> {
        match name {
            cases::LATENCY => {
                if self.rate.is_none() {
                    let nginx = self.proxies.contains(&Kind::Nginx);
                    let reference = if nginx { Kind::Nginx } else { self.proxies[0] };
                    let rate = cases::latency_rate(&self.site, reference, &self.wrk, &self.results)?;
                    self.rate = Some(rate);
                }
                let rate = self.rate.context("the rate was just set")?;
                // A tail is noisy, and a disturbance spoils the round that it hits: many short rounds.
                self.alternate(name, self.latency_rounds, |bench, kind| {
                    cases::latency(&bench.site, kind, rate, &mut bench.results)
                });
            }
            idle::NAME => self.alternate(name, self.rounds.min(3), |bench, kind| {
                idle::idle(&bench.site, kind, bench.idle_connections)
            }),
            reload::NAME => {
                self.alternate(name, 1, |bench, kind| reload::reload(&bench.site, kind, &mut bench.results))
            }
            _ => {
                let case =
                    THROUGHPUT.iter().find(|case| case.name == name).context("a case without a name")?;
                self.alternate(name, self.rounds, |bench, kind| {
                    cases::throughput(case, &bench.site, kind, &bench.wrk, bench.seconds, &mut bench.results)
                });
            }
        }
        Ok(())
    }

    /// Measures all proxies in every round, each round beginning with another one, so that a slow
    /// drift of the machine hits all alike. Who failed once is not asked again in this case.
    fn alternate(
        &mut self,
        name: &'static str,
        rounds: usize,
        mut measure: impl FnMut(&mut Self, Kind) -> Result<Sample>,
    ) {
        eprintln!("{name}");
        let mut failed: Vec<Kind> = Vec::new();
        for round in 0..rounds {
            for turn in 0..self.proxies.len() {
                let kind = self.proxies[(turn + round) % self.proxies.len()];
                if failed.contains(&kind) {
                    continue;
                }
                match measure(self, kind) {
                    Ok(sample) => self.results.insert(name, kind, round, sample),
                    Err(error) => {
                        failed.push(kind);
                        let problem = format!("{name}: {}: {error:#}", kind.name());
                        self.results.problems.push(problem);
                    }
                }
            }
        }
    }

    fn print(&self, facts: &Facts, bystanders: f64, arguments: &Arguments) -> Result<bool> {
        let verdicts = targets::judge(&self.results);
        let run = Run {
            facts,
            proxies: self.proxies,
            rounds: self.rounds,
            seconds: self.seconds,
            rate: self.rate,
            idle_connections: self.idle_connections,
            bystanders,
        };
        print!("{}", table::report(&run, &self.results, &verdicts));
        if let Some(path) = &arguments.json {
            let document = Document {
                facts,
                seconds: self.seconds,
                latency_rate: self.rate,
                other_programs_percent_of_a_core: bystanders,
                rounds: self.results.records(),
                targets: &verdicts,
                notes: &self.results.notes,
                problems: &self.results.problems,
            };
            fs::write(path, serde_json::to_string_pretty(&document)?)
                .with_context(|| format!("cannot write {}", path.display()))?;
        }
        Ok(self.results.problems.is_empty())
    }
}
