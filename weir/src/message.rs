//! What keeper and worker tell each other over their socket pair: JSON, with open files beside it.

use std::io;
use std::os::fd::{BorrowedFd, OwnedFd};
use std::path::PathBuf;

use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};
use weir_model::Config;

/// From the keeper to the worker.
#[derive(Debug, Serialize, Deserialize)]
pub(crate) enum Order {
    /// The first one: what the process has to become before it reads anything from the internet.
    Become(Identity),
    /// Serve this from now on. The files are those of the listeners in the model's order, then the logs, then
    /// the control sockets.
    Apply {
        generation: u64,
        config: Box<Config>,
        /// number of sockets of each listener
        listeners: Vec<usize>,
        /// paths of the log files
        logs: Vec<String>,
        /// sockets beside the traffic's, one file each
        control: Vec<Role>,
        /// the folder for lists and states of this process
        folder: String,
        /// names of the upstreams that virtual routers look at
        watched: Vec<String>,
    },
    /// The logs were opened anew; the files are theirs.
    Reopen { logs: Vec<String> },
    /// Finish what runs, accept nothing more; after the limit (milliseconds; 0 is none) close all.
    Quit { limit: u64 },
    /// End now.
    Stop,
}

/// What a control socket is for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) enum Role {
    Registry,
    /// DNS over TCP.
    Dns,
    /// DNS over UDP.
    DnsDatagram,
    Admin,
}

/// What the worker process has to become.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Identity {
    /// absent: stay who the keeper is
    pub(crate) account: Option<Account>,
    /// the limit of open files; absent: as high as is allowed
    pub(crate) files: Option<u64>,
    pub(crate) directory: Option<String>,
}

/// The user and group that the worker runs as.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Account {
    pub(crate) name: String,
    pub(crate) uid: u32,
    pub(crate) gid: u32,
}

/// From the worker to the keeper.
#[derive(Debug, Serialize, Deserialize)]
pub(crate) enum Report {
    /// Every data thread serves the generation.
    Applied { generation: u64 },
    /// The generation cannot be served; the one before goes on.
    Refused { generation: u64, reason: String },
    /// No connection is left of what was before the generation.
    Drained { generation: u64 },
    /// A counter for each data thread that moves while its loop turns.
    Progress { threads: Vec<u64> },
    /// `upsync_dump_path` that the worker may not write; its content is the file beside the message.
    Dump { path: PathBuf },
    /// How the upstreams stand that virtual routers look at.
    Upstreams { standing: Vec<Standing> },
}

/// How many peers of an upstream can take requests.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Standing {
    pub(crate) upstream: String,
    pub(crate) up: u32,
    pub(crate) peers: u32,
}

/// Sends one message.
pub(crate) fn send(
    socket: BorrowedFd<'_>,
    message: &impl Serialize,
    files: &[BorrowedFd<'_>],
) -> io::Result<()> {
    let bytes = serde_json::to_vec(message)?;
    weir_net::send_with_fds(socket, &bytes, files)
}

/// Receives one message. `ErrorKind::UnexpectedEof`: the other process has gone.
pub(crate) fn receive<M: DeserializeOwned>(socket: BorrowedFd<'_>) -> io::Result<(M, Vec<OwnedFd>)> {
    let (bytes, files) = weir_net::recv_with_fds(socket)?;
    Ok((serde_json::from_slice(&bytes)?, files))
}
