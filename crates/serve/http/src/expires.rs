//! `expires`: the Expires and Cache-Control headers of an answer.

use weir_http::answer::number;
use weir_log::clock;
use weir_model::location::Expires;

use crate::conditions;
use crate::exchange::Exchange;
use crate::respond;

/// What `expires` says once its variables are known.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Rule {
    Off,
    Epoch,
    Max,
    /// Seconds from now.
    Access(i64),
    /// Seconds from the time of the last modification.
    Modified(i64),
    /// The next time that the local clock shows so many seconds of a day.
    Daily(i64),
}

/// Sets the headers. Answers that are not usual pages, such as errors, get none.
pub(crate) fn apply(exchange: &mut Exchange<'_>, expires: Option<&Expires>) {
    let Some(expires) = expires else { return };
    if !respond::is_decorated(exchange.request.answer.status) || exchange.is_sub {
        return;
    }
    let text = exchange.evaluate(|request, scope, _| request.expanded(scope, &expires.time));
    let Some(rule) = parse(&text, expires.modified).filter(|rule| *rule != Rule::Off) else { return };
    let answer = &mut exchange.request.answer;
    let (now, of_day) = clock::with(|texts| (texts.second(), second_of_day(texts.iso8601())));
    let (at, age) = decide(rule, now, of_day, conditions::last_modified(answer));
    answer.remove("expires");
    answer.remove("cache-control");
    answer.push(b"Expires", clock::http_date(at).as_bytes());
    match age {
        Some(age) => {
            let mut value = b"max-age=".to_vec();
            number(age, &mut value);
            answer.push(b"Cache-Control", &value);
        }
        None => answer.push(b"Cache-Control", b"no-cache"),
    }
}

/// The time of Expires in seconds since 1970, and the age in seconds for Cache-Control; none is `no-cache`.
fn decide(rule: Rule, now: i64, of_day: i64, modified: Option<i64>) -> (i64, Option<u64>) {
    /// Thu, 31 Dec 2037 23:55:55 GMT: what every client can count up to.
    const LAST: i64 = 2_145_916_555;
    const TEN_YEARS: u64 = 315_360_000;
    let age = |seconds: i64| u64::try_from(seconds).ok();
    match rule {
        Rule::Off | Rule::Epoch => (1, None),
        Rule::Max => (LAST, Some(TEN_YEARS)),
        Rule::Access(0) | Rule::Modified(0) => (now, Some(0)),
        Rule::Daily(time) => {
            let today = now - of_day + time;
            let at = if today > now { today } else { today + 86_400 };
            (at, age(at - now))
        }
        Rule::Modified(time) => match modified {
            Some(modified) => {
                let at = modified.saturating_add(time);
                (at, age(at - now).filter(|_| time > 0))
            }
            None => decide(Rule::Access(time), now, of_day, None),
        },
        Rule::Access(time) => (now.saturating_add(time), age(time)),
    }
}

fn parse(text: &[u8], modified: bool) -> Option<Rule> {
    match text {
        b"epoch" if !modified => return Some(Rule::Epoch),
        b"max" if !modified => return Some(Rule::Max),
        b"off" if !modified => return Some(Rule::Off),
        _ => {}
    }
    let (sign, rest) = match text.split_first()? {
        (sign @ (b'@' | b'+' | b'-'), rest) => (*sign, rest),
        _ => (b'+', text),
    };
    let time = seconds(rest)?;
    match (sign, modified) {
        (b'@', false) => (time <= 86_400).then_some(Rule::Daily(time)),
        (b'@', true) => None,
        (b'-', true) => Some(Rule::Modified(-time)),
        (b'-', false) => Some(Rule::Access(-time)),
        (_, true) => Some(Rule::Modified(time)),
        (_, false) => Some(Rule::Access(time)),
    }
}

