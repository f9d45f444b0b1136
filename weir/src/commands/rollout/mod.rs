//! `weir rollout`: releases that lose no request.

mod begin;
mod flags;
mod open;
mod show;

use std::io::{IsTerminal, Write};
use std::process::ExitCode;
use std::time::Duration;

use clap::{Args, Subcommand};
use weir_net::{Signal, Signals};
use weir_rollout::Plan;
use weir_serve_rollout::{Clock, Display, Holder, Json, Mouth, Order, Plain, Table, channel};

use flags::{Flags, Where};

/// Nothing was changed: refused, locked, or not understood.
pub(super) const REFUSED: u8 = 3;
/// Ended by a signal before anything was changed.
const INTERRUPTED: u8 = 4;

/// What `weir rollout` is told.
#[derive(Args)]
#[command(
    args_conflicts_with_subcommands = true,
    after_help = "Examples:\n  \
        weir rollout web --plan rollout.toml --dry-run\n  \
        weir rollout web --stop 'ssh {host} systemctl stop app' --start 'ssh {host} systemctl start app' --check /health\n  \
        weir rollout web --container app --image registry.example/app:7 --engine tcp://{host}:2375 --check /health\n  \
        weir rollout web --plan rollout.toml --max-unavailable 2 --watch 30s --on-failure rollback\n  \
        weir rollout status web\n\n\
        Ctrl-C and SIGTERM: the batch is finished, then the release stops; a second one stops it when the command that runs has\n\
        ended. `resume` goes on.\n\
        Exit code 0: done; 1: failed, and the old version is back; 2: failed, servers stay as the last line says;\n\
        3: refused or locked, nothing was changed; 4: interrupted."
)]
pub(super) struct Words {
    /// The upstream, as the proxies call it; the plan's file may name it
    name: Option<String>,
    #[command(flatten)]
    place: Where,
    #[command(flatten)]
    flags: Flags,
    /// Say what would be done, and whether it can be; nothing is changed
    #[arg(long)]
    dry_run: bool,
    /// Begin although the last release was interrupted without a word; what it left drained is released first
    #[arg(long)]
    anew: bool,
    #[command(flatten)]
    look: Look,
    #[command(subcommand)]
    action: Option<Action>,
}

#[derive(Args, Clone, Copy)]
struct Look {
    /// One JSON object a line, for programs
    #[arg(long, conflicts_with = "plain")]
    json: bool,
    /// Lines and no table, also on a terminal
    #[arg(long)]
    plain: bool,
}

#[derive(Subcommand)]
enum Action {
    /// Go on with a release that was interrupted or failed
    Resume(Box<Resume>),
    /// Give a release up: one that runs stops, one that was interrupted is brought to an end
    Abort {
        #[command(flatten)]
        at: At,
        #[command(flatten)]
        look: Look,
    },
    /// Show who releases, and how every server stands
    Status {
        #[command(flatten)]
        at: At,
        /// The whole document, for programs
        #[arg(long)]
        json: bool,
    },
    /// List the releases that ended
    History {
        #[command(flatten)]
        at: At,
        #[arg(long)]
        json: bool,
    },
    /// Show one release that ended
    Show {
        #[command(flatten)]
        at: At,
        /// As the history counts: 1 is the last one
        #[arg(long, default_value_t = 1)]
        number: usize,
        #[arg(long)]
        json: bool,
    },
    /// Take the lock from a release whose process is gone
    BreakLock {
        #[command(flatten)]
        at: At,
    },
    /// Let the canary go on
    Promote {
        #[command(flatten)]
        at: At,
    },
    /// Say that a server was replaced, to a release with the external driver
    Continue {
        #[command(flatten)]
        at: At,
        /// Which one; without it all that are waited for
        #[arg(long, value_name = "ADDRESS")]
        server: Option<String>,
    },
}

/// A release goes on as it was begun, but for the flags.
#[derive(Args)]
struct Resume {
    #[command(flatten)]
    at: At,
    /// Go on with what the plan's file says now; a part that it names, as [driver] or [gate], counts whole, and others stay
    #[arg(long, requires = "plan")]
    replan: bool,
    #[command(flatten)]
    flags: Flags,
    #[command(flatten)]
    look: Look,
}

