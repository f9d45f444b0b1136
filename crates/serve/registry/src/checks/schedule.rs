//! Which checks run, and when.

use std::collections::HashMap;
use std::rc::Rc;
use std::sync::Arc;
use std::time::Duration;

use tokio::sync::Semaphore;
use tokio::task::{AbortHandle, JoinSet};
use tokio::time::Instant;
use weir_registry::{Check, CheckKind, Command, Topic};

use super::probe::{Target, Verdict, probe};
use super::{grpc, http};
use crate::http::Shared;

/// Consul's bounds and default (`CheckDefinition` in its documentation).
const SHORTEST_INTERVAL: Duration = Duration::from_secs(1);
const DEFAULT_TIMEOUT: Duration = Duration::from_secs(10);
const LONGEST_TIMEOUT: Duration = Duration::from_secs(300);
/// Nobody waits longer for the first result.
const FIRST_WITHIN: Duration = Duration::from_secs(1);
/// The pause after a change of what is to be run: a thousand registrations in a row are followed a few times.
const GATHER: Duration = Duration::from_millis(50);
/// Probes at once, each with its socket.
const MOST_AT_ONCE: usize = 1024;

/// What is run for a check. Another job under the same id begins anew.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Job {
    target: Target,
    interval: Duration,
    timeout: Duration,
}

/// A job that runs.
struct Runner {
    job: Job,
    handle: AbortHandle,
}

/// Runs the checks of the own agent until it is dropped.
pub(crate) async fn run(context: Shared) {
    let mut runners = HashMap::new();
    let mut tasks = JoinSet::new();
    let places = Rc::new(Semaphore::new(MOST_AT_ONCE));
    let watch = context.engine.watch(&Topic::Agent);
    loop {
        let wanted = context.engine.read(weir_registry::State::agent_probes);
        follow(&context, &places, &mut runners, &mut tasks, &wanted.data);
        let changed = watch.changed(wanted.index);
        tokio::pin!(changed);
        loop {
            tokio::select! {
                _ = &mut changed => break,
                // Tasks that were ended leave the set here.
                Some(_) = tasks.join_next() => {}
            }
        }
        tokio::time::sleep(GATHER).await;
    }
}

/// Starts what is new, ends what is gone, leaves the rest alone.
fn follow(
    context: &Shared,
    places: &Rc<Semaphore>,
    runners: &mut HashMap<String, Runner>,
    tasks: &mut JoinSet<()>,
    wanted: &[Arc<Check>],
) {
    let mut kept = HashMap::with_capacity(wanted.len());
    for check in wanted {
        let Some(job) = Job::of(check) else { continue };
        match runners.remove(&check.check_id) {
            Some(runner) if runner.job == job => {
                kept.insert(check.check_id.clone(), runner);
            }
            old => {
                if let Some(old) = old {
                    old.handle.abort();
                }
                let task = keep(context.clone(), places.clone(), check.check_id.clone(), job.clone());
                let handle = tasks.spawn_local(task);
                kept.insert(check.check_id.clone(), Runner { job, handle });
            }
        }
    }
    for gone in std::mem::replace(runners, kept).into_values() {
        gone.handle.abort();
    }
}

impl Job {
    /// Nothing for a check that is not run.
    fn of(check: &Check) -> Option<Self> {
        let target = match &check.kind {
            CheckKind::Tcp { address } => Target::Tcp(address.clone()),
            CheckKind::Http { url, method, header, body, tls_skip_verify } => Target::Http(http::Ask {
                url: url.clone(),
                method: method.clone(),
                header: header.clone(),
                body: body.clone(),
                skip_verify: *tls_skip_verify,
            }),
            CheckKind::Grpc { target, tls, tls_skip_verify } => {
                Target::Grpc(grpc::Ask::parse(target, *tls, *tls_skip_verify))
            }
            CheckKind::Foreign | CheckKind::Ttl { .. } | CheckKind::Alias { .. } | CheckKind::Maintenance => {
                return None;
            }
        };
        let timeout = if check.timeout.is_zero() { DEFAULT_TIMEOUT } else { check.timeout };
        Some(Self {
            target,
            interval: check.interval.max(SHORTEST_INTERVAL),
            timeout: timeout.min(LONGEST_TIMEOUT),
        })
    }
}

/// One check. The first run comes soon, at a time by chance; the second after a part of the interval by chance, so that
/// checks that were registered together drift apart; from then on the interval holds.
async fn keep(context: Shared, places: Rc<Semaphore>, id: String, job: Job) {
    tokio::time::sleep(part_of(job.interval.min(FIRST_WITHIN))).await;
    let mut next = Instant::now() + part_of(job.interval);
    loop {
        let Verdict { status, output } = {
            let _place = places.acquire().await.expect("the semaphore is never closed");
            probe(&job.target, job.timeout).await
        };
        // The state counts results, so it hears each; what changes nothing costs no write. A refused one (the disk is
        // full, say) is made up for by the next.
        drop(context.write(Command::CheckResult { id: id.clone(), status, output }).await);
        // A run that took longer than the interval does not make the others hurry.
        next = next.max(Instant::now());
        tokio::time::sleep_until(next).await;
        next += job.interval;
    }
}

/// Between nothing and all of `time`.
fn part_of(time: Duration) -> Duration {
    // Without randomness nothing is lost but the spread.
    let random = getrandom::u32().unwrap_or_default();
    time.mul_f64(f64::from(random) / f64::from(u32::MAX))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn first_runs_are_spread_over_the_time() {
        let mut tenths = [0; 10];
        for _ in 0..10_000 {
            let part = part_of(FIRST_WITHIN);
            assert!(part <= FIRST_WITHIN);
            let tenth = usize::try_from(part.as_millis() / 100).expect("ten");
            tenths[tenth.min(9)] += 1;
        }
        assert!(tenths.iter().all(|count| (800..1200).contains(count)), "{tenths:?}");
    }

    #[test]
    fn a_definition_is_kept_within_bounds() {
        let check = |interval, timeout| Check {
            node: "own".to_owned(),
            check_id: "c".to_owned(),
            name: "c".to_owned(),
            status: weir_registry::Status::Critical,
            notes: String::new(),
            output: String::new(),
            service_id: String::new(),
            service_name: String::new(),
            service_tags: Vec::new(),
            kind: CheckKind::Tcp { address: "192.0.2.1:80".to_owned() },
            interval,
            timeout,
            deregister_after: Duration::ZERO,
            success_before_passing: 0,
            failures_before_critical: 0,
            definition: serde_json::Value::Null,
            create_index: 0,
            modify_index: 0,
        };
        let short = Job::of(&check(Duration::from_millis(10), Duration::ZERO)).expect("it is run");
        assert_eq!((short.interval, short.timeout), (Duration::from_secs(1), Duration::from_secs(10)));
        let long = Job::of(&check(Duration::from_secs(60), Duration::from_secs(36_000))).expect("it is run");
        assert_eq!((long.interval, long.timeout), (Duration::from_secs(60), LONGEST_TIMEOUT));
        let mut ttl = check(Duration::ZERO, Duration::ZERO);
        ttl.kind = CheckKind::Ttl { ttl: Duration::from_secs(1) };
        assert_eq!(Job::of(&ttl), None);
    }
}
