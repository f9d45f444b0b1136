//! What an entry says about its peer besides the address.

use serde_json::{Map, Value};
use weir_config::server_parameter;
use weir_model::{Millis, Peer};

/// Reads the JSON object of a key: `weight`, `max_fails`, `fail_timeout` (seconds), `down`, `backup`, as the upsync
/// module knows them, and `max_conns`, `slow_start` (seconds) and `percent` (1 to 100) besides. Each is a number or a
/// number as text, times also as `1m30s`. What is wrong keeps the value of the template and is told.
///
/// `down` drains: requests that run end, no new one comes. So does weight 0.
pub(crate) fn object(peer: &mut Peer, object: &Map<String, Value>, mut tell: impl FnMut(String)) {
    for (name, value) in object {
        let wrong = |expected: &str| format!("{name} is {value}, expected {expected}; it is ignored");
        let count = || integer(value).and_then(|number| u32::try_from(number).ok());
        let result = match name.as_str() {
            "weight" => count().map(|number| weight(peer, number)).ok_or("a number from 0 on"),
            "max_fails" => count().map(|number| peer.max_fails = number).ok_or("a number from 0 on"),
            "max_conns" => count().map(|number| peer.max_conns = number).ok_or("a number from 0 on"),
            "fail_timeout" => seconds(value).map(|time| peer.fail_timeout = time).ok_or("seconds"),
            "slow_start" => time(value).map(|time| peer.slow_start = time).ok_or("seconds or a time: 30s"),
            "percent" => percent(value).map(|percent| peer.percent = percent).ok_or("1 to 100"),
            "down" => flag(value).map(|down| peer.drain |= down).ok_or("0 or 1"),
            "backup" => flag(value).map(|backup| peer.backup = backup).ok_or("0 or 1"),
            _ => Ok(()),
        };
        if let Err(expected) = result {
            tell(wrong(expected));
        }
    }
}

