//! Listeners, socket passing, raw sockets, processes and privileges: the only unsafe of Weir.
//! What to listen on, what to send and when is left to the keeper and to the protocols.

mod error;
mod events;
mod files;
mod listen;
mod memory;
mod message;
mod neighbour;
mod pass;
mod process;
mod processes;
mod raw;
mod realtime;
mod signals;
mod sysctl;
mod tcp;
mod user;

pub use error::{BindError, Call, errno_text};
pub use events::Waker;
pub use files::replace_file;
pub use listen::{ListenSpec, add_listeners, apply_options, bind_datagram, bound_addr, listen, probe};
pub use memory::give_back_memory;
pub use neighbour::{ArpSocket, NdSocket};
pub use pass::{recv_with_fds, send_with_fds, socket_pair};
pub use process::{
    Background, InheritedFd, child_fd, daemonize, end_with_parent, inherited, pass_fds, raise_nofile,
    redirect_stderr, set_nofile_limit, set_parent_death_signal, set_process_name, wait_child, wait_pid,
};
pub use processes::{ProcessEvent, ProcessEvents};
pub use raw::{RawArrival, RawError, RawProtocol, RawSocket};
pub use realtime::{boottime, lock_memory, pin, real_time};
pub use signals::{Received, Signal, Signals, block_signals, end_by_signals, send_signal, signal_group};
pub use sysctl::{read_sysctl, write_sysctl};
pub use tcp::{
    TcpInfo, bind_outgoing, send_file, set_cork, set_keepalive, set_linger_rst, set_nodelay, tcp_info,
};
pub use user::{User, drop_privileges, is_root, lookup_group, lookup_user};
