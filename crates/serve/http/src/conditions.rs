//! Conditional requests: If-Match and its kin, and the dates that they carry (RFC 9110, section 13).

use weir_http::{Answer, Request};
use weir_model::location::IfModifiedSince;

use crate::exchange::Exchange;

/// The headers of a request that ask for an answer only under a condition, or for parts of it.
#[derive(Debug, Default, Clone, Copy)]
pub(crate) struct Headers<'r> {
    pub(crate) range: Option<&'r [u8]>,
    if_range: Option<&'r [u8]>,
    if_match: Option<&'r [u8]>,
    if_none_match: Option<&'r [u8]>,
    if_modified_since: Option<&'r [u8]>,
    if_unmodified_since: Option<&'r [u8]>,
}

impl<'r> Headers<'r> {
    /// Finds them in one pass over the request's headers.
    pub(crate) fn of(request: &'r Request) -> Self {
        let mut found = Self::default();
        for field in &request.head.fields {
            let name = field.name.of(&request.bytes);
            let slot = match name.len() {
                5 if name.eq_ignore_ascii_case(b"range") => &mut found.range,
                8 if name.eq_ignore_ascii_case(b"if-range") => &mut found.if_range,
                8 if name.eq_ignore_ascii_case(b"if-match") => &mut found.if_match,
                13 if name.eq_ignore_ascii_case(b"if-none-match") => &mut found.if_none_match,
                17 if name.eq_ignore_ascii_case(b"if-modified-since") => &mut found.if_modified_since,
                19 if name.eq_ignore_ascii_case(b"if-unmodified-since") => &mut found.if_unmodified_since,
                _ => continue,
            };
            slot.get_or_insert(field.value.of(&request.bytes));
        }
        found
    }

    fn is_conditional(&self) -> bool {
        self.if_match.is_some()
            || self.if_none_match.is_some()
            || self.if_modified_since.is_some()
            || self.if_unmodified_since.is_some()
    }
}

/// What the conditions of a request make of an answer.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Verdict {
    /// It is sent as it is.
    Send,
    /// The client has it: 304, to which the answer's head was changed. No body follows.
    NotModified,
    /// 412 is the answer.
    Failed,
}

/// Holds the conditions of a request against the validators in its answer, and turns the answer into 304 when
/// the client has what it would get. To be called before the filters run.
pub(crate) fn check(exchange: &mut Exchange<'_>) -> Verdict {
    // `error_page 404 =200 /page` makes an answer like any other.
    let status = match exchange.request.error_status {
        0 => exchange.request.answer.status,
        status => status,
    };
    if exchange.is_sub || status != 200 {
        return Verdict::Send;
    }
    let headers = Headers::of(&exchange.request);
    if !headers.is_conditional() {
        return Verdict::Send;
    }
    let live = exchange.live();
    let rule = live.site().place(exchange.request.location).settings.files.if_modified_since;
    let answer = &exchange.request.answer;
    let verdict = judge(&headers, etag(answer), last_modified(answer), rule);
    if verdict == Verdict::NotModified {
        exchange.request.error_status = 0;
        let answer = &mut exchange.request.answer;
        answer.status = 304;
        answer.reason.clear();
        answer.content_type = None;
        answer.charset = None;
        answer.content_length = None;
        answer.remove("accept-ranges");
        answer.remove("content-encoding");
    }
    verdict
}

/// Seconds since 1970 of the answer's Last-Modified.
pub(crate) fn last_modified(answer: &Answer) -> Option<i64> {
    answer.last_modified.as_deref().and_then(parse_date)
}

fn etag(answer: &Answer) -> Option<&[u8]> {
    answer.fields().find(|(name, _)| name.eq_ignore_ascii_case(b"etag")).map(|(_, value)| value)
}

/// Whether a Range header is to be followed as far as If-Range goes: without one, or when its validator is the
/// answer's own.
pub(crate) fn if_range(headers: &Headers<'_>, answer: &Answer) -> bool {
    match headers.if_range {
        None => true,
        Some(tag) if tag.len() >= 2 && tag.ends_with(b"\"") => etag(answer) == Some(tag),
        Some(date) => {
            let modified = last_modified(answer);
            modified.is_some() && modified == parse_date(date)
        }
    }
}

fn judge(
    headers: &Headers<'_>,
    etag: Option<&[u8]>,
    modified: Option<i64>,
    rule: IfModifiedSince,
) -> Verdict {
    if let Some(date) = headers.if_unmodified_since {
        let unmodified =
            modified.is_some_and(|modified| parse_date(date).is_some_and(|date| date >= modified));
        if !unmodified {
            return Verdict::Failed;
        }
    }
    if headers.if_match.is_some_and(|list| !matches(list, etag, false)) {
        return Verdict::Failed;
    }
    if headers.if_modified_since.is_none() && headers.if_none_match.is_none() {
        return Verdict::Send;
    }
    if headers.if_modified_since.is_some_and(|date| is_modified(date, modified, rule)) {
        return Verdict::Send;
    }
    if headers.if_none_match.is_some_and(|list| !matches(list, etag, true)) {
        return Verdict::Send;
    }
    Verdict::NotModified
}

