//! The time in the forms that servers print, rendered once a second for each thread.

use std::cell::{Cell, RefCell};

use jiff::tz::TimeZone;
use rustix::time::{ClockId, Timespec, clock_gettime};

/// A moment on both clocks.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Now {
    /// milliseconds since 1970-01-01 UTC (`$msec`, dates); may jump
    pub unix_ms: u64,
    /// milliseconds since an arbitrary start (timeouts, durations); never goes back
    pub mono_ms: u64,
}

thread_local! {
    /// The moment that an event loop works in; absent on threads that never call [`tick`].
    static TURN: Cell<Option<Now>> = const { Cell::new(None) };
}

/// Reads the clocks for the current turn of this thread's event loop. From then on [`now`] and [`mono_ms`] give
/// that moment on this thread until the next tick, so that a request costs one look at the clock, not ten.
pub fn tick() -> Now {
    let now = read();
    TURN.set(Some(now));
    now
}

/// The moment of the last [`tick`], or of the call on a thread without an event loop.
pub fn now() -> Now {
    TURN.get().unwrap_or_else(read)
}

/// Milliseconds on the clock that never goes back.
pub fn mono_ms() -> u64 {
    now().mono_ms
}

fn read() -> Now {
    Now {
        unix_ms: millis(clock_gettime(ClockId::Realtime)),
        mono_ms: millis(clock_gettime(ClockId::Monotonic)),
    }
}

fn millis(t: Timespec) -> u64 {
    // Both clocks are past their zero.
    (t.tv_sec as u64) * 1000 + (t.tv_nsec as u64) / 1_000_000
}

thread_local! {
    static TEXTS: RefCell<Texts> = RefCell::new(Texts::at(0));
}

/// Gives the texts of the current second. Not to be nested.
pub fn with<R>(read: impl FnOnce(&Texts) -> R) -> R {
    let second = match TURN.get() {
        Some(turn) => (turn.unix_ms / 1000) as i64,
        // The coarse clock lags by a tick of the kernel and costs a few nanoseconds.
        None => clock_gettime(ClockId::RealtimeCoarse).tv_sec,
    };
    TEXTS.with_borrow_mut(|texts| {
        if texts.second != second {
            *texts = Texts::at(second);
        }
        read(texts)
    })
}

/// One second of time as text. Local times follow TZ and /etc/localtime.
#[derive(Debug, Clone)]
pub struct Texts {
    second: i64,
    /// `Sat, 21 Nov 2026 06:45:01 GMT`
    http: String,
    /// `21/Nov/2026:06:45:01 +0000`
    local: String,
    /// `2026-11-21T06:45:01+00:00`
    iso8601: String,
    /// `2026/11/21 06:45:01`
    error_log: String,
    /// `Nov 21 06:45:01`
    syslog: String,
}

const DAYS: [&str; 7] = ["Mon", "Tue", "Wed", "Thu", "Fri", "Sat", "Sun"];
const MONTHS: [&str; 12] =
    ["Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec"];

impl Texts {
    /// The texts of a second since 1970 in the local zone.
    pub fn at(second: i64) -> Texts {
        Texts::in_zone(second, &TimeZone::system())
    }

    fn in_zone(second: i64, zone: &TimeZone) -> Texts {
        let stamp = jiff::Timestamp::from_second(second).unwrap_or(jiff::Timestamp::UNIX_EPOCH);
        let t = stamp.to_zoned(zone.clone());
        let offset = t.offset().seconds() / 60;
        let sign = if offset < 0 { '-' } else { '+' };
        let (oh, om) = (offset.abs() / 60, offset.abs() % 60);
        let month = MONTHS[t.month() as usize - 1];
        let (y, mo, d, h, mi, s) = (t.year(), t.month(), t.day(), t.hour(), t.minute(), t.second());
        Texts {
            second,
            http: http_date(second),
            local: format!("{d:02}/{month}/{y}:{h:02}:{mi:02}:{s:02} {sign}{oh:02}{om:02}"),
            iso8601: format!("{y:04}-{mo:02}-{d:02}T{h:02}:{mi:02}:{s:02}{sign}{oh:02}:{om:02}"),
            error_log: format!("{y:04}/{mo:02}/{d:02} {h:02}:{mi:02}:{s:02}"),
            syslog: format!("{month} {d:2} {h:02}:{mi:02}:{s:02}"),
        }
    }

