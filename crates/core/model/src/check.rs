//! Active checks of peers.

use serde::{Deserialize, Serialize};

use crate::{Millis, Regex, Template};

/// One active check that every peer of an upstream gets.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Check {
    pub probe: Probe,
    pub interval: Millis,
    /// Up to so much is added to each interval by chance, so that checks do not fire together.
    pub jitter: Millis,
    pub timeout: Millis,
    /// Passes in a row that bring a peer up.
    pub rise: u32,
    /// Failures in a row that take a peer down.
    pub fall: u32,
    /// A peer without a result yet is down (`default_down=true`, `mandatory`).
    pub default_down: bool,
    /// `mandatory persistent`: what was known of a peer holds after a reload without a new first result.
    pub persistent: bool,
    /// 0: the peer's own port.
    pub port: u16,
    /// Checks that one connection carries.
    pub keepalive_requests: u32,
}

/// What is sent, and what counts as alive.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Probe {
    Tcp,
    /// Raw bytes are sent; the class of the status decides.
    Http {
        send: Bytes,
        expect: StatusClasses,
    },
    SslHello,
    Mysql,
    Ajp,
    Fastcgi {
        params: Vec<(String, String)>,
        expect: StatusClasses,
    },
    /// `health_check`: a GET with the location's headers, judged by a `match` block. The head is complete, with
    /// its empty line.
    Request {
        head: Bytes,
        expect: Option<Match>,
    },
    /// The gRPC health protocol (`type=grpc`).
    Grpc {
        service: String,
        status: Option<u32>,
    },
}

impl Probe {
    /// The module's word for it.
    #[must_use]
    pub const fn name(&self) -> &'static str {
        match self {
            Self::Tcp => "tcp",
            Self::Http { .. } | Self::Request { .. } => "http",
            Self::SslHello => "ssl_hello",
            Self::Mysql => "mysql",
            Self::Ajp => "ajp",
            Self::Fastcgi { .. } => "fastcgi",
            Self::Grpc { .. } => "grpc",
        }
    }
}

/// Raw bytes of a request.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Bytes(pub Vec<u8>);

/// `check_http_expect_alive`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct StatusClasses {
    /// Bit n stands for n hundred to n hundred and ninety-nine.
    pub bits: u8,
}

impl StatusClasses {
    /// 2xx and 3xx.
    pub const DEFAULT: Self = Self { bits: 0b1100 };

    #[must_use]
    pub const fn has(self, status: u16) -> bool {
        status >= 100 && status < 600 && self.bits & (1 << (status / 100)) != 0
    }
}

/// A `match` block: all of its lines have to hold.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Match {
    pub name: String,
    pub status: Option<StatusTest>,
    pub headers: Vec<HeaderTest>,
    /// The pattern, and whether it has to match (`~`) or must not (`!~`).
    pub body: Option<(Regex, bool)>,
    /// `require $variable`: every one has to be neither empty nor `0`.
    pub require: Vec<Template>,
}

/// `status 200 204 300-399`, or with `!` none of them.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct StatusTest {
    /// First and last, both inclusive.
    pub ranges: Vec<(u16, u16)>,
    pub negated: bool,
}

/// One `header` line.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct HeaderTest {
    /// Lower case.
    pub name: String,
    pub test: HeaderExpectation,
}

/// What a `header` line expects.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum HeaderExpectation {
    Present,
    Absent,
    Equals(String),
    Differs(String),
    Matches(Regex),
    DoesNotMatch(Regex),
}
