//! News of every process of this host, from the kernel's process connector (linux/cn_proc.h).

use std::io;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};

use rustix::io::Errno;
use rustix::net::netlink::{self, SocketAddrNetlink};
use rustix::net::{AddressFamily, RecvFlags, SendFlags, SocketFlags, SocketType};

/// Bytes of `struct nlmsghdr`.
const NETLINK_HEADER: usize = 16;
/// Bytes of `struct cn_msg` without its payload.
const CONNECTOR_HEADER: usize = 20;
/// Bytes of `struct proc_event` before the union.
const EVENT_HEADER: usize = 16;
/// The connector's index of process events, and the only value below it.
const PROCESSES: u32 = libc::CN_IDX_PROC;
/// Events in one go: other work of the thread has its turn on a host that starts processes without end.
const BATCH: usize = 1024;
/// Room for the events of a burst of processes, bytes.
const RECEIVE_BUFFER: usize = 1 << 20;

/// Something that happened to a process (never to a mere thread).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ProcessEvent {
    /// `parent` started `child`, which still has its parent's name and command line
    Fork {
        /// process id
        parent: u32,
        /// process id
        child: u32,
    },
    /// it became another program
    Exec(u32),
    /// it ended (its first thread did)
    Exit(u32),
    /// it changed its own name
    NameChanged(u32),
    /// events were lost: read all of /proc again
    Overrun,
}

/// The subscription. The kernel gives it only in the initial namespaces of network, users and processes, and
/// before Linux 6.6 only with CAP_NET_ADMIN.
#[derive(Debug)]
pub struct ProcessEvents {
    fd: OwnedFd,
}

impl ProcessEvents {
    /// Subscribes; the kernel confirmed it when this returns. An error says what is missing.
    pub fn open() -> io::Result<ProcessEvents> {
        let flags = SocketFlags::CLOEXEC | SocketFlags::NONBLOCK;
        let fd = rustix::net::socket_with(
            AddressFamily::NETLINK,
            SocketType::DGRAM,
            flags,
            Some(netlink::CONNECTOR),
        )
        .map_err(refused)?;
        rustix::net::bind(&fd, &SocketAddrNetlink::new(0, PROCESSES)).map_err(refused)?;
        if rustix::net::sockopt::set_socket_recv_buffer_size_force(&fd, RECEIVE_BUFFER).is_err() {
            rustix::net::sockopt::set_socket_recv_buffer_size(&fd, RECEIVE_BUFFER)?;
        }
        let events = ProcessEvents { fd };
        events.ask(libc::PROC_CN_MCAST_LISTEN).map_err(refused)?;
        events.confirm()?;
        Ok(events)
    }

    /// Appends what happened since the last call; does not wait. If very much happened it stays readable and
    /// gives the rest at the next call.
    pub fn read(&mut self, out: &mut Vec<ProcessEvent>) -> io::Result<()> {
        for _ in 0..BATCH {
            match self.take()? {
                None => break,
                Some(Message::Event(event)) => out.push(event),
                Some(Message::Confirmed { .. } | Message::Other) => {}
            }
        }
        Ok(())
    }

    fn ask(&self, operation: libc::proc_cn_mcast_op) -> Result<(), Errno> {
        let length = NETLINK_HEADER + CONNECTOR_HEADER + size_of::<u32>();
        let mut message = Vec::with_capacity(length);
        let mut put = |bytes: &[u8]| message.extend_from_slice(bytes);
        put(&(length as u32).to_ne_bytes());
        put(&(libc::NLMSG_DONE as u16).to_ne_bytes());
        put(&0u16.to_ne_bytes()); // flags
        put(&0u32.to_ne_bytes()); // sequence
        put(&0u32.to_ne_bytes()); // port
        put(&PROCESSES.to_ne_bytes());
        put(&libc::CN_VAL_PROC.to_ne_bytes());
        put(&0u32.to_ne_bytes()); // sequence: the kernel's answer has one of its own
        put(&request().to_ne_bytes()); // the answer acknowledges one more
        put(&(size_of::<u32>() as u16).to_ne_bytes());
        put(&0u16.to_ne_bytes()); // flags
        put(&operation.to_ne_bytes());
        rustix::net::sendto(&self.fd, &message, SendFlags::empty(), &SocketAddrNetlink::new(0, 0)).map(drop)
    }

