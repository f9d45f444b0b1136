//! Readers of a line's words with keepalived's grammar of numbers, timers, flags and addresses.
//!
//! What does not fit is noted together with what happens instead, and `None` comes back.

use std::net::IpAddr;
use std::ops::RangeInclusive;

use weir_model::Micros;
use weir_syntax::keepalived::Statement;
use weir_syntax::{Span, Word};

use crate::scope::Scope;

/// Microseconds in a second.
const SECOND: u64 = 1_000_000;
/// `Micros` of the longest timer in an unsigned 32-bit number of microseconds.
pub(crate) const LONGEST: u64 = u32::MAX as u64;

/// One statement. Word 0 is the first one behind the keyword.
#[derive(Clone, Copy, Debug)]
pub struct Line<'a> {
    pub(crate) statement: &'a Statement,
}

impl<'a> Line<'a> {
    pub(crate) const fn new(statement: &'a Statement) -> Self {
        Self { statement }
    }

    pub(crate) fn name(&self) -> &'a str {
        &self.statement.name.text
    }

    pub(crate) fn span(&self) -> Span {
        self.statement.span
    }

    pub(crate) fn words(&self) -> &'a [Word] {
        &self.statement.args
    }

    pub(crate) fn text(&self, i: usize) -> Option<&'a str> {
        self.statement.args.get(i).map(|word| word.text.as_str())
    }

    /// Of a word, or of the whole line where the word is missing.
    pub(crate) fn span_of(&self, i: usize) -> Span {
        self.statement.args.get(i).map_or(self.statement.span, |word| word.span)
    }

    /// The lines of the block.
    pub(crate) fn items(&self) -> &'a [Statement] {
        self.statement.block.as_deref().unwrap_or_default()
    }

    /// All words of the block, wherever its lines end.
    pub(crate) fn item_words(&self) -> impl Iterator<Item = &'a Word> {
        self.items().iter().flat_map(|item| std::iter::once(&item.name).chain(&item.args))
    }

    /// `on`, `true`, `yes` or their opposites; true when nothing follows.
    pub(crate) fn flag(&self, scope: &mut Scope<'_>) -> Option<bool> {
        let Some(word) = self.words().first() else { return Some(true) };
        let value = truth(&word.text);
        if value.is_none() {
            let message =
                format!("{} {:?} is neither on nor off; the line is ignored", self.name(), word.text);
            scope.advise(word.span, message, "write on, true, yes, off, false or no, in lower case");
        }
        value
    }

    /// The same for a keyword whose word keepalived does not read: there the line alone means true.
    pub(crate) fn unread_flag(&self, scope: &mut Scope<'_>) -> Option<bool> {
        let value = self.flag(scope)?;
        if !value {
            let message =
                format!("keepalived switches {} on by this line; Weir leaves it off as it says", self.name());
            scope.advise(self.span(), message, "take the line out");
        }
        Some(value)
    }

    /// A whole number that has to be well formed. `otherwise` says what happens when it is not.
    pub(crate) fn number<N: TryFrom<i64>>(
        &self,
        i: usize,
        range: RangeInclusive<i64>,
        otherwise: &str,
        scope: &mut Scope<'_>,
    ) -> Option<N> {
        let word = self.words().get(i)?;
        let number = word.text.trim_start().parse::<i64>().ok();
        self.within(word, number, range, otherwise, scope)
    }

    /// A whole number of which only the leading digits count, as keepalived reads most of its numbers.
    pub(crate) fn loose_number<N: TryFrom<i64>>(
        &self,
        i: usize,
        range: RangeInclusive<i64>,
        otherwise: &str,
        scope: &mut Scope<'_>,
    ) -> Option<N> {
        let word = self.words().get(i)?;
        let number = leading_number(word, self.name(), scope);
        self.within(word, number, range, otherwise, scope)
    }

    fn within<N: TryFrom<i64>>(
        &self,
        word: &Word,
        number: Option<i64>,
        range: RangeInclusive<i64>,
        otherwise: &str,
        scope: &mut Scope<'_>,
    ) -> Option<N> {
        let (from, to) = (range.start(), range.end());
        let Some(number) = number else {
            let message = format!("{} {:?} is no number; {otherwise}", self.name(), word.text);
            scope.advise(word.span, message, format!("a whole number from {from} to {to} is expected"));
            return None;
        };
        if range.contains(&number)
            && let Ok(number) = N::try_from(number)
        {
            return Some(number);
        }
        let message = format!("{} {number} is not in {from} to {to}; {otherwise}", self.name());
        scope.warn(word.span, message);
        None
    }

    /// Decimal seconds with a resolution of a microsecond, both bounds inclusive.
    pub(crate) fn timer(
        &self,
        i: usize,
        range: RangeInclusive<u64>,
        otherwise: &str,
        scope: &mut Scope<'_>,
    ) -> Option<Micros> {
        let word = self.words().get(i)?;
        let text = word.text.trim_start();
        let end = text.find(|letter: char| !letter.is_ascii_digit() && letter != '.').unwrap_or(text.len());
        let number = text.get(..end).unwrap_or_default();
        let Some((micros, exact)) = decimal(number) else {
            let message = format!("{} {:?} is no time; {otherwise}", self.name(), word.text);
            scope.advise(word.span, message, "a time is a number of seconds, such as 1 or 0.25");
            return None;
        };
        if end < text.len() {
            let message = format!("{} {text:?} has more than a number; {number} is used", self.name());
            scope.warn(word.span, message);
        }
        if !exact {
            let message = format!("{} {number} is rounded to {} s", self.name(), seconds(Micros(micros)));
            scope.warn(word.span, message);
        }
        if range.contains(&micros) {
            return Some(Micros(micros));
        }
        let (from, to) = (seconds(Micros(*range.start())), seconds(Micros(*range.end())));
        scope.warn(
            word.span,
            format!("{} {} is not in {from} to {to} s; {otherwise}", self.name(), word.text),
        );
        None
    }

    /// Whole seconds.
    pub(crate) fn whole_seconds(&self, range: RangeInclusive<i64>, scope: &mut Scope<'_>) -> Option<Micros> {
        self.loose_number::<u32>(0, range, IGNORED, scope)
            .map(|seconds| Micros::from_secs(u64::from(seconds)))
    }

    /// An address without a prefix length.
    pub(crate) fn address(&self, i: usize, scope: &mut Scope<'_>) -> Option<IpAddr> {
        address(self.words().get(i)?, scope)
    }

    /// The name of an interface.
    pub(crate) fn interface(&self, i: usize, scope: &mut Scope<'_>) -> Option<String> {
        interface(self.words().get(i)?, scope)
    }
}

