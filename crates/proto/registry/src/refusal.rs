//! Why a command was not obeyed, in the words and with the status that Consul's clients know.

use crate::command::TxnError;

/// A command that changed nothing. `Display` is the body of the answer, [`Refusal::status`] its code.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Refusal {
    #[error("Must provide key")]
    NoKey,
    #[error("missing session")]
    NoSession,
    #[error("invalid session {0:?}")]
    InvalidSession(String),
    /// An id that is no UUID; what is wrong with it, in the words of Consul's index.
    #[error("failed session lookup: index error: {0}")]
    SessionLookup(String),
    /// `session/renew` of one that is not there.
    #[error("Session id '{0}' not found")]
    UnknownSession(String),
    /// Nanoseconds.
    #[error("Invalid Session TTL '{0}', must be between [10s=24h0m0s]")]
    SessionTtl(u128),
    #[error("Invalid Behavior setting '{0}'")]
    Behavior(String),
    #[error("Missing check '{0}' registration")]
    MissingCheck(String),
    #[error("Check '{0}' is in critical state")]
    CriticalCheck(String),
    #[error("Missing node registration")]
    MissingNode,
    #[error("Missing service registration")]
    MissingService,
    #[error("Must provide node")]
    NoNode,
    #[error("Must provide address if SkipNodeUpdate is not set")]
    NoAddress,
    #[error("Must provide service name with ID")]
    NoServiceName,
    #[error("Missing service name")]
    NoName,
    #[error("Missing check name")]
    NoCheckName,
    /// `Invalid check: ...` of the agent.
    #[error("Invalid check: {0}")]
    InvalidCheck(&'static str),
    #[error("ServiceID {0:?} does not exist")]
    NoSuchService(String),
    #[error("CheckID {0:?} does not have associated TTL")]
    NoTtl(String),
    #[error("No service registered with ID {0:?}")]
    UnknownService(String),
    /// Rolled back: the body is JSON, `{"Results":null,"Errors":[...]}`.
    #[error("the transaction was rolled back: {} of its operations failed", .0.len())]
    Txn(Vec<TxnError>),
}

impl Refusal {
    /// The HTTP status that Consul gives it.
    #[must_use]
    pub const fn status(&self) -> u16 {
        match self {
            Self::NoName | Self::NoCheckName | Self::InvalidCheck(_) => 400,
            Self::UnknownSession(_) | Self::UnknownService(_) => 404,
            Self::Txn(_) => 409,
            _ => 500,
        }
    }

    /// What an id that is no UUID is refused with; `None` if it is one.
    #[must_use]
    pub fn of_session_id(id: &str) -> Option<Self> {
        let dashes = id.bytes().filter(|&byte| byte == b'-').count();
        let digits = id.len() - dashes;
        let wrong = id.chars().find(|c| *c != '-' && !c.is_ascii_hexdigit());
        let flaw = if id.len() != 36 {
            "UUID must be 36 characters".to_owned()
        } else if dashes > 4 {
            format!("UUID should have maximum of 4 \"-\"; got {dashes}")
        } else if !digits.is_multiple_of(2) {
            "Input (without hyphens) must be even length".to_owned()
        } else if let Some(wrong) = wrong {
            let code = u32::from(wrong);
            format!("Invalid UUID: encoding/hex: invalid byte: U+{code:04X} '{wrong}'")
        } else {
            return None;
        };
        Some(Self::SessionLookup(flaw))
    }
}
