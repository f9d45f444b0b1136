//! What an engine says, with what to do about it.

use std::error::Error as _;
use std::io;

use bollard::errors::Error;

/// Whether the engine does not have it.
pub(crate) fn is_absent(error: &Error) -> bool {
    matches!(error, Error::DockerResponseServerError { status_code: 404, .. })
}

/// `doing`: `starting container app`; `engine`: its address.
pub(crate) fn problem(engine: &str, doing: &str, error: &Error) -> String {
    match error {
        Error::DockerResponseServerError { message, .. } => {
            let message = message.trim();
            format!("{doing}: docker engine says: {message}{}", remedy(message))
        }
        Error::DockerStreamError { error } => {
            format!("{doing}: docker engine says: {}{}", error.trim(), remedy(error))
        }
        Error::SocketNotFoundError(path) => unreachable(engine, &format!("there is no {path}"), ""),
        Error::RequestTimeoutError => {
            format!("{doing}: docker engine {engine} did not answer in time; look at its log")
        }
        error => match cause(error) {
            Some(cause) if cause.kind() == io::ErrorKind::PermissionDenied => {
                unreachable(engine, "permission denied", "run as root or as a member of group docker, ")
            }
            Some(cause) => unreachable(engine, &cause.to_string(), ""),
            None => format!("{doing}: docker engine {engine}: {error}"),
        },
    }
}

fn unreachable(engine: &str, why: &str, first: &str) -> String {
    format!(
        "docker engine {engine} cannot be reached: {why}; {first}start it, or name another in driver.docker.engine or DOCKER_HOST"
    )
}

/// The one of the operating system below.
fn cause(error: &Error) -> Option<&io::Error> {
    if let Error::IOError { err } = error {
        return Some(err);
    }
    let mut below = match error {
        Error::HyperLegacyError { err } => err.source(),
        error => error.source(),
    };
    while let Some(found) = below {
        if let Some(io) = found.downcast_ref::<io::Error>() {
            return Some(io);
        }
        below = found.source();
    }
    None
}

fn remedy(message: &str) -> &'static str {
    let has = |part: &str| message.contains(part);
    if has("port is already allocated") || has("address already in use") {
        "; something else holds the port, stop it"
    } else if has("pull access denied") || has("unauthorized") || has("no basic auth credentials") {
        "; look at the image's name, or run docker pull there, where docker login was done"
    } else if has("no space left") {
        "; make room, as with docker image prune"
    } else {
        ""
    }
}
