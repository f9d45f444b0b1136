//! Listeners, socket passing, processes and privileges: the only unsafe of Weir.
//! What to listen on and when is left to the keeper.

mod error;
mod listen;
mod pass;
mod process;
mod signals;
mod tcp;
mod user;

pub use error::{BindError, Call, errno_text};
pub use listen::{ListenSpec, add_listeners, apply_options, bound_addr, listen, probe};
pub use pass::{recv_with_fds, send_with_fds, socket_pair};
pub use process::{
    Background, InheritedFd, daemonize, end_with_parent, inherited, pass_fds, raise_nofile, redirect_stderr,
    set_nofile_limit, set_parent_death_signal, set_process_name, wait_child,
};
pub use signals::{Received, Signal, Signals, block_signals, end_by_signals, send_signal};
pub use tcp::{
    TcpInfo, bind_outgoing, send_file, set_cork, set_keepalive, set_linger_rst, set_nodelay, tcp_info,
};
pub use user::{User, drop_privileges, is_root, lookup_group, lookup_user};