fn is_modified(date: &[u8], modified: Option<i64>, rule: IfModifiedSince) -> bool {
    let (Some(modified), Some(date)) = (modified, parse_date(date)) else { return true };
    match rule {
        IfModifiedSince::Off => true,
        IfModifiedSince::Exact => date != modified,
        IfModifiedSince::Before => date < modified,
    }
}

/// Whether a list of entity tags has the answer's own; `*` has every answer. The weak comparison drops `W/`
/// (RFC 9110, 8.8.3.2).
fn matches(list: &[u8], etag: Option<&[u8]>, weak: bool) -> bool {
    if list == b"*" {
        return true;
    }
    let Some(etag) = etag else { return false };
    let plain = |tag| strip_weak(tag, weak);
    list.split(|&byte| byte == b',').any(|tag| plain(tag.trim_ascii()) == plain(etag))
}

fn strip_weak(tag: &[u8], weak: bool) -> &[u8] {
    if weak { tag.strip_prefix(b"W/").unwrap_or(tag) } else { tag }
}

const MONTHS: [&str; 12] =
    ["Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec"];

/// Reads any of the three forms of an HTTP date (RFC 9110, 5.6.7) as seconds since 1970. The name of the day is
/// not looked at.
pub(crate) fn parse_date(text: &[u8]) -> Option<i64> {
    let text = std::str::from_utf8(text).ok()?;
    let (day, month, year, time) = match text.split_once(',') {
        // Sun, 06 Nov 1994 08:49:37 GMT, and Sunday, 06-Nov-94 08:49:37 GMT
        Some((_, rest)) => {
            let mut words = rest.split([' ', '-']).filter(|word| !word.is_empty());
            let (day, month, year) = (words.next()?, words.next()?, words.next()?);
            (day, month, year, words.next()?)
        }
        // Sun Nov  6 08:49:37 1994
        None => {
            let mut words = text.split_ascii_whitespace().skip(1);
            let (month, day, time) = (words.next()?, words.next()?, words.next()?);
            (day, month, words.next()?, time)
        }
    };
    let month = MONTHS.iter().position(|name| *name == month)? as i64 + 1;
    let year = match (year.len(), two_or_four(year)?) {
        (2, year @ 70..) => year + 1900,
        (2, year) => year + 2000,
        (_, year) => year,
    };
    let day = small(day)?;
    let mut clock = time.split(':').map(small);
    let (hour, minute, second) = (clock.next()??, clock.next()??, clock.next()??);
    let length = match month {
        2 if year % 4 == 0 && (year % 100 != 0 || year % 400 == 0) => 29,
        2 => 28,
        4 | 6 | 9 | 11 => 30,
        _ => 31,
    };
    if day < 1 || day > length || hour > 23 || minute > 59 || second > 59 || clock.next().is_some() {
        return None;
    }
    Some(days(year, month, day) * 86_400 + hour * 3600 + minute * 60 + second)
}

/// Days since 1970-01-01 of a date in the Gregorian calendar. Years begin in March here, so that the day that
/// leap years add is their last.
fn days(year: i64, month: i64, day: i64) -> i64 {
    let (year, month) = if month > 2 { (year, month - 3) } else { (year - 1, month + 9) };
    let leaps = year.div_euclid(4) - year.div_euclid(100) + year.div_euclid(400);
    let in_year = (153 * month + 2) / 5 + day - 1;
    365 * year + leaps + in_year - 719_468
}

fn small(text: &str) -> Option<i64> {
    (matches!(text.len(), 1 | 2) && text.bytes().all(|byte| byte.is_ascii_digit()))
        .then(|| text.parse().ok())?
}

fn two_or_four(text: &str) -> Option<i64> {
    (matches!(text.len(), 2 | 4) && text.bytes().all(|byte| byte.is_ascii_digit()))
        .then(|| text.parse().ok())?
}

#[cfg(test)]
mod tests {
    use super::*;

    const DATE: i64 = 784_111_777;
    const TEXT: &[u8] = b"Sun, 06 Nov 1994 08:49:37 GMT";
    const LATER: &[u8] = b"Sun, 06 Nov 1994 08:49:38 GMT";
    const TAG: Option<&[u8]> = Some(b"\"5-7\"");

    #[test]
    fn dates_in_all_three_forms() {
        assert_eq!(parse_date(TEXT), Some(DATE));
        assert_eq!(parse_date(b"Sunday, 06-Nov-94 08:49:37 GMT"), Some(DATE));
        assert_eq!(parse_date(b"Sun Nov  6 08:49:37 1994"), Some(DATE));
        assert_eq!(parse_date(b"Thu, 01 Jan 1970 00:00:00 GMT"), Some(0));
        assert_eq!(parse_date(b"Tue, 29 Feb 2000 00:00:00 GMT"), Some(951_782_400));
        assert_eq!(parse_date(b"Fri, 25 Feb 2174 09:42:23 GMT"), Some(0x1_7FFF_FFFF));
    }

