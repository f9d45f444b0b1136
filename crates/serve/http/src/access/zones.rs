//! The limit zones of a generation. A zone lives on through a reload that leaves its name, key and size.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use weir_model::Http;
use weir_model::http::LimitZone;

use super::key::source;
use super::{limit_conn, limit_req};

/// Zones in the model's order, shared by all threads.
#[derive(Debug, Default)]
pub(crate) struct Zones {
    pub(super) req: Vec<Arc<Zone<limit_req::Table>>>,
    pub(super) conn: Vec<Arc<Zone<limit_conn::Table>>>,
}

/// A zone: what it is, and what it has counted.
#[derive(Debug)]
pub(crate) struct Zone<T> {
    pub(super) name: String,
    /// Text of the key.
    key: String,
    /// In bytes.
    size: u64,
    /// Held for one lookup at a time, never over a wait.
    table: Mutex<T>,
}

impl<T> Zone<T> {
    pub(super) fn lock(&self) -> MutexGuard<'_, T> {
        // A panic elsewhere leaves counts that are still of use.
        self.table.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Zones {
    /// The zones of a configuration, with those of the previous generation that stay.
    pub(crate) fn new(http: &Http, previous: Option<&Self>) -> Self {
        let nothing = Self::default();
        let previous = previous.unwrap_or(&nothing);
        let req = &http.limit_req_zones;
        let conn = &http.limit_conn_zones;
        Self {
            req: req.iter().map(|zone| keep(http, zone, &previous.req, limit_req::Table::new)).collect(),
            conn: conn.iter().map(|zone| keep(http, zone, &previous.conn, limit_conn::Table::new)).collect(),
        }
    }
}

fn keep<T>(http: &Http, zone: &LimitZone, previous: &[Arc<Zone<T>>], new: impl Fn(u64) -> T) -> Arc<Zone<T>> {
    let key = source(http, &zone.key);
    let same = |other: &&Arc<Zone<T>>| other.name == zone.name && other.key == key && other.size == zone.size;
    previous.iter().find(same).map_or_else(
        || {
            Arc::new(Zone {
                name: zone.name.clone(),
                key,
                size: zone.size,
                table: Mutex::new(new(zone.size)),
            })
        },
        Arc::clone,
    )
}

/// Bytes of a zone that hold entries: nginx keeps a page of 4096 bytes for itself.
pub(super) fn room(size: u64) -> u64 {
    (size / 4096).saturating_sub(1) * 4096
}

/// Bytes that an entry takes in nginx on 64 bits, whose memory comes in powers of two.
pub(super) fn cost(fixed: usize, key: &[u8]) -> u64 {
    ((fixed + key.len()) as u64).next_power_of_two()
}

#[cfg(test)]
mod tests {
    use weir_model::{Builtin, Part, Template, Variable};

    use super::*;

    fn http(size: u64, rate: u64) -> Http {
        let key = Template(vec![Part::Variable(Variable::Builtin(Builtin::BinaryRemoteAddr))]);
        let zone = LimitZone { name: "one".to_owned(), key, size, rate };
        Http { limit_req_zones: vec![zone.clone()], limit_conn_zones: vec![zone], ..Http::default() }
    }

    #[test]
    fn a_zone_stays_while_name_key_and_size_do() {
        let first = Zones::new(&http(1 << 20, 1000), None);
        let faster = Zones::new(&http(1 << 20, 2000), Some(&first));
        assert!(Arc::ptr_eq(&first.req[0], &faster.req[0]));
        assert!(Arc::ptr_eq(&first.conn[0], &faster.conn[0]));
        let larger = Zones::new(&http(2 << 20, 1000), Some(&first));
        assert!(!Arc::ptr_eq(&first.req[0], &larger.req[0]));
        let mut other = http(1 << 20, 1000);
        other.limit_req_zones[0].key = Template(vec![Part::Variable(Variable::Arg("a".to_owned()))]);
        let other = Zones::new(&other, Some(&first));
        assert!(!Arc::ptr_eq(&first.req[0], &other.req[0]));
        assert_eq!(other.req[0].key, "$arg_a");
        assert!(Arc::ptr_eq(&first.conn[0], &other.conn[0]));
    }
}
