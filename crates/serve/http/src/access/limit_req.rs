//! `limit_req`: how fast requests with one key may come (a leaky bucket).

use hashlink::LinkedHashMap;
use weir_log::clock;
use weir_model::location::{Access, LimitReq};
use weir_model::{Http, Level};

use super::zones::{Zones, cost, room};
use super::{key, pause};
use crate::exchange::{Exchange, Next};

/// Bytes of nginx's entry without its key.
const ENTRY: usize = 80;
const KEY_MAX: usize = 65_535;
/// An entry that was not used for this long, in milliseconds, is dropped once it is empty.
const STALE: u64 = 60_000;
/// One request in thousandths.
const ONE: u64 = 1000;

/// Buckets by key, the one that was used longest ago first.
#[derive(Debug)]
pub(crate) struct Table {
    buckets: LinkedHashMap<Box<[u8]>, Bucket>,
    room: u64,
    used: u64,
}

#[derive(Debug, Clone, Copy)]
struct Bucket {
    /// Thousandths of a request above the rate.
    excess: u64,
    /// When it was filled last, in milliseconds.
    last: u64,
}

impl Bucket {
    /// The excess with one more request.
    fn filled(self, now: u64, rate: u64) -> u64 {
        let leaked = u128::from(rate) * u128::from(now.saturating_sub(self.last)) / 1000;
        (self.excess + ONE).saturating_sub(u64::try_from(leaked).unwrap_or(u64::MAX))
    }

    fn take(&mut self, now: u64, rate: u64) -> u64 {
        self.excess = self.filled(now, rate);
        self.last = self.last.max(now);
        self.excess
    }
}

/// More than the burst of a bucket; the excess in thousandths.
#[derive(Debug, PartialEq, Eq)]
struct Busy(u64);

impl Table {
    /// An empty table for a zone of `size` bytes.
    pub(super) fn new(size: u64) -> Self {
        Self { buckets: LinkedHashMap::new(), room: room(size), used: 0 }
    }

    /// Looks whether a request fits into its bucket, and puts it there if `account`. `rate` is in thousandths
    /// of a request a second, `burst` in thousandths of a request.
    fn look(&mut self, key: &[u8], now: u64, rate: u64, burst: u64, account: bool) -> Result<u64, Busy> {
        let Some(bucket) = self.buckets.to_back(key) else {
            self.insert(key, now, rate);
            return Ok(0);
        };
        let excess = bucket.filled(now, rate);
        if excess > burst {
            return Err(Busy(excess));
        }
        if account {
            bucket.take(now, rate);
        }
        Ok(excess)
    }

    /// Puts a request into a bucket that was looked at without `account`. The first request of a key fills
    /// nothing.
    fn account(&mut self, key: &[u8], now: u64, rate: u64, first: bool) -> u64 {
        match self.buckets.get_mut(key) {
            Some(bucket) if !first => bucket.take(now, rate),
            _ => 0,
        }
    }

    fn insert(&mut self, key: &[u8], now: u64, rate: u64) {
        self.expire(now, rate, false);
        let cost = cost(ENTRY, key);
        if self.used + cost > self.room {
            self.expire(now, rate, true);
        }
        // What is left out of a full zone is not limited.
        if self.used + cost <= self.room {
            self.used += cost;
            self.buckets.insert(key.into(), Bucket { excess: 0, last: now });
        }
    }

    /// Drops up to two old and empty buckets, and the oldest one in any case if `force`.
    fn expire(&mut self, now: u64, rate: u64, force: bool) {
        for turn in 0..if force { 3 } else { 2 } {
            let Some((_, bucket)) = self.buckets.front() else { return };
            let stale = now.saturating_sub(bucket.last) >= STALE && bucket.filled(now, rate) <= ONE;
            if !(stale || force && turn == 0) {
                return;
            }
            if let Some((key, _)) = self.buckets.pop_front() {
                self.used -= cost(ENTRY, &key);
            }
        }
    }

    fn holds(&self, key: &[u8]) -> bool {
        self.buckets.contains_key(key)
    }
}

/// What a request's limits came to.
#[derive(Debug, PartialEq, Eq)]
enum Outcome {
    /// No key had a value.
    Uncounted,
    /// Milliseconds to wait, with the excess and the limit that ask for it.
    Passed {
        delay: u64,
        excess: u64,
        limit: usize,
    },
    Rejected {
        excess: u64,
        limit: usize,
    },
}

