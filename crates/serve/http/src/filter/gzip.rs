//! Whether an answer is compressed: what the place wants, what the client takes, what proxies between may do.

use weir_http::browser::Browser;
use weir_http::{Answer, Place, Request};
use weir_log::clock;
use weir_model::location::Gzip;

use super::is_listed;
use crate::conditions::parse_date;
use crate::exchange::Exchange;

/// The level of compression of an answer that is to be compressed; its head is changed then.
pub(crate) fn choose(exchange: &mut Exchange<'_>, place: &Place) -> Option<u8> {
    let gzip = &place.settings.response.gzip;
    if !gzip.on || exchange.is_sub {
        return None;
    }
    let request = &mut *exchange.request;
    let answer = &request.answer;
    let fits = matches!(answer.status, 200 | 403 | 404)
        && !answer.has("content-encoding")
        && answer.content_length.is_none_or(|length| length >= gzip.min_length)
        && is_listed(&gzip.types, answer.content_type.as_deref());
    if !fits {
        return None;
    }
    request.answer.vary |= gzip.vary;
    if !is_taken(request, place) {
        return None;
    }
    let answer = &mut request.answer;
    answer.push(b"Content-Encoding", b"gzip");
    answer.content_length = None;
    answer.weaken_etag();
    Some(gzip.level)
}

/// Whether the client, and what stands between, can have the answer compressed.
fn is_taken(request: &Request, place: &Place) -> bool {
    let gzip = &place.settings.response.gzip;
    let user_agent = request.header("user-agent");
    let version = request.is_http11() || gzip.http_1_0;
    if !version || !request.header("accept-encoding").is_some_and(accepts) {
        return false;
    }
    let old =
        gzip.disable_msie6 && Browser::of(user_agent.unwrap_or_default()) == Browser::Msie { old: true };
    let now = (clock::now().unix_ms / 1000).cast_signed();
    let by_proxy = request.header("via").is_some();
    if old
        || by_proxy
            && !may_pass_proxies(gzip, &request.answer, request.header("authorization").is_some(), now)
    {
        return false;
    }
    !user_agent.is_some_and(|name| place.gzip_disable.iter().any(|matcher| matcher.pattern.is_match(name)))
}

/// Whether Accept-Encoding allows gzip (RFC 9110, section 12.5.3, as far as nginx reads it).
fn accepts(header: &[u8]) -> bool {
    for item in header.split(|&byte| byte == b',') {
        let mut parts = item.split(|&byte| byte == b';').map(<[u8]>::trim_ascii);
        if !parts.next().is_some_and(|coding| coding.eq_ignore_ascii_case(b"gzip")) {
            continue;
        }
        return match parts.next() {
            None => true,
            Some(weight) => match weight {
                [b'q' | b'Q', b'=', weight @ ..] => is_positive(weight),
                _ => false,
            },
        };
    }
    false
}

/// A weight above 0: `1`, `1.000`, or `0.` with up to three digits that are not all 0.
fn is_positive(weight: &[u8]) -> bool {
    let (whole, decimals) = match weight {
        [whole] => (*whole, &b""[..]),
        [whole, b'.', decimals @ ..] => (*whole, decimals),
        _ => return false,
    };
    let digits = decimals.len() <= 3 && decimals.iter().all(u8::is_ascii_digit);
    let some = decimals.iter().any(|digit| *digit != b'0');
    digits && (whole == b'1' && !some || whole == b'0' && some)
}

/// `gzip_proxied`: whether the answer to a request that came through a proxy may be compressed.
fn may_pass_proxies(gzip: &Gzip, answer: &Answer, authorized: bool, now: i64) -> bool {
    let allows = |word: &str| gzip.proxied.iter().any(|allowed| allowed == word);
    if gzip.proxied.is_empty() {
        return false;
    }
    if allows("any") || authorized && allows("auth") {
        return true;
    }
    let values = |name: &'static str| {
        answer
            .fields()
            .filter(move |(found, _)| found.eq_ignore_ascii_case(name.as_bytes()))
            .map(|(_, value)| value)
    };
    if let Some(expires) = values("expires").next() {
        let date = answer.date.as_deref().map_or(Some(now), parse_date);
        return allows("expired")
            && parse_date(expires).zip(date).is_some_and(|(expires, date)| expires < date);
    }
    if answer.has("cache-control") {
        let says = |word: &str| {
            values("cache-control")
                .flat_map(|value| value.split(|&byte| byte == b','))
                .any(|directive| directive.trim_ascii().eq_ignore_ascii_case(word.as_bytes()))
        };
        return ["no-cache", "no-store", "private"].iter().any(|word| allows(word) && says(word));
    }
    let modified = allows("no_last_modified") && answer.last_modified.is_some();
    let tagged = allows("no_etag") && answer.has("etag");
    !modified && !tagged
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn codings_that_the_client_takes() {
        for yes in
            ["gzip", "gzip, deflate", "br,gzip", "deflate, GZIP ;q=0.5", "gzip;q=1.000", "gzip; q=0.001"]
        {
            assert!(accepts(yes.as_bytes()), "{yes}");
        }
        for no in [
            "",
            "identity",
            "xgzip",
            "gzipx",
            "x-gzip",
            "gzip;q=0",
            "gzip;q=0.000",
            "gzip;q=0.0001",
            "gzip;q=2",
            "gzip;q=1.1",
            "gzip;x",
            "gzip;q=",
            "deflate;q=1, gzip;q=0",
        ] {
            assert!(!accepts(no.as_bytes()), "{no}");
        }
    }

    fn gzip(proxied: &[&str]) -> Gzip {
        Gzip { proxied: proxied.iter().map(|&word| word.to_owned()).collect(), ..Gzip::default() }
    }

    #[test]
    fn proxies_between() {
        let mut answer = Answer::default();
        assert!(!may_pass_proxies(&gzip(&[]), &answer, true, 0), "off");
        assert!(may_pass_proxies(&gzip(&["any"]), &answer, false, 0));
        assert!(may_pass_proxies(&gzip(&["auth"]), &answer, true, 0));
        assert!(may_pass_proxies(&gzip(&["no_etag"]), &answer, false, 0));
        answer.push(b"ETag", b"\"x\"");
        assert!(!may_pass_proxies(&gzip(&["no_etag"]), &answer, false, 0));
        answer.push(b"Cache-Control", b"max-age=0, No-Store");
        assert!(may_pass_proxies(&gzip(&["no-cache", "no-store"]), &answer, false, 0));
        assert!(!may_pass_proxies(&gzip(&["private"]), &answer, false, 0));
        answer.push(b"Expires", b"Thu, 01 Jan 1970 00:00:10 GMT");
        assert!(may_pass_proxies(&gzip(&["expired"]), &answer, false, 11));
        assert!(!may_pass_proxies(&gzip(&["expired"]), &answer, false, 10));
        assert!(!may_pass_proxies(&gzip(&["no-store"]), &answer, false, 11), "Expires decides alone");
    }
}