    /// Looks for the kernel's answer, which it gave before the call that asked returned. From a namespace of
    /// users or processes it gives none.
    fn confirm(&self) -> io::Result<()> {
        loop {
            match self.take()? {
                Some(Message::Confirmed { acknowledged, error }) if acknowledged == request() + 1 => {
                    return if error == 0 { Ok(()) } else { Err(refused(Errno::from_raw_os_error(error))) };
                }
                Some(_) => {}
                None => return Err(refused(Errno::CONNREFUSED)),
            }
        }
    }

    fn take(&self) -> io::Result<Option<Message>> {
        let mut buffer = [0; 512];
        loop {
            match rustix::net::recvfrom(&self.fd, &mut buffer, RecvFlags::DONTWAIT) {
                Ok((_, length, from)) => {
                    let kernel = from
                        .and_then(|from| SocketAddrNetlink::try_from(from).ok())
                        .is_some_and(|f| f.pid() == 0);
                    let bytes = buffer.get(..length).filter(|_| kernel).unwrap_or_default();
                    return Ok(Some(Message::read(bytes).unwrap_or(Message::Other)));
                }
                Err(Errno::INTR) => {}
                Err(Errno::AGAIN) => return Ok(None),
                Err(Errno::NOBUFS) => return Ok(Some(Message::Event(ProcessEvent::Overrun))),
                Err(e) => return Err(e.into()),
            }
        }
    }
}

/// Readable when something happened.
impl AsFd for ProcessEvents {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.fd.as_fd()
    }
}

impl Drop for ProcessEvents {
    fn drop(&mut self) {
        // The kernel makes events as long as its count of listeners says so; older ones do not count a close.
        let _ = self.ask(libc::PROC_CN_MCAST_IGNORE);
    }
}

/// Tells our request from those of other programs, whose answers are heard as well. Events acknowledge 0.
fn request() -> u32 {
    std::process::id()
}

fn refused(errno: Errno) -> io::Error {
    let error = io::Error::from(errno);
    let text = match errno {
        Errno::PERM | Errno::ACCESS => {
            "CAP_NET_ADMIN is missing for process events: run as root, or grant it: \
             setcap cap_net_admin+ep BINARY, or AmbientCapabilities=CAP_NET_ADMIN in the unit"
        }
        Errno::CONNREFUSED | Errno::PROTONOSUPPORT => {
            "the kernel gives no process events here: a container, or a kernel without CONFIG_PROC_EVENTS; expected \
             the host's own namespaces of network, users and processes"
        }
        _ => return error,
    };
    io::Error::new(error.kind(), text)
}

#[derive(Debug, PartialEq, Eq)]
enum Message {
    Event(ProcessEvent),
    /// the answer to a request
    Confirmed {
        /// the request's number and one
        acknowledged: u32,
        /// 0 or an error number
        error: i32,
    },
    Other,
}

