//! `limit_conn`: how many requests with one key are under way.

use std::collections::HashMap;
use std::sync::Arc;

use weir_model::Level;
use weir_model::location::Access;

use super::key;
use super::zones::{Zone, cost, room};
use crate::exchange::Exchange;

/// Bytes of nginx's entry without its key.
const ENTRY: usize = 36;
const KEY_MAX: usize = 255;

/// Requests under way by key.
#[derive(Debug)]
pub(crate) struct Table {
    counts: HashMap<Box<[u8]>, u32>,
    left: u64,
}

/// Why a request is not counted.
#[derive(Debug, PartialEq, Eq)]
enum Refused {
    Limit,
    /// The zone has no room for another key.
    Full,
}

impl Table {
    /// An empty table for a zone of `size` bytes.
    pub(super) fn new(size: u64) -> Self {
        Self { counts: HashMap::new(), left: room(size) }
    }

    fn enter(&mut self, key: &[u8], limit: u32) -> Result<(), Refused> {
        if let Some(count) = self.counts.get_mut(key) {
            if *count >= limit {
                return Err(Refused::Limit);
            }
            *count += 1;
            return Ok(());
        }
        self.left = self.left.checked_sub(cost(ENTRY, key)).ok_or(Refused::Full)?;
        self.counts.insert(key.into(), 1);
        Ok(())
    }

    fn leave(&mut self, key: &[u8]) {
        let Some(count) = self.counts.get_mut(key) else { return };
        *count -= 1;
        if *count == 0 {
            self.counts.remove(key);
            self.left += cost(ENTRY, key);
        }
    }
}

/// A request's place in a zone, given back when it is dropped.
#[derive(Debug)]
pub(crate) struct Guard {
    zone: Arc<Zone<Table>>,
    key: Vec<u8>,
}

impl Drop for Guard {
    fn drop(&mut self) {
        self.zone.lock().leave(&self.key);
    }
}

/// The status of a refusal, if it comes to one. A request is counted once, whatever it is redirected to.
pub(super) fn check(exchange: &mut Exchange<'_>, access: &Access) -> Option<u16> {
    if !exchange.request.limit_conn_status.is_empty() {
        return None;
    }
    let live = exchange.live();
    let http = live.site().http();
    let dry = access.limit_conn_dry_run;
    let mut guards = Vec::new();
    for limit in &access.limit_conn {
        let (Some(zone), Some(model)) =
            (live.shared.zones.conn.get(limit.zone), http.limit_conn_zones.get(limit.zone))
        else {
            continue;
        };
        let Some(key) = key::value(exchange, &model.key, KEY_MAX) else { continue };
        exchange.request.limit_conn_status = "PASSED";
        let entered = zone.lock().enter(&key, limit.connections);
        let Err(refused) = entered else {
            guards.push(Guard { zone: Arc::clone(zone), key });
            continue;
        };
        match refused {
            Refused::Limit => exchange.log(
                access.limit_conn_log_level.unwrap_or(Level::Error),
                format_args!(
                    "limiting connections{} by zone \"{}\"",
                    if dry { ", dry run," } else { "" },
                    zone.name
                ),
            ),
            Refused::Full => exchange.log(
                Level::Crit,
                format_args!("ngx_slab_alloc() failed: no memory in limit_conn_zone \"{}\"", zone.name),
            ),
        }
        exchange.request.limit_conn_status = if dry { "REJECTED_DRY_RUN" } else { "REJECTED" };
        return (!dry).then_some(access.limit_conn_status);
    }
    exchange.guards.append(&mut guards);
    None
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_key_is_counted_until_its_requests_leave() {
        let mut table = Table::new(32 * 1024);
        assert_eq!(table.enter(b"a", 2), Ok(()));
        assert_eq!(table.enter(b"a", 2), Ok(()));
        assert_eq!(table.enter(b"a", 2), Err(Refused::Limit));
        assert_eq!(table.enter(b"b", 1), Ok(()));
        table.leave(b"a");
        assert_eq!(table.enter(b"a", 2), Ok(()));
        table.leave(b"a");
        table.leave(b"a");
        assert!(!table.counts.contains_key(&b"a"[..]));
    }

    #[test]
    fn a_full_zone_refuses_new_keys_only() {
        let mut table = Table::new(2 * 4096);
        for key in 0..64_u32 {
            assert_eq!(table.enter(&key.to_be_bytes(), 2), Ok(()));
        }
        assert_eq!(table.enter(b"more", 2), Err(Refused::Full));
        assert_eq!(table.enter(&0_u32.to_be_bytes(), 2), Ok(()));
        table.leave(&1_u32.to_be_bytes());
        assert_eq!(table.enter(b"more", 2), Ok(()));
    }
}