/// A release that is there already.
#[derive(Args)]
struct At {
    /// The upstream, as the proxies call it; the plan's file may name it
    name: Option<String>,
    #[command(flatten)]
    place: Where,
}

/// Why nothing was done.
pub(super) type Refused = String;

/// Does what the words say.
pub(super) fn run(words: Words) -> ExitCode {
    let runtime = match tokio::runtime::Builder::new_current_thread().enable_all().build() {
        Ok(runtime) => runtime,
        Err(error) => return refused(&error.to_string()),
    };
    let code = runtime.block_on(obey(words));
    // Whatever an interrupted release left running is not waited for.
    runtime.shutdown_background();
    match code {
        Ok(code) => code,
        Err(text) => refused(&text),
    }
}

fn refused(text: &str) -> ExitCode {
    eprintln!("weir: {text}");
    ExitCode::from(REFUSED)
}

async fn obey(words: Words) -> Result<ExitCode, Refused> {
    let (mouth, ear) = channel();
    let signals = Signals::new().map_err(|error| format!("cannot wait for signals: {error}"))?;
    let told = mouth.clone();
    std::thread::Builder::new()
        .name("signals".to_owned())
        .spawn(move || interrupts(&signals, &told))
        .map_err(|error| format!("cannot wait for signals: {error}"))?;
    let watched = mouth.clone();
    let terminal = |place: &Where, look: Look| begin::Terminal {
        words: place.words(),
        display: look.display(),
        mouth,
        ear,
    };
    let Some(action) = words.action else {
        let named = words.place.names_driver() || words.flags.name_driver();
        let how = begin::How { dry_run: words.dry_run, json: words.look.json, anew: words.anew };
        let terminal = terminal(&words.place, words.look);
        let mut plan = plan(words.name, words.place)?;
        words.flags.apply(&mut plan)?;
        if !named {
            return Err(format!(
                "nothing is said of what is done at a server of {}; expected [driver] in the plan, or --stop and --start, --unit, \
                 --container and --image, or --external where somebody else does it; what runs is shown by: weir rollout status",
                plan.upstream
            ));
        }
        return begin::new(plan, how, terminal).await;
    };
    match action {
        Action::Resume(resume) => {
            let Resume { at, replan, flags, look } = *resume;
            let terminal = terminal(&at.place, look);
            begin::resume(at.plan()?, begin::Otherwise { replan, flags }, terminal).await
        }
        Action::Abort { at, look } => {
            let terminal = terminal(&at.place, look);
            begin::abort(at.plan()?, terminal).await
        }
        action => tell(action, &watched).await,
    }
}

/// Signals are for the release. One that comes before there is one ends the command, and nothing was changed.
fn interrupts(signals: &Signals, mouth: &Mouth) {
    while let Ok(received) = signals.wait(None) {
        let Some(received) = received else { continue };
        if !matches!(received.signal, Signal::Int | Signal::Term | Signal::Hup | Signal::Quit) {
            continue;
        }
        if !mouth.is_heard() {
            eprintln!("weir: {}: nothing was changed", received.signal.name());
            std::process::exit(i32::from(INTERRUPTED));
        }
        mouth.interrupt();
    }
}

fn plan(name: Option<String>, place: Where) -> Result<Plan, Refused> {
    let mut plan = place.plan()?;
    match name {
        Some(name) if !plan.upstream.is_empty() && plan.upstream != name => {
            return Err(format!("the plan is for upstream {}, expected {name}", plan.upstream));
        }
        Some(name) => plan.upstream = name,
        None if plan.upstream.is_empty() => {
            return Err("no upstream is named; expected one after weir rollout, or upstream = \"NAME\" in the plan; weir upstream lists them".to_owned());
        }
        None => {}
    }
    Ok(plan)
}

impl At {
    fn plan(self) -> Result<Plan, Refused> {
        plan(self.name, self.place)
    }
}

impl Look {
    fn display(self) -> Box<dyn Display> {
        if self.json {
            Box::new(Json::new(std::io::stdout()))
        } else if self.plain || !std::io::stderr().is_terminal() {
            Box::new(Plain::new(std::io::stdout()))
        } else {
            Box::new(Table::new())
        }
    }
}

