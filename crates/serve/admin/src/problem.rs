//! Errors of the API: a status, what is wrong, what to do.

use axum::Json;
use axum::http::StatusCode;
use axum::response::{IntoResponse, Response};
use serde::Serialize;
use serde_json::{Map, Value};
use weir_directory::SetError;

/// An answer that is not what was asked for: `{"error": ..., "hint": ...}`.
#[derive(Debug, Serialize)]
pub(crate) struct Problem {
    #[serde(skip)]
    pub(crate) status: StatusCode,
    pub(crate) error: String,
    pub(crate) hint: String,
    /// Where things stand.
    #[serde(flatten)]
    pub(crate) more: Map<String, Value>,
}

impl Problem {
    pub(crate) fn new(status: StatusCode, error: impl Into<String>, hint: impl Into<String>) -> Problem {
        Problem { status, error: error.into(), hint: hint.into(), more: Map::new() }
    }

    pub(crate) fn bad(error: impl Into<String>, hint: impl Into<String>) -> Problem {
        Problem::new(StatusCode::BAD_REQUEST, error, hint)
    }

    pub(crate) fn with(mut self, name: &str, value: impl Into<Value>) -> Problem {
        self.more.insert(name.to_owned(), value.into());
        self
    }
}

impl IntoResponse for Problem {
    fn into_response(self) -> Response {
        (self.status, Json(self)).into_response()
    }
}

impl From<SetError> for Problem {
    fn from(error: SetError) -> Problem {
        let (status, hint) = match &error {
            SetError::UnknownUpstream { .. } => (StatusCode::NOT_FOUND, "GET /v1/upstreams lists all"),
            SetError::UnknownPeer { .. } => (StatusCode::NOT_FOUND, "GET /v1/upstreams/NAME lists its peers"),
            SetError::Ambiguous { .. } => (StatusCode::CONFLICT, "name one address"),
            SetError::LastPeer { .. } => {
                (StatusCode::CONFLICT, "bring another peer up, or send \"force\": true")
            }
            SetError::Weight(_) | SetError::Percent(_) => {
                (StatusCode::BAD_REQUEST, "\"state\": \"drain\" takes a peer out")
            }
        };
        Problem::new(status, error.to_string(), hint)
    }
}
