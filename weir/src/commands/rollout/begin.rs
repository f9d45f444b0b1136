//! Begins a release, or goes on with one: the lock, what is there, what the last one left, and then to the end.

use std::io::Write;
use std::process::ExitCode;
use std::time::Duration;

use weir_rollout::{Event, Outcome, PeerView, Plan, Progress, Rollout, State, StoreKind};
use weir_serve_rollout::{
    Clock, Display, Ear, Holder, Lock, LockError, Machine, Mouth, Order, Release, StoreError,
};

use super::flags::Flags;
use super::open::{self, Opened};
use super::{INTERRUPTED, Refused, refusal};
use crate::commands::upstream;

/// The lock of a process that was killed ends by itself within so long.
const STALE: Duration = Duration::from_secs(25);

/// How long a store that is away is waited for when nothing was begun.
const GOODBYE: Duration = Duration::from_secs(5);

/// What `weir rollout NAME` was told besides the plan.
pub(super) struct How {
    pub(super) dry_run: bool,
    /// For programs.
    pub(super) json: bool,
    pub(super) anew: bool,
}

/// What is to be otherwise when a release goes on.
pub(super) struct Otherwise {
    /// What the plan's file says now counts.
    pub(super) replan: bool,
    pub(super) flags: Flags,
}

/// Who watches a release and speaks to it.
pub(super) struct Terminal {
    /// Where the release is, as it was typed.
    pub(super) words: String,
    pub(super) display: Box<dyn Display>,
    pub(super) mouth: Mouth,
    pub(super) ear: Ear,
}

/// A new release.
pub(super) async fn new(mut plan: Plan, how: How, terminal: Terminal) -> Result<ExitCode, Refused> {
    let mouth = &terminal.mouth;
    plan.check().map_err(refusal)?;
    let clock = Clock::new();
    let opened = open::all(&mut plan, mouth).await?;
    if how.dry_run {
        return dry_run(&opened, plan, &terminal, how.json).await;
    }
    let lock = opened.store.lock(holder(&plan, clock)).await.map_err(refusal)?;
    terminal.ear.open();
    let begun = async {
        let last = match opened.store.load_progress().await {
            // What cannot be read is in nobody's way for ever.
            Err(StoreError::Unreadable { .. }) if how.anew => None,
            read => read.map_err(|error| format!("{error}; --anew begins a release nevertheless"))?,
        };
        if let Some(last) = &last
            && last.outcome.is_none()
            && !how.anew
        {
            let name = &plan.upstream;
            return Err(format!(
                "the last release of {name} was interrupted without a word; go on with it: weir rollout resume {name}; \
                 bring it to an end: weir rollout abort {name}; or begin this one nevertheless: --anew"
            ));
        }
        let view = opened.proxies.view().await.map_err(refusal)?;
        let rollout = after(plan.clone(), &view, last.as_ref(), clock)?.with_words(&terminal.words);
        check_servers(&opened, &rollout).await?;
        let machine = Machine::new(&plan, mouth.output());
        machine.prepare(&changed(&rollout)).await?;
        Ok((rollout, machine))
    };
    match unless_interrupted(begun, &terminal.ear).await {
        Ok((rollout, machine)) => Ok(to_the_end(rollout, machine, opened, clock, lock, terminal).await),
        Err(end) => let_go(lock, end).await,
    }
}

/// What would be done, and whether it can be.
async fn dry_run(opened: &Opened, plan: Plan, terminal: &Terminal, json: bool) -> Result<ExitCode, Refused> {
    let view = opened.proxies.view().await.map_err(refusal)?;
    let machine = Machine::new(&plan, terminal.mouth.output());
    let last = opened.store.load_progress().await.map_err(refusal)?;
    let rollout = after(plan, &view, last.as_ref(), Clock::new())?;
    let holder = opened.store.holder().await.map_err(refusal)?;
    let text = match holder {
        holder if json => super::pretty(&serde_json::json!({
            "plan": rollout.plan(),
            "servers": rollout.status(),
            "min_healthy": rollout.min_healthy(),
            "holder": holder,
        }))?,
        Some(holder) => format!(
            "{}now: {holder} releases this upstream, so this one would be refused\n",
            rollout.plan_text(&view)
        ),
        None => rollout.plan_text(&view),
    };
    let _ = std::io::stdout().lock().write_all(text.as_bytes());
    check_servers(opened, &rollout).await?;
    machine.prepare(&changed(&rollout)).await?;
    Ok(ExitCode::SUCCESS)
}

