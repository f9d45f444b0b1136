//! Values of a plan that people write as one word.

use std::fmt;
use std::marker::PhantomData;
use std::str::FromStr;

use serde::de::{self, Visitor};
use serde::{Deserialize, Deserializer, Serialize, Serializer};

/// A number of servers, or a part of them: `2`, `25%`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Amount {
    Count(usize),
    /// 0 to 100.
    Percent(u8),
}

impl Amount {
    /// Of `total` servers; a part is rounded down.
    #[must_use]
    pub fn floor(self, total: usize) -> usize {
        match self {
            Self::Count(count) => count,
            Self::Percent(percent) => total.saturating_mul(usize::from(percent)) / 100,
        }
    }

    /// Of `total` servers; a part is rounded up.
    #[must_use]
    pub fn ceil(self, total: usize) -> usize {
        match self {
            Self::Count(count) => count,
            Self::Percent(percent) => total.saturating_mul(usize::from(percent)).div_ceil(100),
        }
    }
}

impl fmt::Display for Amount {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Count(count) => write!(f, "{count}"),
            Self::Percent(percent) => write!(f, "{percent}%"),
        }
    }
}

impl FromStr for Amount {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let wrong = || format!("\"{text}\" is no number of servers; expected one like 2 or 25% (0% to 100%)");
        match text.strip_suffix('%') {
            None => text.parse().map(Self::Count).map_err(|_| wrong()),
            Some(digits) => match digits.trim().parse() {
                Ok(percent @ 0..=100) => Ok(Self::Percent(percent)),
                _ => Err(wrong()),
            },
        }
    }
}

/// A share of a server's weight: 1 to 100 percent.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Share(pub u8);

impl Share {
    pub const WHOLE: Self = Self(100);
}

impl fmt::Display for Share {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}%", self.0)
    }
}

impl FromStr for Share {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        match text.strip_suffix('%').unwrap_or(text).trim().parse() {
            Ok(percent @ 1..=100) => Ok(Self(percent)),
            _ => Err(format!("\"{text}\" is no share; expected 1% to 100%")),
        }
    }
}

/// Status codes that count as healthy: `200`, `200-299`, `200 204 301-303`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Statuses(
    /// First and last, both inclusive; never empty.
    pub Vec<(u16, u16)>,
);

impl Default for Statuses {
    fn default() -> Self {
        Self(vec![(200, 299)])
    }
}

impl Statuses {
    #[must_use]
    pub fn has(&self, status: u16) -> bool {
        self.0.iter().any(|&(first, last)| (first..=last).contains(&status))
    }
}

impl fmt::Display for Statuses {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (n, (first, last)) in self.0.iter().enumerate() {
            let space = if n == 0 { "" } else { " " };
            if first == last {
                write!(f, "{space}{first}")?;
            } else {
                write!(f, "{space}{first}-{last}")?;
            }
        }
        Ok(())
    }
}

impl FromStr for Statuses {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let code = |word: &str| word.parse().ok().filter(|code| (100..=599).contains(code));
        let range = |word: &str| {
            let (first, last) = word.split_once('-').unwrap_or((word, word));
            Some((code(first)?, code(last)?)).filter(|(first, last)| first <= last)
        };
        let words = text.split([' ', ',']).filter(|word| !word.is_empty());
        let ranges: Option<Vec<(u16, u16)>> = words.map(range).collect();
        ranges.filter(|ranges| !ranges.is_empty()).map(Self).ok_or_else(|| {
            format!("\"{text}\" names no status codes; expected some like 200, 200-299 or 200 204")
        })
    }
}

/// A header that the answer must have: `X-Version: 7`, or only a name. `{version}` in it stands for the version that is expected.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Expectation {
    pub name: String,
    /// Absent: any value.
    pub value: Option<String>,
}

impl fmt::Display for Expectation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.value {
            Some(value) => write!(f, "{}: {value}", self.name),
            None => f.write_str(&self.name),
        }
    }
}

impl FromStr for Expectation {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let (name, value) = match text.split_once(':') {
            Some((name, value)) => (name.trim(), Some(value.trim().to_owned())),
            None => (text.trim(), None),
        };
        // RFC 9110, section 5.6.2: a field name is a token.
        let token = |c: char| c.is_ascii_alphanumeric() || "!#$%&'*+-.^_`|~".contains(c);
        if name.is_empty() || !name.chars().all(token) {
            return Err(format!("\"{text}\" is no header; expected one like \"X-Version: 7\""));
        }
        Ok(Self { name: name.to_owned(), value })
    }
}

macro_rules! as_word {
    ($($type:ty: $expected:literal),+ $(,)?) => {$(
        impl Serialize for $type {
            fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
                serializer.collect_str(self)
            }
        }

        impl<'de> Deserialize<'de> for $type {
            fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
                word_or_number(deserializer, $expected)
            }
        }
    )+};
}

as_word! {
    Amount: "a number of servers or a part like \"25%\"",
    Share: "a share like \"5%\"",
    Statuses: "status codes like \"200\" or \"200-299\"",
    Expectation: "a header like \"X-Version: 7\"",
}
pub(crate) use as_word;

/// Reads what people write as a word or as a bare number.
pub(crate) fn word_or_number<'de, D, T>(deserializer: D, expected: &'static str) -> Result<T, D::Error>
where
    D: Deserializer<'de>,
    T: FromStr<Err = String>,
{
    struct Word<T>(&'static str, PhantomData<T>);

    impl<T: FromStr<Err = String>> Visitor<'_> for Word<T> {
        type Value = T;

        fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
            f.write_str(self.0)
        }

        fn visit_str<E: de::Error>(self, text: &str) -> Result<T, E> {
            text.parse().map_err(E::custom)
        }

        fn visit_u64<E: de::Error>(self, number: u64) -> Result<T, E> {
            self.visit_str(&number.to_string())
        }

        fn visit_i64<E: de::Error>(self, number: i64) -> Result<T, E> {
            self.visit_str(&number.to_string())
        }
    }

    deserializer.deserialize_any(Word(expected, PhantomData))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn amounts_are_rounded_as_asked() {
        assert_eq!("25%".parse::<Amount>().map(|a| (a.floor(6), a.ceil(6))), Ok((1, 2)));
        assert_eq!("2".parse::<Amount>().map(|a| (a.floor(6), a.ceil(6))), Ok((2, 2)));
        for text in ["", "%", "101%", "-1", "two", "2.5"] {
            assert_eq!(
                text.parse::<Amount>(),
                Err(format!("\"{text}\" is no number of servers; expected one like 2 or 25% (0% to 100%)"))
            );
        }
    }

    #[test]
    fn statuses_and_shares_and_headers() {
        let statuses: Statuses = "200, 204 300-303".parse().expect("codes");
        assert_eq!(statuses.to_string(), "200 204 300-303");
        assert!(statuses.has(302) && !statuses.has(304) && !statuses.has(201));
        for text in ["", "99", "600", "300-200", "ok"] {
            assert!(text.parse::<Statuses>().expect_err(text).contains("names no status codes"), "{text}");
        }
        assert_eq!("5%".parse(), Ok(Share(5)));
        assert_eq!("0".parse::<Share>(), Err("\"0\" is no share; expected 1% to 100%".to_owned()));
        let header: Expectation = "X-Version:  7 ".parse().expect("a header");
        assert_eq!((header.name.as_str(), header.value.as_deref()), ("X-Version", Some("7")));
        assert!("X Version: 7".parse::<Expectation>().is_err());
    }
}
