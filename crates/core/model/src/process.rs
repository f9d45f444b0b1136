//! The main and events levels: what the keeper needs to run processes.

use serde::{Deserialize, Serialize};

use crate::{Admin, ErrorLog, Millis, Registry};

/// Main-level settings with nginx's defaults filled in.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Process {
    pub daemon: bool,
    pub master_process: bool,
    /// Absent: the user that started Weir, or `nobody` when that is root.
    pub user: Option<User>,
    /// Absolute, after the prefix was applied.
    pub pid: String,
    pub worker_processes: WorkerCount,
    pub worker_connections: u32,
    pub worker_rlimit_nofile: Option<u64>,
    /// Zero waits for ever.
    pub worker_shutdown_timeout: Millis,
    pub working_directory: Option<String>,
    /// `NAME` or `NAME=value`, as written.
    pub env: Vec<String>,
    /// The keepalived.conf that runs in the same node; absolute.
    pub keepalived: Option<String>,
    /// Main-level error logs; never empty.
    pub error_log: Vec<ErrorLog>,
    /// Where last-known-good lists and the states of peers are kept; absolute.
    pub state_path: String,
    pub registry: Option<Registry>,
    pub admin: Admin,
}

/// The account that the worker runs as.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct User {
    pub name: String,
    pub group: Option<String>,
}

/// The number of data threads.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum WorkerCount {
    Fixed(u32),
    /// One for each core that the process may use.
    Auto,
}

impl Default for Process {
    fn default() -> Self {
        Self {
            daemon: true,
            master_process: true,
            user: None,
            pid: String::new(),
            worker_processes: WorkerCount::Fixed(1),
            worker_connections: 512,
            worker_rlimit_nofile: None,
            worker_shutdown_timeout: Millis(0),
            working_directory: None,
            env: Vec::new(),
            keepalived: None,
            error_log: Vec::new(),
            state_path: String::new(),
            registry: None,
            admin: Admin::default(),
        }
    }
}