/// Looks at all limits and accounts for the request in all of them or in none.
fn decide(zones: &Zones, http: &Http, limits: &[LimitReq], keys: &[Option<Vec<u8>>], now: u64) -> Outcome {
    let last = limits.len().saturating_sub(1);
    let mut passed: Vec<(usize, bool)> = Vec::new();
    let mut delay = 0;
    let mut shown = (0, last);
    for (index, (limit, key)) in limits.iter().zip(keys).enumerate() {
        let (Some(key), Some((zone, rate))) = (key, zone(zones, http, limit)) else { continue };
        let mut table = zone.lock();
        let first = !table.holds(key);
        match table.look(key, now, rate, limit.burst.saturating_mul(ONE), index == last) {
            Err(Busy(excess)) => return Outcome::Rejected { excess, limit: index },
            Ok(excess) => {
                if index == last {
                    delay = wait_of(excess, limit, rate);
                    shown = (excess, index);
                }
                passed.push((index, first));
            }
        }
    }
    if passed.is_empty() {
        return Outcome::Uncounted;
    }
    for &(index, first) in passed.iter().rev().filter(|(index, _)| *index != last) {
        let limit = &limits[index];
        let (Some(key), Some((zone, rate))) = (&keys[index], zone(zones, http, limit)) else { continue };
        let excess = zone.lock().account(key, now, rate, first);
        let wait = wait_of(excess, limit, rate);
        if wait > delay {
            delay = wait;
            shown = (excess, index);
        }
    }
    Outcome::Passed { delay, excess: shown.0, limit: shown.1 }
}

fn zone<'z>(zones: &'z Zones, http: &Http, limit: &LimitReq) -> Option<(&'z super::zones::Zone<Table>, u64)> {
    Some((zones.req.get(limit.zone)?.as_ref(), http.limit_req_zones.get(limit.zone)?.rate.max(1)))
}

/// Milliseconds until the excess above `delay=` has leaked away.
fn wait_of(excess: u64, limit: &LimitReq, rate: u64) -> u64 {
    excess.saturating_sub(limit.delay.saturating_mul(ONE)) * 1000 / rate
}

/// How the request ends, if it does. A request is counted once, whatever it is redirected to.
pub(super) async fn check(exchange: &mut Exchange<'_>, access: &Access) -> Option<Next> {
    if !exchange.request.limit_req_status.is_empty() {
        return None;
    }
    let live = exchange.live();
    let http = live.site().http();
    let limits = &access.limit_req;
    let keys: Vec<Option<Vec<u8>>> = limits
        .iter()
        .map(|limit| key::value(exchange, &http.limit_req_zones.get(limit.zone)?.key, KEY_MAX))
        .collect();
    let outcome = decide(&live.shared.zones, http, limits, &keys, clock::mono_ms());
    let name = |limit: usize| {
        limits.get(limit).and_then(|limit| http.limit_req_zones.get(limit.zone)).map_or("", |zone| &zone.name)
    };
    let level = access.limit_req_log_level.unwrap_or(Level::Error);
    let dry = access.limit_req_dry_run;
    let dry_text = if dry { ", dry run" } else { "" };
    match outcome {
        Outcome::Uncounted => None,
        Outcome::Passed { delay: 0, .. } => {
            exchange.request.limit_req_status = "PASSED";
            None
        }
        Outcome::Passed { delay, excess, limit } => {
            exchange.log(
                below(level),
                format_args!(
                    "delaying request{dry_text}, excess: {}.{:03}, by zone \"{}\"",
                    excess / ONE,
                    excess % ONE,
                    name(limit)
                ),
            );
            exchange.request.limit_req_status = if dry { "DELAYED_DRY_RUN" } else { "DELAYED" };
            if dry { None } else { pause::wait(exchange, delay).await.err() }
        }
        Outcome::Rejected { excess, limit } => {
            exchange.log(
                level,
                format_args!(
                    "limiting requests{dry_text}, excess: {}.{:03} by zone \"{}\"",
                    excess / ONE,
                    excess % ONE,
                    name(limit)
                ),
            );
            exchange.request.limit_req_status = if dry { "REJECTED_DRY_RUN" } else { "REJECTED" };
            (!dry).then_some(Next::Error(access.limit_req_status))
        }
    }
}

/// Delays are told one level below refusals.
fn below(level: Level) -> Level {
    match level {
        Level::Error => Level::Warn,
        Level::Warn => Level::Notice,
        _ => Level::Info,
    }
}

#[cfg(test)]
mod tests {
    use weir_model::Template;
    use weir_model::http::LimitZone;

    use super::*;