/// What most keywords do with a value that they cannot use.
pub(crate) const IGNORED: &str = "the line is ignored";

/// An address, or a note that there is none.
pub(crate) fn address(word: &Word, scope: &mut Scope<'_>) -> Option<IpAddr> {
    let address = word.text.parse().ok();
    if address.is_none() {
        scope.warn(word.span, format!("{:?} is no IP address; it is ignored", word.text));
    }
    address
}

/// The longest name of an interface in bytes (the kernel's `IFNAMSIZ` without the final zero).
pub(crate) const INTERFACE_LEN: usize = 15;

/// The name of an interface as the kernel takes it, or a note.
pub(crate) fn interface(word: &Word, scope: &mut Scope<'_>) -> Option<String> {
    let name = word.text.as_str();
    if name.len() > INTERFACE_LEN {
        let message = format!("{name:?} is longer than {INTERFACE_LEN} bytes; no interface has such a name");
        scope.warn(word.span, message);
        return None;
    }
    let wrong =
        |letter: char| letter == '/' || letter == ':' || letter.is_whitespace() || letter.is_control();
    if name.is_empty() || name == "." || name == ".." || name.contains(wrong) {
        scope.warn(word.span, format!("{name:?} is no name of an interface; it is ignored"));
        return None;
    }
    Some(name.to_owned())
}

pub(crate) fn truth(text: &str) -> Option<bool> {
    match text {
        "on" | "true" | "yes" => Some(true),
        "off" | "false" | "no" => Some(false),
        _ => None,
    }
}

/// The digits at the start, with a note about what follows them.
pub(crate) fn leading_number(word: &Word, keyword: &str, scope: &mut Scope<'_>) -> Option<i64> {
    let text = word.text.trim_start();
    let sign = usize::from(text.starts_with(['-', '+']));
    let digits = text.get(sign..)?.find(|letter: char| !letter.is_ascii_digit());
    let end = digits.map_or(text.len(), |digits| sign + digits);
    let number = text.get(..end)?.parse().ok()?;
    if end < text.len() {
        scope.warn(word.span, format!("{keyword} {text:?} has more than a number; {number} is used"));
    }
    Some(number)
}

/// Microseconds of a decimal number of seconds, and whether it had no finer digits.
fn decimal(text: &str) -> Option<(u64, bool)> {
    let text = text.trim_start();
    let (whole, fraction) = text.split_once('.').unwrap_or((text, ""));
    let digits = |text: &str| text.bytes().all(|byte| byte.is_ascii_digit());
    if (whole.is_empty() && fraction.is_empty()) || !digits(whole) || !digits(fraction) {
        return None;
    }
    let whole: u64 = if whole.is_empty() { 0 } else { whole.parse().ok()? };
    let mut micros = whole.checked_mul(SECOND)?;
    let mut unit = SECOND;
    let mut exact = true;
    for digit in fraction.bytes().map(|byte| u64::from(byte - b'0')) {
        if unit > 1 {
            unit /= 10;
            micros = micros.checked_add(digit * unit)?;
        } else {
            // The first digit behind the resolution rounds; what follows it has no say.
            if exact && digit >= 5 && unit == 1 {
                micros = micros.checked_add(1)?;
            }
            exact &= digit == 0;
            unit = 0;
        }
    }
    Some((micros, exact))
}

/// A time as a person writes it: `1`, `0.25`.
pub(crate) fn seconds(time: Micros) -> String {
    let (whole, rest) = (time.0 / SECOND, time.0 % SECOND);
    if rest == 0 {
        return whole.to_string();
    }
    format!("{whole}.{rest:06}").trim_end_matches('0').to_owned()
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn decimals_have_six_digits() {
        assert_eq!(decimal("1"), Some((1_000_000, true)));
        assert_eq!(decimal("0.25"), Some((250_000, true)));
        assert_eq!(decimal(".5"), Some((500_000, true)));
        assert_eq!(decimal("3."), Some((3_000_000, true)));
        assert_eq!(decimal("0.0000004"), Some((0, false)));
        assert_eq!(decimal("0.0000015"), Some((2, false)));
        assert_eq!(decimal("0.1000000"), Some((100_000, true)));
        assert_eq!(decimal("1s"), None);
        assert_eq!(decimal("-1"), None);
        assert_eq!(decimal("."), None);
        assert_eq!(decimal("99999999999999999999"), None);
    }

    proptest! {
        #[test]
        fn seconds_are_read_back(micros in 0_u64..10_000_000_000) {
            prop_assert_eq!(decimal(&seconds(Micros(micros))), Some((micros, true)));
        }

        #[test]
        fn no_text_panics(text in ".{0,30}") {
            let _ = decimal(&text);
        }
    }
}