    /// Seconds since 1970-01-01 UTC.
    pub fn second(&self) -> i64 {
        self.second
    }

    /// `Sat, 21 Nov 2026 06:45:01 GMT` (RFC 9110, 5.6.7)
    pub fn http_date(&self) -> &str {
        &self.http
    }

    /// `$time_local`: `21/Nov/2026:06:45:01 +0000`
    pub fn local(&self) -> &str {
        &self.local
    }

    /// `$time_iso8601`: `2026-11-21T06:45:01+00:00`
    pub fn iso8601(&self) -> &str {
        &self.iso8601
    }

    /// The start of an error log's line: `2026/11/21 06:45:01`
    pub fn error_log(&self) -> &str {
        &self.error_log
    }

    /// RFC 3164, 4.1.2: `Nov 21 06:45:01`, the day padded with a space
    pub fn syslog(&self) -> &str {
        &self.syslog
    }
}

/// The current second in a format of strftime(3), in GMT or the local zone; `None` when the format is wrong.
pub fn formatted(format: &str, gmt: bool) -> Option<String> {
    if format == "%s" {
        return Some(with(Texts::second).to_string());
    }
    let stamp = jiff::Timestamp::from_second(with(Texts::second)).ok()?;
    let zone = if gmt { TimeZone::UTC } else { TimeZone::system() };
    // The zone that is called UTC elsewhere is GMT to strftime(3) and in HTTP.
    let format = if gmt { format.replace("%Z", "GMT") } else { format.to_owned() };
    jiff::fmt::strtime::format(format, &stamp.to_zoned(zone)).ok()
}

/// Any second since 1970 as an HTTP date: Last-Modified, Expires, cookies.
pub fn http_date(second: i64) -> String {
    let stamp = jiff::Timestamp::from_second(second).unwrap_or(jiff::Timestamp::UNIX_EPOCH);
    let t = stamp.to_zoned(TimeZone::UTC);
    let day = DAYS[t.weekday().to_monday_zero_offset() as usize];
    let month = MONTHS[t.month() as usize - 1];
    format!(
        "{day}, {:02} {month} {:04} {:02}:{:02}:{:02} GMT",
        t.day(),
        t.year(),
        t.hour(),
        t.minute(),
        t.second()
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    const SECOND: i64 = 1_795_243_501; // 2026-11-21 06:45:01 UTC

    #[test]
    fn utc() {
        let t = Texts::in_zone(SECOND, &TimeZone::UTC);
        assert_eq!(t.http_date(), "Sat, 21 Nov 2026 06:45:01 GMT");
        assert_eq!(t.local(), "21/Nov/2026:06:45:01 +0000");
        assert_eq!(t.iso8601(), "2026-11-21T06:45:01+00:00");
        assert_eq!(t.error_log(), "2026/11/21 06:45:01");
        assert_eq!(t.syslog(), "Nov 21 06:45:01");
        assert_eq!(t.second(), SECOND);
    }

    #[test]
    fn zones_on_both_sides() {
        let west = TimeZone::fixed(jiff::tz::Offset::from_seconds(-(3 * 3600 + 1800)).expect("an offset"));
        let t = Texts::in_zone(SECOND, &west);
        assert_eq!(t.local(), "21/Nov/2026:03:15:01 -0330");
        assert_eq!(t.iso8601(), "2026-11-21T03:15:01-03:30");
        assert_eq!(t.http_date(), "Sat, 21 Nov 2026 06:45:01 GMT");
        let east = TimeZone::fixed(jiff::tz::Offset::from_seconds(8 * 3600).expect("an offset"));
        assert_eq!(Texts::in_zone(SECOND, &east).local(), "21/Nov/2026:14:45:01 +0800");
    }

    #[test]
    fn short_days_are_padded() {
        let t = Texts::in_zone(0, &TimeZone::UTC);
        assert_eq!(t.syslog(), "Jan  1 00:00:00");
        assert_eq!(t.http_date(), "Thu, 01 Jan 1970 00:00:00 GMT");
        assert_eq!(http_date(i64::MAX), "Thu, 01 Jan 1970 00:00:00 GMT");
    }

    #[test]
    fn both_clocks_go() {
        let a = now();
        let second = with(Texts::second);
        assert!((a.unix_ms / 1000).abs_diff(second as u64) <= 1);
        assert!(now().mono_ms >= a.mono_ms);
    }
}
