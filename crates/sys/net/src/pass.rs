//! Messages with open files in them, between two processes of one server.

use std::io::{self, IoSlice, IoSliceMut};
use std::mem::MaybeUninit;
use std::os::fd::{BorrowedFd, OwnedFd};

use rustix::io::Errno;
use rustix::net::{
    AddressFamily, RecvAncillaryBuffer, RecvAncillaryMessage, RecvFlags, ReturnFlags, SendAncillaryBuffer,
    SendAncillaryMessage, SendFlags, SocketFlags, SocketType,
};

/// Files in one system call; the kernel's bound (SCM_MAX_FD) is 253.
const CHUNK: usize = 250;
/// Longer messages are refused: a compiled configuration with its certificates is far below.
const MAX_BYTES: u64 = 1 << 30;
/// More files than this in one message are refused.
const MAX_FDS: u32 = 1 << 16;

/// Two connected stream sockets, close-on-exec, blocking.
pub fn socket_pair() -> io::Result<(OwnedFd, OwnedFd)> {
    Ok(rustix::net::socketpair(AddressFamily::UNIX, SocketType::STREAM, SocketFlags::CLOEXEC, None)?)
}

/// Sends one message: bytes of any length and any number of open files. Blocks until all of it is out.
///
/// On the wire: length (8 bytes, big endian), number of files (4 bytes, big endian), one zero byte for each
/// 250 files, which carries them, then the bytes.
pub fn send_with_fds(socket: BorrowedFd<'_>, bytes: &[u8], fds: &[BorrowedFd<'_>]) -> io::Result<()> {
    let count = u32::try_from(fds.len()).unwrap_or(u32::MAX);
    let length = bytes.len() as u64;
    if count > MAX_FDS || length > MAX_BYTES {
        let text = format!("message of {length} bytes and {count} files; at most {MAX_BYTES} and {MAX_FDS}");
        return Err(io::Error::new(io::ErrorKind::InvalidInput, text));
    }
    let mut head = [0; 12];
    head[..8].copy_from_slice(&length.to_be_bytes());
    head[8..].copy_from_slice(&count.to_be_bytes());
    send_all(socket, &head)?;
    for chunk in fds.chunks(CHUNK) {
        send_chunk(socket, chunk)?;
    }
    send_all(socket, bytes)
}

/// Receives one message of [`send_with_fds`]; blocks until all of it is there.
///
/// `ErrorKind::UnexpectedEof`: the other end was closed. The files are close-on-exec.
pub fn recv_with_fds(socket: BorrowedFd<'_>) -> io::Result<(Vec<u8>, Vec<OwnedFd>)> {
    let mut head = [0; 12];
    recv_all(socket, &mut head)?;
    let (length, count) = head.split_at(8);
    let length = u64::from_be_bytes(length.try_into().expect("8 of 12 bytes"));
    let count = u32::from_be_bytes(count.try_into().expect("4 of 12 bytes"));
    if length > MAX_BYTES || count > MAX_FDS {
        let text = format!("message of {length} bytes and {count} files; at most {MAX_BYTES} and {MAX_FDS}");
        return Err(io::Error::new(io::ErrorKind::InvalidData, text));
    }
    let count = count as usize;
    let mut fds = Vec::with_capacity(count);
    while fds.len() < count {
        let expected = (count - fds.len()).min(CHUNK);
        recv_chunk(socket, expected, &mut fds)?;
    }
    let mut bytes = vec![0; length as usize];
    recv_all(socket, &mut bytes)?;
    Ok((bytes, fds))
}

fn send_chunk(socket: BorrowedFd<'_>, fds: &[BorrowedFd<'_>]) -> io::Result<()> {
    let mut space = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(CHUNK))];
    loop {
        let mut control = SendAncillaryBuffer::new(&mut space);
        assert!(control.push(SendAncillaryMessage::ScmRights(fds)), "the space is for {CHUNK} files");
        let carrier = [IoSlice::new(&[0])];
        match rustix::net::sendmsg(socket, &carrier, &mut control, SendFlags::NOSIGNAL) {
            Ok(_) => return Ok(()),
            Err(Errno::INTR) => {}
            // Without privileges only RLIMIT_NOFILE files may be under way: wait until the reader took some.
            Err(Errno::TOOMANYREFS) => std::thread::yield_now(),
            Err(e) => return Err(e.into()),
        }
    }
}

fn recv_chunk(socket: BorrowedFd<'_>, expected: usize, fds: &mut Vec<OwnedFd>) -> io::Result<()> {
    let mut space = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(CHUNK))];
    let mut control = RecvAncillaryBuffer::new(&mut space);
    let mut carrier = [0];
    let message = loop {
        let mut slices = [IoSliceMut::new(&mut carrier)];
        match rustix::net::recvmsg(socket, &mut slices, &mut control, RecvFlags::CMSG_CLOEXEC) {
            Err(Errno::INTR) => {}
            other => break other?,
        }
    };
    if message.bytes == 0 {
        return Err(io::ErrorKind::UnexpectedEof.into());
    }
    let before = fds.len();
    for part in control.drain() {
        if let RecvAncillaryMessage::ScmRights(received) = part {
            fds.extend(received);
        }
    }
    let got = fds.len() - before;
    if message.flags.contains(ReturnFlags::CTRUNC) || got != expected {
        let text = format!(
            "{got} of {expected} files arrived; raise the limit of open files (worker_rlimit_nofile)"
        );
        return Err(io::Error::new(io::ErrorKind::InvalidData, text));
    }
    Ok(())
}

fn send_all(socket: BorrowedFd<'_>, mut bytes: &[u8]) -> io::Result<()> {
    while !bytes.is_empty() {
        match rustix::net::send(socket, bytes, SendFlags::NOSIGNAL) {
            Ok(sent) => bytes = &bytes[sent..],
            Err(Errno::INTR) => {}
            Err(e) => return Err(e.into()),
        }
    }
    Ok(())
}

fn recv_all(socket: BorrowedFd<'_>, mut bytes: &mut [u8]) -> io::Result<()> {
    while !bytes.is_empty() {
        match rustix::io::read(socket, &mut *bytes) {
            Ok(0) => return Err(io::ErrorKind::UnexpectedEof.into()),
            Ok(read) => bytes = &mut bytes[read..],
            Err(Errno::INTR) => {}
            Err(e) => return Err(e.into()),
        }
    }
    Ok(())
}
