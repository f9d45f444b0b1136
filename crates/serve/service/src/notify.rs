//! The protocol of `sd_notify`: to the supervisor above, and from the application below. Source: systemd's manual page
//! sd_notify(3); a datagram has lines `NAME=VALUE`, to the path or abstract name in `NOTIFY_SOCKET`.

use std::ffi::{OsStr, OsString};
use std::fs::{Permissions, set_permissions};
use std::io;
use std::os::linux::net::SocketAddrExt as _;
use std::os::unix::ffi::OsStrExt as _;
use std::os::unix::fs::PermissionsExt as _;
use std::os::unix::net::{SocketAddr, UnixDatagram};
use std::path::PathBuf;

use tempfile::TempDir;
use tokio::sync::oneshot;

pub(crate) const VARIABLE: &str = "NOTIFY_SOCKET";
/// What is longer is not read to its end.
const MOST: usize = 4096;

/// What a process says of itself.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum State {
    Ready,
    Stopping,
}

impl State {
    fn line(self) -> &'static str {
        match self {
            Self::Ready => "READY=1",
            Self::Stopping => "STOPPING=1",
        }
    }
}

/// Tells whoever started this process, if it wants to know. The error is a text for people.
pub(crate) fn tell(socket: &OsStr, state: State) -> Result<(), String> {
    let send = || {
        let address = match socket.as_bytes() {
            [b'@', name @ ..] => SocketAddr::from_abstract_name(name)?,
            _ => SocketAddr::from_pathname(socket)?,
        };
        UnixDatagram::unbound()?.send_to_addr(state.line().as_bytes(), &address)
    };
    send().map(drop).map_err(|error| format!("{VARIABLE} {}: {error}", socket.display()))
}

/// A socket of the application's own; it goes with this value.
pub(crate) struct Inbox {
    socket: UnixDatagram,
    folder: TempDir,
}

impl Inbox {
    /// An application may run as another user: whoever knows the random name may write to it, and nobody may list it.
    pub(crate) fn open() -> io::Result<Self> {
        let folder = tempfile::Builder::new().prefix("weir-service-").tempdir()?;
        let path = folder.path().join("notify");
        let socket = UnixDatagram::bind(&path)?;
        set_permissions(&path, Permissions::from_mode(0o666))?;
        set_permissions(folder.path(), Permissions::from_mode(0o711))?;
        socket.set_nonblocking(true)?;
        Ok(Self { socket, folder })
    }

    /// The value of the application's `NOTIFY_SOCKET`.
    pub(crate) fn path(&self) -> PathBuf {
        self.folder.path().join("notify")
    }

    /// Reads until the application has said that it stops; inside a runtime of tokio.
    pub(crate) async fn read(
        self,
        ready: oneshot::Sender<()>,
        stopping: oneshot::Sender<()>,
    ) -> io::Result<()> {
        let socket = tokio::net::UnixDatagram::from_std(self.socket)?;
        let (mut ready, mut bytes) = (Some(ready), [0; MOST]);
        loop {
            let count = socket.recv(&mut bytes).await?;
            let states = states(bytes.get(..count).unwrap_or_default());
            if states.contains(&State::Ready)
                && let Some(ready) = ready.take()
            {
                // Nobody listens once the application has ended.
                let _ = ready.send(());
            }
            if states.contains(&State::Stopping) {
                let _ = stopping.send(());
                return Ok(());
            }
        }
    }
}

fn states(message: &[u8]) -> Vec<State> {
    let state = |line: &[u8]| {
        [State::Ready, State::Stopping].into_iter().find(|state| line == state.line().as_bytes())
    };
    message.split(|byte| *byte == b'\n').filter_map(state).collect()
}

/// The supervisor's socket, as this process was told it.
#[derive(Clone, Debug, Default)]
pub(crate) struct Supervisor(pub(crate) Option<OsString>);

impl Supervisor {
    /// A failure is one line of the log: the service goes on.
    pub(crate) fn tell(&self, state: State, log: &crate::transport::Log) {
        if let Some(Err(text)) = self.0.as_deref().map(|socket| tell(socket, state)) {
            log(text);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn states_are_whole_lines() {
        assert_eq!(states(b"STATUS=loading\nREADY=1\nMAINPID=7"), [State::Ready]);
        assert_eq!(states(b"READY=1\nSTOPPING=1\n"), [State::Ready, State::Stopping]);
        assert_eq!(states(b"READY=10\nXREADY=1\nready=1\nREADY=\n\xff"), []);
        assert_eq!(states(b""), []);
    }

    #[test]
    fn both_kinds_of_names_are_told() {
        let folder = tempfile::tempdir().expect("a folder");
        let path = folder.path().join("notify");
        let name = format!("weir-notify-{}", std::process::id());
        let hidden = SocketAddr::from_abstract_name(&name).expect("short");
        let sockets = [
            (UnixDatagram::bind(&path).expect("bind"), path.into_os_string()),
            (UnixDatagram::bind_addr(&hidden).expect("bind"), format!("@{name}").into()),
        ];
        for (socket, name) in sockets {
            tell(&name, State::Ready).expect("it is there");
            let mut bytes = [0; 32];
            let count = socket.recv(&mut bytes).expect("told");
            assert_eq!(&bytes[..count], b"READY=1");
        }
        let text = tell(OsStr::new("/nowhere/notify"), State::Stopping).expect_err("nobody is there");
        assert!(text.starts_with("NOTIFY_SOCKET /nowhere/notify: "), "{text}");
    }
}