impl Message {
    /// Reads `nlmsghdr`, `cn_msg` and `proc_event`; `None` if it is cut short.
    fn read(bytes: &[u8]) -> Option<Message> {
        let connector = bytes.get(NETLINK_HEADER..)?;
        if (word(connector, 0)?, word(connector, 1)?) != (PROCESSES, libc::CN_VAL_PROC) {
            return Some(Message::Other);
        }
        let acknowledged = word(connector, 3)?;
        let event = connector.get(CONNECTOR_HEADER..)?;
        let data = event.get(EVENT_HEADER..)?;
        // All of them begin with the thread's id and the process' id.
        let (thread, process) = (word(data, 0)?, word(data, 1).unwrap_or_default());
        let happened = match word(event, 0)? {
            libc::PROC_EVENT_NONE => {
                return Some(Message::Confirmed { acknowledged, error: thread.cast_signed() });
            }
            libc::PROC_EVENT_FORK => {
                let (thread, child) = (word(data, 2)?, word(data, 3)?);
                if thread == child {
                    return Some(Message::Event(ProcessEvent::Fork { parent: process, child }));
                }
                return Some(Message::Other);
            }
            // Whichever thread asked for it, the process is another one now.
            libc::PROC_EVENT_EXEC => return Some(Message::Event(ProcessEvent::Exec(process))),
            libc::PROC_EVENT_EXIT => ProcessEvent::Exit(process),
            libc::PROC_EVENT_COMM => ProcessEvent::NameChanged(process),
            _ => return Some(Message::Other),
        };
        Some(if thread == process { Message::Event(happened) } else { Message::Other })
    }
}

/// The 32-bit word with this index, in the host's byte order.
fn word(bytes: &[u8], index: usize) -> Option<u32> {
    bytes.get(index * 4..).and_then(<[u8]>::first_chunk::<4>).map(|b| u32::from_ne_bytes(*b))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    /// A message of the connector with these words of `proc_event`'s union.
    fn message(what: u32, acknowledged: u32, data: &[u32]) -> Vec<u8> {
        let connector = [PROCESSES, libc::CN_VAL_PROC, 77, acknowledged, 40];
        let words = [&[0; NETLINK_HEADER / 4][..], &connector, &[what, 0, 0, 0], data].concat();
        words.into_iter().flat_map(u32::to_ne_bytes).collect()
    }

    #[test]
    fn threads_are_told_from_processes() {
        let read = |what, data: &[u32]| Message::read(&message(what, 0, data));
        let event = |event| Some(Message::Event(event));
        assert_eq!(
            read(libc::PROC_EVENT_FORK, &[11, 10, 20, 20]),
            event(ProcessEvent::Fork { parent: 10, child: 20 })
        );
        assert_eq!(read(libc::PROC_EVENT_FORK, &[11, 10, 12, 10]), Some(Message::Other));
        assert_eq!(read(libc::PROC_EVENT_EXEC, &[11, 10]), event(ProcessEvent::Exec(10)));
        assert_eq!(read(libc::PROC_EVENT_EXIT, &[10, 10, 0, 17]), event(ProcessEvent::Exit(10)));
        assert_eq!(read(libc::PROC_EVENT_EXIT, &[11, 10, 0, 17]), Some(Message::Other));
        assert_eq!(read(libc::PROC_EVENT_COMM, &[10, 10, 0, 0]), event(ProcessEvent::NameChanged(10)));
        assert_eq!(read(libc::PROC_EVENT_UID, &[10, 10, 0, 0]), Some(Message::Other));
        assert_eq!(read(libc::PROC_EVENT_FORK, &[11, 10, 20]), None, "cut short");
    }

    #[test]
    fn answers_carry_number_and_error() {
        assert_eq!(
            Message::read(&message(libc::PROC_EVENT_NONE, 5, &[1])),
            Some(Message::Confirmed { acknowledged: 5, error: libc::EPERM })
        );
    }

    proptest! {
        #[test]
        fn any_bytes_are_read(mut bytes in prop::collection::vec(any::<u8>(), 0..96), ours: bool) {
            if let Some(id) = bytes.get_mut(NETLINK_HEADER..NETLINK_HEADER + 8).filter(|_| ours) {
                id.copy_from_slice(&[PROCESSES.to_ne_bytes(), libc::CN_VAL_PROC.to_ne_bytes()].concat());
            }
            let _ = Message::read(&bytes);
        }
    }
}