    fn http(zones: &[(&str, u64)]) -> Http {
        let zone = |&(name, rate): &(&str, u64)| LimitZone {
            name: name.to_owned(),
            key: Template::text("k"),
            size: 1 << 20,
            rate,
        };
        Http { limit_req_zones: zones.iter().map(zone).collect(), ..Http::default() }
    }

    fn limit(zone: usize, burst: u64, delay: u64) -> LimitReq {
        LimitReq { zone, burst, delay }
    }

    const PASSED: Outcome = Outcome::Passed { delay: 0, excess: 0, limit: 0 };

    #[test]
    fn without_burst_the_second_request_is_refused_until_the_bucket_has_leaked() {
        let http = http(&[("one", 1000)]);
        let zones = Zones::new(&http, None);
        let ask = |now| decide(&zones, &http, &[limit(0, 0, 0)], &[Some(b"a".to_vec())], now);
        assert_eq!(ask(5000), PASSED);
        assert_eq!(ask(5000), Outcome::Rejected { excess: 1000, limit: 0 });
        assert_eq!(ask(5400), Outcome::Rejected { excess: 600, limit: 0 });
        assert_eq!(ask(6000), PASSED);
    }

    #[test]
    fn the_burst_waits_in_line_and_delay_lets_some_pass() {
        let http = http(&[("one", 2000)]);
        let zones = Zones::new(&http, None);
        let ask = |delay| decide(&zones, &http, &[limit(0, 3, delay)], &[Some(b"a".to_vec())], 1000);
        assert_eq!(ask(1), PASSED);
        assert_eq!(ask(1), Outcome::Passed { delay: 0, excess: 1000, limit: 0 });
        assert_eq!(ask(1), Outcome::Passed { delay: 500, excess: 2000, limit: 0 });
        assert_eq!(ask(u64::MAX), Outcome::Passed { delay: 0, excess: 3000, limit: 0 });
        assert_eq!(ask(1), Outcome::Rejected { excess: 4000, limit: 0 });
    }

    #[test]
    fn of_several_limits_the_strictest_counts_and_a_refused_request_fills_none() {
        let http = http(&[("slow", 1000), ("fast", 100_000)]);
        let zones = Zones::new(&http, None);
        let limits = [limit(0, 1, 0), limit(1, 10, u64::MAX)];
        let keys = [Some(b"a".to_vec()), Some(b"b".to_vec())];
        let ask = || decide(&zones, &http, &limits, &keys, 1000);
        assert_eq!(ask(), Outcome::Passed { delay: 0, excess: 0, limit: 1 });
        assert_eq!(ask(), Outcome::Passed { delay: 1000, excess: 1000, limit: 0 });
        assert_eq!(ask(), Outcome::Rejected { excess: 2000, limit: 0 });
        let alone = decide(&zones, &http, &limits[1..], &keys[1..], 1000);
        assert_eq!(alone, Outcome::Passed { delay: 0, excess: 2000, limit: 0 });
    }

    #[test]
    fn a_request_without_keys_is_not_counted() {
        let http = http(&[("one", 1000)]);
        let zones = Zones::new(&http, None);
        assert_eq!(decide(&zones, &http, &[limit(0, 0, 0)], &[None], 1000), Outcome::Uncounted);
        let limits = [limit(0, 0, 0), limit(0, 0, 0)];
        let ask = || decide(&zones, &http, &limits, &[Some(b"a".to_vec()), None], 1000);
        assert_eq!(ask(), Outcome::Passed { delay: 0, excess: 0, limit: 1 });
        assert_eq!(ask(), Outcome::Rejected { excess: 1000, limit: 0 });
    }

    #[test]
    fn a_full_zone_drops_its_oldest_bucket() {
        let mut table = Table::new(2 * 4096);
        for key in 0..32_u32 {
            assert_eq!(table.look(&key.to_be_bytes(), 1000, 1, 0, true), Ok(0));
        }
        assert_eq!(table.look(&0_u32.to_be_bytes(), 1001, 1, 0, true), Err(Busy(1000)));
        assert_eq!(table.look(b"more", 1002, 1, 0, true), Ok(0));
        assert!(table.holds(&0_u32.to_be_bytes()), "it was used since");
        assert!(!table.holds(&1_u32.to_be_bytes()));
        assert_eq!(table.used, 4096);
    }

    #[test]
    fn stale_buckets_go_two_at_a_time() {
        let mut table = Table::new(1 << 20);
        for key in 0..5_u32 {
            table.look(&key.to_be_bytes(), 1000, 1000, 0, true).expect("a first request passes");
        }
        table.look(b"new", 1000 + STALE, 1000, 0, true).expect("a first request passes");
        assert_eq!(table.buckets.len(), 4);
    }
}