    #[test]
    fn what_is_no_date() {
        for text in [
            &b""[..],
            b"wrong",
            b",",
            b"Sun, 06 Nov 1994",
            b"Sun, 31 Feb 1994 08:49:37 GMT",
            b"Sun, 00 Nov 1994 08:49:37 GMT",
            b"Sun, 06 Foo 1994 08:49:37 GMT",
            b"Sun, 06 Nov 19940 08:49:37 GMT",
            b"Sun, 06 Nov 1994 24:49:37 GMT",
            b"Sun, 06 Nov 1994 08:49 GMT",
            b"Sun, 06 Nov 1994 08:49:37:1 GMT",
            b"\xff, 06 Nov 1994 08:49:37 GMT",
        ] {
            assert_eq!(parse_date(text), None, "{}", text.escape_ascii());
        }
    }

    #[test]
    fn dates_round_trip() {
        for second in [0, 951_782_399, 951_868_800, 1_709_251_199, 4_102_444_800] {
            assert_eq!(parse_date(weir_log::clock::http_date(second).as_bytes()), Some(second));
        }
    }

    fn verdict(headers: Headers<'_>, rule: IfModifiedSince) -> Verdict {
        judge(&headers, TAG, Some(DATE), rule)
    }

    #[test]
    fn if_modified_since_by_rule() {
        use IfModifiedSince as Rule;
        let since = |date| Headers { if_modified_since: Some(date), ..Headers::default() };
        assert_eq!(verdict(since(TEXT), Rule::Exact), Verdict::NotModified);
        assert_eq!(verdict(since(LATER), Rule::Exact), Verdict::Send);
        assert_eq!(verdict(since(LATER), Rule::Before), Verdict::NotModified);
        assert_eq!(verdict(since(TEXT), Rule::Off), Verdict::Send);
        assert_eq!(verdict(since(b"wrong"), Rule::Before), Verdict::Send);
        assert_eq!(judge(&since(TEXT), TAG, None, Rule::Exact), Verdict::Send);
    }

    #[test]
    fn entity_tags() {
        let rule = IfModifiedSince::Exact;
        let none = |list| verdict(Headers { if_none_match: Some(list), ..Headers::default() }, rule);
        let some = |list| verdict(Headers { if_match: Some(list), ..Headers::default() }, rule);
        assert_eq!(none(b"\"5-7\""), Verdict::NotModified);
        assert_eq!(none(b"W/\"5-7\""), Verdict::NotModified);
        assert_eq!(none(b"\"foo\", \"bar\", \"5-7\" , \"baz\""), Verdict::NotModified);
        assert_eq!(none(b"*"), Verdict::NotModified);
        assert_eq!(none(b"\"foo\""), Verdict::Send);
        assert_eq!(some(b"\"foo\", \t\"5-7\" , \"baz\""), Verdict::Send);
        assert_eq!(some(b"W/\"5-7\""), Verdict::Failed);
        assert_eq!(some(b"\"foo\""), Verdict::Failed);
        assert_eq!(some(b"*"), Verdict::Send);
    }

    #[test]
    fn both_validators_have_to_agree() {
        let headers =
            Headers { if_none_match: Some(b"\"foo\""), if_modified_since: Some(TEXT), ..Headers::default() };
        assert_eq!(verdict(headers, IfModifiedSince::Exact), Verdict::Send);
    }

    #[test]
    fn if_unmodified_since_needs_a_date() {
        let since = |date| Headers { if_unmodified_since: Some(date), ..Headers::default() };
        let rule = IfModifiedSince::Exact;
        assert_eq!(verdict(since(LATER), rule), Verdict::Send);
        assert_eq!(verdict(since(b"Sun, 06 Nov 1994 08:49:36 GMT"), rule), Verdict::Failed);
        assert_eq!(judge(&since(TEXT), TAG, None, rule), Verdict::Failed);
    }

    #[test]
    fn if_range_wants_the_same_validator() {
        let mut answer = Answer::default();
        answer.last_modified = Some(TEXT.to_vec());
        answer.push(b"ETag", b"\"5-7\"");
        let with = |value| Headers { if_range: Some(value), ..Headers::default() };
        assert!(if_range(&Headers::default(), &answer));
        assert!(if_range(&with(b"\"5-7\""), &answer));
        assert!(!if_range(&with(b"W/\"5-7\""), &answer));
        assert!(if_range(&with(TEXT), &answer));
        assert!(!if_range(&with(LATER), &answer));
        assert!(!if_range(&with(b"wrong"), &answer));
        assert!(!if_range(&with(b"wrong"), &Answer::default()));
    }
}
