//! Readers of a directive's arguments with nginx's grammar of times, sizes and flags.

use weir_model::Millis;
use weir_syntax::{Directive, Span, Word};

use crate::directive::Problem;

/// The arguments of one directive. Index 0 is the first word after the name.
#[derive(Clone, Copy, Debug)]
pub struct Args<'a> {
    pub(crate) directive: &'a Directive,
}

impl<'a> Args<'a> {
    pub(crate) const fn new(directive: &'a Directive) -> Self {
        Self { directive }
    }

    pub(crate) fn name(&self) -> &'a str {
        &self.directive.name.text
    }

    /// Of the whole directive.
    pub(crate) fn span(&self) -> Span {
        self.directive.span
    }

    pub(crate) fn len(&self) -> usize {
        self.directive.args.len()
    }

    pub(crate) fn words(&self) -> &'a [Word] {
        &self.directive.args
    }

    /// The lines of the body; empty for a simple directive.
    pub(crate) fn body(&self) -> &'a [Directive] {
        self.directive.block.as_deref().unwrap_or_default()
    }

    /// The catalogue's arity makes sure that the word is there.
    pub(crate) fn word(&self, i: usize) -> &'a Word {
        &self.directive.args[i]
    }

    pub(crate) fn text(&self, i: usize) -> &'a str {
        &self.word(i).text
    }

    /// `on` or `off`, whatever the case.
    pub(crate) fn flag(&self, i: usize) -> Result<bool, Problem> {
        match self.text(i) {
            text if text.eq_ignore_ascii_case("on") => Ok(true),
            text if text.eq_ignore_ascii_case("off") => Ok(false),
            text => Err(Problem::new(format!(
                r#"invalid value "{text}" in "{}" directive, it must be "on" or "off""#,
                self.name()
            ))
            .at(self.word(i).span)),
        }
    }

    /// A time in a slot of milliseconds: no years, no months.
    pub(crate) fn time(&self, i: usize) -> Result<Millis, Problem> {
        time(self.text(i), Unit::Millis).map(Millis).ok_or_else(|| {
            self.slot(i, "invalid value")
                .help("a time is a number with ms, s, m, h, d or w, such as 30s or 1h30m")
        })
    }

    /// A time in a slot of seconds: no milliseconds.
    pub(crate) fn seconds(&self, i: usize) -> Result<u64, Problem> {
        time(self.text(i), Unit::Seconds).ok_or_else(|| {
            self.slot(i, "invalid value")
                .help("a time is a number with s, m, h, d, w, M or y, such as 30s or 1h30m")
        })
    }

    /// Bytes with k or m.
    pub(crate) fn size(&self, i: usize) -> Result<u64, Problem> {
        size(self.text(i)).ok_or_else(|| {
            self.slot(i, "invalid value")
                .help("a size is a number of bytes, or a number with k or m, such as 16k")
        })
    }

    /// Bytes with k, m or g.
    pub(crate) fn offset(&self, i: usize) -> Result<u64, Problem> {
        offset(self.text(i)).ok_or_else(|| {
            self.slot(i, "invalid value")
                .help("a size is a number of bytes, or a number with k, m or g, such as 100m")
        })
    }

    pub(crate) fn number(&self, i: usize) -> Result<u64, Problem> {
        number(self.text(i))
            .ok_or_else(|| self.slot(i, "invalid number").help("digits only are expected here"))
    }

    /// `NUMBER SIZE`, both at least 1, as in `proxy_buffers 8 4k`.
    pub(crate) fn buffers(&self, i: usize) -> Result<(u32, u64), Problem> {
        let count = number(self.text(i)).and_then(|n| u32::try_from(n).ok()).filter(|n| *n > 0);
        let Some(count) = count else { return Err(self.slot(i, "invalid value")) };
        match size(self.text(i + 1)) {
            Some(size) if size > 0 => Ok((count, size)),
            _ => Err(self.slot(i + 1, "invalid value")),
        }
    }

    /// What follows `key=` in word `i`; absent when the word starts otherwise.
    pub(crate) fn key_value(&self, i: usize, key: &str) -> Option<&'a str> {
        self.text(i).strip_prefix(key)?.strip_prefix('=')
    }

    /// `"x" directive is duplicate` and its like: nginx puts the name of the directive before the words.
    pub(crate) fn slot(&self, i: usize, words: &str) -> Problem {
        Problem::new(format!(r#""{}" directive {words}"#, self.name())).at(self.word(i).span)
    }

    /// `invalid value "x"`.
    pub(crate) fn invalid_value(&self, i: usize) -> Problem {
        Problem::new(format!(r#"invalid value "{}""#, self.text(i))).at(self.word(i).span)
    }

    /// `invalid parameter "x"`.
    pub(crate) fn invalid_parameter(&self, i: usize) -> Problem {
        Problem::new(format!(r#"invalid parameter "{}""#, self.text(i))).at(self.word(i).span)
    }

    /// `invalid parameter "x"` with the parameters that are known, each as it starts: `weight=`, `backup`.
    pub(crate) fn unknown_parameter(&self, i: usize, known: &[&str]) -> Problem {
        let text = self.text(i);
        let start = text.find('=').map_or(text, |equals| &text[..=equals]);
        let problem = self.invalid_parameter(i);
        match crate::nearest(start, known.iter().copied()) {
            Some(near) => problem.help(format!(r#"did you mean "{near}"?"#)),
            None => problem.help(format!("known parameters are {}", known.join(", "))),
        }
    }

    /// `invalid value "x" in "name" directive`: nginx's words for a word out of a list (enum and bit mask
    /// slots: the latter with `invalid value "x"` alone, see [`Self::invalid_value`]).
    pub(crate) fn not_in_list(&self, i: usize, known: &[&str]) -> Problem {
        Problem::new(format!(r#"invalid value "{}" in "{}" directive"#, self.text(i), self.name()))
            .at(self.word(i).span)
            .help(format!("one of {} is expected", known.join(", ")))
    }
}

/// What a bare number of a time counts, and the finest unit that it may name.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Unit {
    Millis,
    Seconds,
}

/// nginx's times: numbers with units in descending order; a number without a unit counts seconds.
/// The result counts `unit`s.
pub(crate) fn time(text: &str, unit: Unit) -> Option<u64> {
    const DAY: u64 = 24 * 60 * 60;
    /// Units from the longest down with their seconds; `ms` is apart.
    const UNITS: [(u8, u64); 7] = [
        (b'y', 365 * DAY),
        (b'M', 30 * DAY),
        (b'w', 7 * DAY),
        (b'd', DAY),
        (b'h', 3600),
        (b'm', 60),
        (b's', 1),
    ];
    const LIMIT: u64 = i64::MAX as u64;
    let per_second = if unit == Unit::Millis { 1000 } else { 1 };
    let bytes = text.as_bytes();
    let mut next_unit = if unit == Unit::Millis { 2 } else { 0 };
    let (mut total, mut at, mut any) = (0u64, 0, false);
    while at < bytes.len() {
        let digits = bytes[at..].iter().take_while(|byte| byte.is_ascii_digit()).count();
        let value =
            if digits == 0 { 0 } else { text[at..at + digits].parse().ok().filter(|v| *v <= LIMIT)? };
        any |= digits > 0;
        at += digits;
        let scale = match (bytes.get(at), bytes.get(at + 1)) {
            (None, _) => per_second,
            (Some(b'm'), Some(b's')) => {
                if unit == Unit::Seconds || next_unit > UNITS.len() {
                    return None;
                }
                next_unit = UNITS.len() + 1;
                at += 2;
                1
            }
            (Some(b' '), _) if next_unit < UNITS.len() => {
                next_unit = UNITS.len() + 1;
                at += 1;
                per_second
            }
            (Some(letter), _) => {
                let index = UNITS.iter().position(|(name, _)| name == letter).filter(|i| *i >= next_unit)?;
                next_unit = index + 1;
                at += 1;
                UNITS[index].1 * per_second
            }
        };
        total =
            value.checked_mul(scale).and_then(|value| total.checked_add(value)).filter(|t| *t <= LIMIT)?;
        at += bytes[at..].iter().take_while(|byte| **byte == b' ').count();
    }
    any.then_some(total)
}

/// Bytes, or with `k` or `m`.
pub(crate) fn size(text: &str) -> Option<u64> {
    scaled(text, &[(b'k', 1 << 10), (b'm', 1 << 20)])
}

/// Bytes, or with `k`, `m` or `g`.
pub(crate) fn offset(text: &str) -> Option<u64> {
    scaled(text, &[(b'k', 1 << 10), (b'm', 1 << 20), (b'g', 1 << 30)])
}

fn scaled(text: &str, units: &[(u8, u64)]) -> Option<u64> {
    let last = text.as_bytes().last()?.to_ascii_lowercase();
    let (digits, scale) = match units.iter().find(|(letter, _)| *letter == last) {
        Some((_, scale)) => (&text[..text.len() - 1], *scale),
        None => (text, 1),
    };
    number(digits)?.checked_mul(scale).filter(|bytes| i64::try_from(*bytes).is_ok())
}

/// Digits only, up to the largest signed 64-bit number.
pub(crate) fn number(text: &str) -> Option<u64> {
    if text.is_empty() || !text.bytes().all(|byte| byte.is_ascii_digit()) {
        return None;
    }
    text.parse().ok().filter(|number| i64::try_from(*number).is_ok())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_add_up_in_descending_order() {
        assert_eq!(time("1h30m", Unit::Millis), Some(5_400_000));
        assert_eq!(time("1m500ms", Unit::Millis), Some(60_500));
        assert_eq!(time("15", Unit::Millis), Some(15_000));
        assert_eq!(time("1m 20", Unit::Seconds), Some(80));
        assert_eq!(time("1y1M", Unit::Seconds), Some(395 * 86_400));
        for wrong in ["", "30m1h", "1y", "1M", "1.5s", "-1", "1x", "99999999999999999999s", "1s 1m", "h"] {
            assert_eq!(time(wrong, Unit::Millis), None, "{wrong}");
        }
        assert_eq!(time("10ms", Unit::Seconds), None);
    }

    #[test]
    fn sizes_know_their_units() {
        assert_eq!(size("16k"), Some(16_384));
        assert_eq!(size("1M"), Some(1 << 20));
        assert_eq!(size("1g"), None);
        assert_eq!(offset("2G"), Some(2 << 30));
        assert_eq!(offset("9999999999g"), None);
        assert_eq!(size("k"), None);
        assert_eq!(size("4 k"), None);
        assert_eq!(number("+1"), None);
    }
}