/// Seconds of a time such as `1h30m`: units from years to seconds in this order, a bare number counts seconds.
fn seconds(text: &[u8]) -> Option<i64> {
    const DAY: i64 = 86_400;
    const UNITS: [(u8, i64); 7] = [
        (b'y', 365 * DAY),
        (b'M', 30 * DAY),
        (b'w', 7 * DAY),
        (b'd', DAY),
        (b'h', 3600),
        (b'm', 60),
        (b's', 1),
    ];
    let (mut total, mut units) = (0_i64, &UNITS[..]);
    let mut rest = text;
    while !rest.is_empty() {
        let length = rest.iter().take_while(|byte| byte.is_ascii_digit()).count();
        let value = std::str::from_utf8(&rest[..length]).ok()?.parse::<i64>().ok()?;
        rest = &rest[length..];
        let scale = match rest.split_first() {
            None | Some((b' ', _)) if units.is_empty() => return None,
            None => 1,
            Some((b' ', _)) => {
                units = &[];
                1
            }
            Some((unit, after)) => {
                let at = units.iter().position(|(name, _)| name == unit)?;
                let scale = units[at].1;
                units = &units[at + 1..];
                rest = after;
                scale
            }
        };
        total = value.checked_mul(scale)?.checked_add(total)?;
        let blanks = rest.iter().take_while(|&&byte| byte == b' ').count();
        rest = &rest[blanks..];
    }
    // Far more than any date that can be written.
    (!text.is_empty() && total <= i64::from(i32::MAX) * 64).then_some(total)
}

/// Seconds since midnight of `2026-11-21T06:45:01+00:00`.
fn second_of_day(iso8601: &str) -> i64 {
    let field =
        |at: usize| iso8601.get(at..at + 2).and_then(|digits| digits.parse::<i64>().ok()).unwrap_or(0);
    field(11) * 3600 + field(14) * 60 + field(17)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn words_and_times() {
        assert_eq!(parse(b"epoch", false), Some(Rule::Epoch));
        assert_eq!(parse(b"max", false), Some(Rule::Max));
        assert_eq!(parse(b"off", false), Some(Rule::Off));
        assert_eq!(parse(b"2048", false), Some(Rule::Access(2048)));
        assert_eq!(parse(b"-2048", false), Some(Rule::Access(-2048)));
        assert_eq!(parse(b"+1h", true), Some(Rule::Modified(3600)));
        assert_eq!(parse(b"@15h30m33s", false), Some(Rule::Daily(55_833)));
        assert_eq!(parse(b"1d 2h 3", false), Some(Rule::Access(93_603)));
        for wrong in [&b""[..], b"bad", b"-", b"@25h", b"1m1h", b"1k", b"1s1", b"99999999999999999999"] {
            assert_eq!(parse(wrong, false), None, "{}", wrong.escape_ascii());
        }
        for wrong in [&b"epoch"[..], b"max", b"off", b"@1h"] {
            assert_eq!(parse(wrong, true), None, "{}", wrong.escape_ascii());
        }
    }

    #[test]
    fn times_and_ages() {
        let decide = |rule| decide(rule, 1_000_000, 5_000, Some(900_000));
        assert_eq!(decide(Rule::Epoch), (1, None));
        assert_eq!(clock::http_date(decide(Rule::Max).0), "Thu, 31 Dec 2037 23:55:55 GMT");
        assert_eq!(decide(Rule::Max).1, Some(315_360_000));
        assert_eq!(decide(Rule::Access(0)), (1_000_000, Some(0)));
        assert_eq!(decide(Rule::Access(60)), (1_000_060, Some(60)));
        assert_eq!(decide(Rule::Access(-60)), (999_940, None));
        assert_eq!(decide(Rule::Modified(200_000)), (1_100_000, Some(100_000)));
        assert_eq!(decide(Rule::Modified(60)), (900_060, None));
        assert_eq!(super::decide(Rule::Modified(60), 1_000_000, 0, None), (1_000_060, Some(60)));
    }

    #[test]
    fn daily_is_today_or_tomorrow() {
        let midnight = 86_400 * 100;
        assert_eq!(decide(Rule::Daily(100), midnight + 50, 50, None), (midnight + 100, Some(50)));
        assert_eq!(decide(Rule::Daily(50), midnight + 50, 50, None), (midnight + 86_450, Some(86_400)));
    }

    #[test]
    fn the_local_second_of_the_day() {
        assert_eq!(second_of_day("2026-11-21T06:45:01+00:00"), 6 * 3600 + 45 * 60 + 1);
    }
}