/// Reads the tags of a service: `weight=5`, `max_fails=1`, `fail_timeout=10s`, `down`, `backup` and the other words of
/// a `server` line. Tags that are none of these belong to somebody else.
pub(crate) fn tags<'a>(peer: &mut Peer, tags: impl Iterator<Item = &'a str>, mut tell: impl FnMut(String)) {
    const KNOWN: [&str; 6] = ["weight", "max_conns", "max_fails", "fail_timeout", "slow_start", "percent"];
    for tag in tags {
        let key = tag.split_once('=').map(|(key, _)| key);
        match (tag, key) {
            ("down" | "drain", _) => peer.drain = true,
            ("backup", _) => peer.backup = true,
            (_, Some("weight")) if tag["weight=".len()..].parse() == Ok(0u32) => weight(peer, 0),
            (_, Some(key)) if KNOWN.contains(&key) => {
                if let Err(error) = server_parameter(peer, tag) {
                    tell(format!(r#"tag "{tag}" is ignored: {error}"#));
                }
            }
            _ => {}
        }
    }
}

fn weight(peer: &mut Peer, number: u32) {
    if number == 0 {
        peer.drain = true;
    } else {
        peer.weight = number;
    }
}

fn integer(value: &Value) -> Option<i64> {
    match value {
        Value::Number(number) => number.as_i64(),
        Value::String(text) => text.trim().parse().ok(),
        _ => None,
    }
}

/// Whole seconds.
fn seconds(value: &Value) -> Option<Millis> {
    written(value, "fail_timeout").map(|peer| peer.fail_timeout)
}

/// The same with milliseconds.
fn time(value: &Value) -> Option<Millis> {
    written(value, "slow_start").map(|peer| peer.slow_start)
}

/// A peer of which a parameter of the `server` line has this value; a number counts seconds there.
fn written(value: &Value, parameter: &str) -> Option<Peer> {
    let mut peer = Peer::new(weir_model::ListenAddress::Unix(String::new()), "");
    let text = match (integer(value), value.as_str()) {
        (Some(seconds), _) => seconds.to_string(),
        (None, text) => text?.to_owned(),
    };
    server_parameter(&mut peer, &format!("{parameter}={text}")).ok()?;
    Some(peer)
}

fn percent(value: &Value) -> Option<u8> {
    u8::try_from(integer(value)?).ok().filter(|percent| (1..=100).contains(percent))
}

fn flag(value: &Value) -> Option<bool> {
    match (value, integer(value)) {
        (Value::Bool(flag), _) => Some(*flag),
        (_, Some(0)) => Some(false),
        (_, Some(1)) => Some(true),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use weir_model::ListenAddress;

    use super::*;

    fn template() -> Peer {
        Peer { max_fails: 2, ..Peer::new(ListenAddress::Unix(String::new()), "") }
    }

    fn read(text: &str) -> (Peer, Vec<String>) {
        let (mut peer, mut told) = (template(), Vec::new());
        let map = serde_json::from_str(text).expect("an object");
        object(&mut peer, &map, |line| told.push(line));
        (peer, told)
    }

    #[test]
    fn numbers_and_texts() {
        let expected = Peer {
            weight: 5,
            max_fails: 0,
            fail_timeout: Millis(30_000),
            backup: true,
            drain: true,
            ..template()
        };
        for text in [
            r#"{"weight":5,"max_fails":0,"fail_timeout":30,"down":1,"backup":1}"#,
            r#"{"weight":"5","max_fails":"0","fail_timeout":"30","down":"1","backup":"1"}"#,
            r#"{"weight":5,"max_fails":0,"fail_timeout":"30s","down":true,"backup":true,"comment":"x"}"#,
        ] {
            assert_eq!(read(text), (expected.clone(), Vec::new()), "{text}");
        }
    }

    #[test]
    fn shares_and_slow_starts() {
        let slow = |ms| Peer { slow_start: Millis(ms), ..template() };
        for (text, expected) in [
            (r#"{"slow_start":"30s"}"#, slow(30_000)),
            (r#"{"slow_start":30}"#, slow(30_000)),
            (r#"{"slow_start":"1m30s"}"#, slow(90_000)),
            (r#"{"slow_start":"500ms"}"#, slow(500)),
            (r#"{"percent":10}"#, Peer { percent: 10, ..template() }),
            (r#"{"percent":"100"}"#, template()),
        ] {
            assert_eq!(read(text), (expected, Vec::new()), "{text}");
        }
        let mut peer = template();
        tags(&mut peer, ["percent=5", "slow_start=1m"].into_iter(), |line| panic!("{line}"));
        assert_eq!(peer, Peer { percent: 5, ..slow(60_000) });
    }

    #[test]
    fn weight_zero_drains() {
        assert_eq!(read(r#"{"weight":0}"#), (Peer { drain: true, ..template() }, Vec::new()));
        let mut peer = template();
        tags(&mut peer, ["weight=0"].into_iter(), |line| panic!("{line}"));
        assert!(peer.drain && peer.weight == 1);
    }

    #[test]
    fn what_is_wrong_keeps_the_default() {
        for (text, told) in [
            (r#"{"weight":-1}"#, "weight is -1, expected a number from 0 on; it is ignored"),
            (r#"{"weight":"many"}"#, r#"weight is "many", expected a number from 0 on; it is ignored"#),
            (r#"{"weight":4294967296}"#, "weight is 4294967296, expected a number from 0 on; it is ignored"),
            (r#"{"max_fails":1.5}"#, "max_fails is 1.5, expected a number from 0 on; it is ignored"),
            (r#"{"fail_timeout":-3}"#, "fail_timeout is -3, expected seconds; it is ignored"),
            (r#"{"percent":0}"#, "percent is 0, expected 1 to 100; it is ignored"),
            (r#"{"percent":101}"#, "percent is 101, expected 1 to 100; it is ignored"),
            (
                r#"{"slow_start":"soon"}"#,
                r#"slow_start is "soon", expected seconds or a time: 30s; it is ignored"#,
            ),
            (r#"{"down":2}"#, "down is 2, expected 0 or 1; it is ignored"),
            (r#"{"backup":null}"#, "backup is null, expected 0 or 1; it is ignored"),
        ] {
            assert_eq!(read(text), (template(), vec![told.to_owned()]), "{text}");
        }
    }

    #[test]
    fn tags_of_others_are_left_alone() {
        let (mut peer, mut told) = (template(), Vec::new());
        let list =
            ["v2", "traefik.enable=true", "weight=7", "max_fails=x", "fail_timeout=1m", "down", "backup"];
        tags(&mut peer, list.into_iter(), |line| told.push(line));
        let expected =
            Peer { weight: 7, fail_timeout: Millis(60_000), drain: true, backup: true, ..template() };
        assert_eq!(peer, expected);
        assert_eq!(told.len(), 1);
        assert!(
            told[0].starts_with(r#"tag "max_fails=x" is ignored: invalid parameter "max_fails=x""#),
            "{told:?}"
        );
    }
}
