//! Orders as they come over the wire.

use serde::{Deserialize, Serialize};
use weir_directory::{AdminState, Order};

use crate::parse_time;
use crate::problem::Problem;

/// Longest `who` and `reason`, bytes: they stand in every listing.
const LONGEST: usize = 512;

/// The body of a PUT: what is absent stays as it is.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Wish {
    #[serde(skip_serializing_if = "Option::is_none")]
    pub state: Option<AdminState>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub weight: Option<u32>,
    /// Of the weight, what is to count: 1 to 100, which takes such an order back.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub percent: Option<u8>,
    pub reason: String,
    /// How long the order holds: `10m`. Absent: until it is taken back.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub expires: Option<String>,
    /// Even if no peer is left that serves.
    pub force: bool,
    /// `user@host`. Absent: what is known of the connection.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub who: Option<String>,
}

impl Wish {
    pub(crate) fn read(body: &[u8]) -> Result<Wish, Problem> {
        const HINT: &str = "send a JSON object with state (drain, up, maintenance), weight or percent, and reason, expires, force, who as needed";
        let wish: Wish =
            serde_json::from_slice(body).map_err(|error| Problem::bad(error.to_string(), HINT))?;
        if wish.state.is_none() && wish.weight.is_none() && wish.percent.is_none() {
            return Err(Problem::bad("neither state nor weight nor percent", HINT));
        }
        word("reason", &wish.reason)?;
        word("who", wish.who.as_deref().unwrap_or_default())?;
        Ok(wish)
    }

    pub(crate) fn order(&self) -> Order {
        Order::Set { state: self.state, weight: self.weight, percent: self.percent }
    }

    /// Milliseconds.
    pub(crate) fn span(&self) -> Result<Option<u64>, Problem> {
        let Some(text) = &self.expires else { return Ok(None) };
        let span = parse_time(text).map_err(|error| Problem::bad(error, "expires is a span of time: 10m"))?;
        Ok(Some(u64::try_from(span.as_millis()).unwrap_or(u64::MAX)))
    }
}

/// These words are written into logs, one line each.
pub(crate) fn word(name: &str, text: &str) -> Result<(), Problem> {
    if text.len() > LONGEST {
        let error = format!("{name} has {} bytes; expected at most {LONGEST}", text.len());
        return Err(Problem::bad(error, "say it shorter"));
    }
    if text.chars().any(char::is_control) {
        return Err(Problem::bad(format!("{name} has a control character"), "send one line of text"));
    }
    Ok(())
}