/// A new release; servers that the last one took out and did not put back are its own.
fn after(plan: Plan, view: &[PeerView], last: Option<&Progress>, clock: Clock) -> Result<Rollout, Refused> {
    match last {
        Some(last) => Rollout::after(plan, view, last, clock.now()),
        None => Rollout::new(plan, view, None, clock.now()),
    }
    .map_err(refusal)
}

/// Every server that is taken out has to have a key that can be written, or the release would stop in the middle. Where
/// there are no keys nothing can stand in them, and the proxies have to take orders.
async fn check_servers(opened: &Opened, rollout: &Rollout) -> Result<(), Refused> {
    let plan = rollout.plan();
    if plan.store.kind == StoreKind::Control {
        if plan.slow_start.is_some() {
            return Err("slow_start is written into the servers' keys, and this upstream has none: leave it out here, and give \
                        slow_start= to its server lines"
                .to_owned());
        }
        return opened.proxies.may_order().await.map_err(refusal);
    }
    let entries = opened.store.peers().await.map_err(refusal)?;
    let mut changed = changed(rollout).into_iter();
    let missing = changed.find(|server| !entries.iter().any(|entry| entry.address == *server));
    missing.map_or(Ok(()), |server| {
        let prefix = plan.store.prefix.clone().unwrap_or_default();
        let key = format!("{}/{server}", prefix.trim_end_matches('/'));
        Err(StoreError::UnknownServer { server, key }.to_string())
    })
}

/// Servers whose software is still to be changed.
fn changed(rollout: &Rollout) -> Vec<String> {
    let spare = |server: &String| rollout.plan().batch.surge.contains(server);
    let rows = rollout.status().into_iter();
    let open = rows.filter(|row| row.state != State::Done);
    open.filter(|row| row.batch.is_some() || spare(&row.server)).map(|row| row.server).collect()
}

/// Goes on with a release that was interrupted or failed.
pub(super) async fn resume(
    plan: Plan,
    otherwise: Otherwise,
    terminal: Terminal,
) -> Result<ExitCode, Refused> {
    again(plan, Some(otherwise), terminal).await
}

/// Gives one up.
pub(super) async fn abort(plan: Plan, terminal: Terminal) -> Result<ExitCode, Refused> {
    let store = open::store_only(&mut plan.clone(), &terminal.mouth).await?;
    let order = Order::Abort { by: upstream::who() };
    if let Some(holder) = store.holder().await.map_err(refusal)? {
        // A process that was killed holds its lock for some seconds more, and reads nothing.
        if let Ok(Some(text)) = super::give(&store, &order, &holder).await {
            print!("{text}");
            return Ok(ExitCode::SUCCESS);
        }
        if store.holder().await.map_err(refusal)?.as_ref() == Some(&holder) {
            return Err(format!(
                "{holder} does not answer; if that process is gone: weir rollout break-lock {}, then abort",
                plan.upstream
            ));
        }
    }
    again(plan, None, terminal).await
}