/// Looks at a release, or says something to one that runs.
async fn tell(action: Action, mouth: &Mouth) -> Result<ExitCode, Refused> {
    let text = match action {
        Action::Status { at, json } => {
            let store = open::store_only(&mut at.plan()?, mouth).await?;
            let progress = store.load_progress().await.map_err(refusal)?;
            let holder = store.holder().await.map_err(refusal)?;
            if json {
                pretty(&serde_json::json!({ "holder": holder, "progress": progress }))?
            } else {
                show::status(progress.as_ref(), holder.as_ref(), Clock::new().now())
            }
        }
        Action::History { at, json } => {
            let store = open::store_only(&mut at.plan()?, mouth).await?;
            let releases = store.history().await.map_err(refusal)?;
            if json { pretty(&releases)? } else { show::history(&releases) }
        }
        Action::Show { at, number, json } => {
            let store = open::store_only(&mut at.plan()?, mouth).await?;
            let releases = store.history().await.map_err(refusal)?;
            let found = releases.iter().rev().nth(number.saturating_sub(1)).filter(|_| number > 0);
            let release = found.ok_or_else(|| {
                format!(
                    "there is no release {number}; the history has {}, and 1 is the last one",
                    releases.len()
                )
            })?;
            if json { pretty(release)? } else { show::release(release) }
        }
        Action::BreakLock { at } => {
            let store = open::store_only(&mut at.plan()?, mouth).await?;
            match store.break_lock(&super::upstream::who()).await.map_err(refusal)? {
                Some(holder) => format!("the lock of {holder} is broken\n"),
                None => "there was no lock\n".to_owned(),
            }
        }
        Action::Promote { at } => order(at, Order::Promote { by: super::upstream::who() }, mouth).await?,
        Action::Continue { at, server } => {
            order(at, Order::Continue { server, by: super::upstream::who() }, mouth).await?
        }
        Action::Resume(_) | Action::Abort { .. } => String::new(),
    };
    // A reader that has seen enough (`| head`) is no mistake.
    let _ = std::io::stdout().lock().write_all(text.as_bytes());
    Ok(ExitCode::SUCCESS)
}

/// Leaves an order for the release that runs, and waits until it was read.
async fn order(at: At, order: Order, mouth: &Mouth) -> Result<String, Refused> {
    let mut plan = at.plan()?;
    let store = open::store_only(&mut plan, mouth).await?;
    let Some(holder) = store.holder().await.map_err(refusal)? else {
        return Err(format!("no release of {} runs; look with: weir rollout status {0}", plan.upstream));
    };
    match give(&store, &order, &holder).await? {
        Some(text) => Ok(text),
        // It saw the new server itself.
        None if matches!(order, Order::Continue { .. }) => {
            Ok(format!("{holder} went on without it, and the release is over\n"))
        }
        None => Err(format!(
            "{holder} ended before it read the order; look with: weir rollout status {}",
            plan.upstream
        )),
    }
}

/// How long a release may take to read an order.
const READ: Duration = Duration::from_secs(15);

/// What became of it; absent: the release ended before it read the order.
async fn give(
    store: &weir_serve_rollout::Store,
    order: &Order,
    holder: &Holder,
) -> Result<Option<String>, Refused> {
    store.give_order(order, holder).await.map_err(refusal)?;
    let taken = async {
        while !store.order_was_taken().await.map_err(refusal)? {
            if store.holder().await.map_err(refusal)?.as_ref() != Some(holder) {
                return Ok(None);
            }
            tokio::time::sleep(Duration::from_millis(100)).await;
        }
        Ok(Some(format!("{holder} was told\n")))
    };
    tokio::time::timeout(READ, taken).await.unwrap_or_else(|_| {
        Err(format!(
            "{holder} has not read the order within {} s; if that process is gone: weir rollout break-lock",
            READ.as_secs()
        ))
    })
}

fn pretty(value: &impl serde::Serialize) -> Result<String, Refused> {
    serde_json::to_string_pretty(value).map(|text| format!("{text}\n")).map_err(|error| error.to_string())
}

fn refusal(error: impl ToString) -> Refused {
    error.to_string()
}
