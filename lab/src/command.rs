//! The command line: `weir lab FILE`, `weir lab --matrix`, `weir lab --demo`.

use std::ffi::OsString;
use std::io::IsTerminal;
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Command, ExitCode};

use clap::Parser;

use crate::demo::demo_ha;
use crate::entry::Subject;
use crate::error::{Error, Result};
use crate::matrix::{self, Case, Pair};
use crate::run::{Cast, run};
use crate::scenario::{Scenario, Time};
use crate::{svg, timeline};

/// Runs hosts in network namespaces, breaks things, and shows what an address and its clients saw.
#[derive(Debug, Parser)]
#[command(name = "weir lab", no_binary_name = true)]
struct Arguments {
    /// The scenario.
    #[arg(required_unless_present_any = ["matrix", "demo"])]
    file: Option<PathBuf>,
    /// Who plays the role "entry": weir or keepalived+nginx (or the environment variable LAB_SUBJECT).
    #[arg(long)]
    subject: Option<String>,
    /// Writes the timeline as a picture.
    #[arg(long, value_name = "FILE")]
    svg: Option<PathBuf>,
    /// Writes everything that was seen, as JSON.
    #[arg(long, value_name = "FILE")]
    json: Option<PathBuf>,
    /// The kill matrix: every event on Weir, on its rivals, and on both together.
    #[arg(long)]
    matrix: bool,
    /// Only this column of the matrix: weir, keepalived+nginx or mixed.
    #[arg(long, value_name = "PAIR")]
    only: Vec<String>,
    /// Only the rows of the matrix whose name has this in it.
    #[arg(long, value_name = "TEXT")]
    case: Vec<String>,
    /// How many laboratories of the matrix run at once.
    #[arg(long, default_value_t = 2)]
    jobs: usize,
    /// The demonstration of `weir demo --ha`.
    #[arg(long)]
    demo: bool,
    /// The time of the demonstration, which then plays by itself.
    #[arg(long, value_parser = time)]
    time: Option<Time>,
}

fn time(text: &str) -> std::result::Result<Time, String> {
    Time::parse(text).map_err(|error| error.to_string())
}

/// Set in the process that runs in a user namespace.
const INSIDE: &str = "WEIR_LAB_INSIDE";

/// Runs `weir lab ARGUMENTS`. The exit code is 0 if every expectation was met.
pub fn main_with(arguments: impl IntoIterator<Item = OsString>, weir: &Path) -> ExitCode {
    let arguments = match Arguments::try_parse_from(arguments) {
        Ok(arguments) => arguments,
        Err(error) => {
            let _ = error.print();
            return ExitCode::from(if error.use_stderr() { 2 } else { 0 });
        }
    };
    match enter().and_then(|()| act(&arguments, weir)) {
        Ok(code) => code,
        Err(error) => {
            eprintln!("weir lab: {error}");
            ExitCode::FAILURE
        }
    }
}

/// Without root: runs this program again in a user namespace where it is root.
///
/// # Errors
///
/// There are no user namespaces.
pub(crate) fn enter() -> Result<()> {
    if rustix::process::geteuid().is_root() {
        if std::env::var_os(INSIDE).is_some() && !crate::lab::Lab::has_users() {
            eprintln!(
                "weir lab: in a user namespace with one user: programs cannot become nobody or www-data, \
                 and have no real-time priority; as root they do"
            );
        }
        return Ok(());
    }
    let mut again = crate::space::tool("unshare")?;
    again.args(["--user", "--map-root-user", "--net", "--mount", "--"]);
    let program = std::env::current_exe().map_err(Error::io("this program's own path"))?;
    again.arg(program).args(std::env::args_os().skip(1)).env(INSIDE, "1");
    probe_user_namespace()?;
    Err(Error::Io { what: "unshare".to_owned(), source: again.exec() })
}

fn probe_user_namespace() -> Result<()> {
    let mut trial = Command::new(crate::space::tool("unshare")?.get_program());
    let output = trial.args(["--user", "--map-root-user", "--net", "--mount", "true"]).output();
    let output = output.map_err(Error::io("unshare"))?;
    if output.status.success() {
        return Ok(());
    }
    Err(Error::Refused {
        missing: format!(
            "hosts need root or a user namespace: {}",
            String::from_utf8_lossy(&output.stderr).trim()
        ),
        remedy:
            "run it with sudo, or allow user namespaces (sysctl user.max_user_namespaces above 0; where they \
                 exist, kernel.unprivileged_userns_clone=1, kernel.apparmor_restrict_unprivileged_userns=0)"
                .to_owned(),
    })
}

fn act(arguments: &Arguments, weir: &Path) -> Result<ExitCode> {
    if arguments.demo {
        return Ok(demo_ha(weir, arguments.time.map(|time| time.0)));
    }
    if arguments.matrix {
        return run_matrix(arguments, weir);
    }
    let Some(file) = &arguments.file else { return Err(Error::wrong("no scenario; name a file")) };
    let mut cast = Cast::from_environment(weir.to_owned())?;
    if let Some(name) = &arguments.subject {
        cast.subject = Some(cast.subject_named(name)?);
    }
    let record = run(&Scenario::load(file)?, &cast)?;
    print!("{}", timeline::text(&record, 100));
    for (path, text) in [(&arguments.svg, svg::draw(&record)), (&arguments.json, record.json())] {
        if let Some(path) = path {
            std::fs::write(path, text).map_err(Error::io(path.display().to_string()))?;
        }
    }
    for missed in &record.missed {
        println!("missed: {missed}");
    }
    Ok(if record.missed.is_empty() { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}

fn run_matrix(arguments: &Arguments, weir: &Path) -> Result<ExitCode> {
    let mut pairs = Vec::new();
    for name in &arguments.only {
        pairs.push(match name.as_str() {
            "weir" => Pair::Weir,
            "mixed" => Pair::Mixed,
            Subject::RIVALS => Pair::Rivals,
            _ => {
                return Err(Error::wrong(format!(
                    "\"{name}\" is no column; weir, mixed and keepalived+nginx are"
                )));
            }
        });
    }
    if pairs.is_empty() {
        pairs = Pair::ALL.to_vec();
    }
    let wanted = |case: &Case| {
        arguments.case.is_empty() || arguments.case.iter().any(|part| case.name().contains(part.as_str()))
    };
    let cases: Vec<Case> = Case::ALL.into_iter().filter(wanted).collect();
    if cases.is_empty() {
        let names = Case::ALL.map(Case::name).join(", ");
        return Err(Error::wrong(format!("no row has such a name; the rows are: {names}")));
    }
    let live = std::io::stderr().is_terminal();
    let tell = |cell: &Result<matrix::Cell>| match cell {
        Ok(cell) if live => eprint!("{}", matrix::row(cell)),
        Ok(_) => {}
        Err(error) => eprintln!("weir lab: {error}"),
    };
    let cells = matrix::measure_all(&cases, &pairs, weir, arguments.jobs, tell);
    print!("{}", matrix::table(&cells));
    if let Some(path) = &arguments.json {
        let good: Vec<&matrix::Cell> = cells.iter().flatten().collect();
        let text = serde_json::to_string_pretty(&good).expect("plain data becomes JSON");
        std::fs::write(path, text).map_err(Error::io(path.display().to_string()))?;
    }
    // Rivals are measured, not judged.
    let met = |cell: &Result<matrix::Cell>| {
        cell.as_ref().is_ok_and(|cell| cell.pair == Pair::Rivals || cell.missed.is_empty())
    };
    Ok(if cells.iter().all(met) { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}