/// Without a word on what is to be otherwise it is given up.
async fn again(
    mut given: Plan,
    otherwise: Option<Otherwise>,
    terminal: Terminal,
) -> Result<ExitCode, Refused> {
    let abort = otherwise.is_none();
    let mouth = &terminal.mouth;
    let clock = Clock::new();
    let name = given.upstream.clone();
    // Finding the store may complete this list, and the release has one of its own.
    let named = given.proxies.clone();
    let store = open::store_only(&mut given, mouth).await?;
    let progress = store.load_progress().await.map_err(refusal)?;
    let progress =
        progress.ok_or_else(|| format!("there was no release of {name} yet, so none can go on"))?;
    // Where it is carried out may have changed; what is done has not.
    let mut plan = match otherwise {
        Some(otherwise) => otherwise.plan(&progress.plan, &given)?,
        None => progress.plan,
    };
    if !named.is_empty() {
        plan.proxies = named;
    }
    if given.proxy_token_file.is_some() {
        plan.proxy_token_file.clone_from(&given.proxy_token_file);
    }
    plan.proxy_optional |= given.proxy_optional;
    let prefix = plan.store.prefix.take();
    plan.store = given.store;
    plan.store.prefix = prefix.or(plan.store.prefix);
    let opened = open::all(&mut plan, mouth).await?;
    let lock = take_over(&opened, holder(&plan, clock)).await?;
    terminal.ear.open();
    let begun = async {
        // Only with the lock is it the last word.
        let progress = opened.store.load_progress().await.map_err(refusal)?;
        let view = opened.proxies.view().await.map_err(refusal)?;
        let rollout = Rollout::new(plan.clone(), &view, progress, clock.now())
            .map_err(refusal)?
            .with_words(&terminal.words);
        let machine = Machine::new(&plan, mouth.output());
        if !abort {
            machine.prepare(&changed(&rollout)).await?;
        }
        Ok((rollout, machine))
    };
    match unless_interrupted(begun, &terminal.ear).await {
        Ok((mut rollout, machine)) => {
            if abort {
                rollout.handle(Event::Abort, clock.now());
            }
            Ok(to_the_end(rollout, machine, opened, clock, lock, terminal).await)
        }
        Err(end) => let_go(lock, end).await,
    }
}

impl Otherwise {
    /// The plan to go on with. A flag of the begin may have said otherwise than the file, so that the file alone changes nothing.
    fn plan(self, begun: &Plan, given: &Plan) -> Result<Plan, Refused> {
        let mut plan = begun.clone();
        match begun.replanned(given) {
            Ok((_, changed)) if changed.is_empty() => {}
            Ok((other, changed)) if self.replan => {
                eprintln!("weir: the release goes on with {} of the plan's file", changed.join(", "));
                plan = other;
            }
            Err(refusal) if self.replan => return Err(refusal.to_string()),
            Ok(_) | Err(_) => eprintln!(
                "weir: the release was begun with other words than those of the plan's file, and goes on with what it was \
                 begun with; what the file says now counts with --replan"
            ),
        }
        self.flags.apply(&mut plan)?;
        begun.lets(&plan).map_err(refusal)?;
        Ok(plan)
    }
}

/// A signal ends what comes before the first change.
async fn unless_interrupted<T>(
    begun: impl Future<Output = Result<T, Refused>>,
    ear: &Ear,
) -> Result<T, Option<Refused>> {
    tokio::select! {
        begun = begun => begun.map_err(Some),
        () = ear.interrupted() => Err(None),
    }
}

/// Refused, or interrupted, while the lock was held. Where the store does not answer the lock ends by itself.
async fn let_go(lock: Lock, end: Option<Refused>) -> Result<ExitCode, Refused> {
    let _ = tokio::time::timeout(GOODBYE, lock.release()).await;
    if let Some(why) = end {
        return Err(why);
    }
    eprintln!("weir: interrupted: nothing was changed");
    Ok(ExitCode::from(INTERRUPTED))
}

/// The lock, as soon as that of a process that was killed is over.
async fn take_over(opened: &Opened, own: Holder) -> Result<Lock, Refused> {
    match opened.store.lock(own.clone()).await {
        Err(LockError::HeldBy(holder)) => {
            eprintln!(
                "weir: {holder} has the lock; if that process is gone, it ends within {} s, which is waited for",
                STALE.as_secs()
            );
            opened.store.lock_within(own, STALE).await.map_err(refusal)
        }
        answer => answer.map_err(refusal),
    }
}

fn holder(plan: &Plan, clock: Clock) -> Holder {
    let who = upstream::who();
    let (who, host) = who.split_once('@').unwrap_or((&who, ""));
    Holder {
        who: who.to_owned(),
        host: host.to_owned(),
        pid: std::process::id(),
        since: clock.now(),
        version: plan.version.new.clone(),
    }
}

async fn to_the_end(
    rollout: Rollout,
    machine: Machine,
    opened: Opened,
    clock: Clock,
    lock: Lock,
    terminal: Terminal,
) -> ExitCode {
    let Terminal { mut display, mouth, ear, .. } = terminal;
    let Opened { store, proxies } = opened;
    let release = Release { rollout, store, proxies, machine, clock, who: upstream::who() };
    let outcome: Outcome = release.run(lock, ear, mouth, &mut *display).await;
    ExitCode::from(outcome.exit_code())
}
