//! Namespaces held open by a child that lives as long as its standard input: when the laboratory dies, even by
//! SIGKILL, the pipe closes, the child ends, and with it (it is process 1 there) everything inside.

use std::fs::{self, File};
use std::io::{BufRead, BufReader, Read, Write};
use std::os::fd::AsFd;
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Child, ChildStdin, Command, Output, Stdio};

use rustix::thread::{LinkNameSpaceType, move_into_link_name_space};

use crate::error::{Error, Result};

/// What process 1 does before it waits. Each folder of the machine's root gets a layer in memory that takes the changes;
/// one that cannot have a layer (a user namespace must not look below what is mounted in it) is the machine's own.
const ROOT_SCRIPT: &str = r#"
mount -t tmpfs -o mode=755 tmpfs /run
cd /run
mkdir upper work root
mount -t tmpfs -o mode=755 tmpfs root
for top in /*; do
    name=${top#/}
    if [ -L "$top" ]; then
        cp -P "$top" root/
    elif [ -d "$top" ]; then
        mkdir "root/$name"
        case $name in proc|sys|dev|run) continue;; esac
        mkdir "upper/$name" "work/$name"
        chmod --reference="$top" "upper/$name"
        own "$top" "upper/$name"
        layers="lowerdir=$top,upperdir=/run/upper/$name,workdir=/run/work/$name"
        mount -t overlay -o "$layers" overlay "root/$name" 2>/dev/null || mount --rbind "$top" "root/$name"
    fi
done
cd root
mount --rbind /dev dev
mount -t proc proc proc
mount -t sysfs sysfs sys 2>/dev/null || mount --rbind /sys sys
mount -t tmpfs -o mode=755 tmpfs run
mkdir run/lock
[ -L var/run ] || mount --bind run var/run
mount -t tmpfs -o mode=755 tmpfs var/log
mkdir var/log/lab
for log in /var/log/*/; do
    name=${log#/var/log/}
    [ "$log" = "/var/log/*/" ] || mkdir "var/log/$name"
done
"#;

/// With one user, the machine's folders belong to nobody; those of a layer belong to that user, who can write there.
const OWNED_SCRIPT: &str = r#"
own() {
    case $1 in /etc|/var) ;; *) return 0;; esac
    (cd "$1" && find . -xdev -maxdepth 5 -type d -print0 2>/dev/null) | (cd "$2" && xargs -0 mkdir -p) || true
}
"#;

/// As root there is nothing to do.
const ROOT_OWNS_SCRIPT: &str = "own() { :; }\n";

/// The machine's file systems below the top folders come in between.
const PIVOT_SCRIPT: &str = r#"
mkdir .machine
pivot_root . .machine
cd /
umount -l /.machine
rmdir /.machine
"#;

/// Folders that are a host's own from the start.
const OWN: [&str; 4] = ["/proc", "/sys", "/run", "/dev"];

/// A network, process and name namespace, and perhaps a file system of its own.
pub(crate) struct Space {
    holder: Child,
    /// Closed by `Drop`, and by the kernel when this process dies.
    stdin: Option<ChildStdin>,
    pid: u32,
    own_files: bool,
    net: File,
    uts: File,
    pids: File,
}

impl Space {
    /// A namespace without files of its own: a switch.
    pub(crate) fn bare(name: &str) -> Result<Space> {
        Space::open(name, "", false)
    }

    /// A host: its changes to files stay in memory and go with it.
    pub(crate) fn with_files(name: &str) -> Result<Space> {
        let mounts = fs::read_to_string("/proc/self/mounts").map_err(Error::io("/proc/self/mounts"))?;
        let folders = if crate::lab::Lab::has_users() { ROOT_OWNS_SCRIPT } else { OWNED_SCRIPT };
        let script = format!("{folders}{ROOT_SCRIPT}{}{PIVOT_SCRIPT}", binds(&mounts));
        Space::open(name, &script, true)
    }

    fn open(name: &str, setup: &str, own_files: bool) -> Result<Space> {
        // An ignored SIGCHLD survives exec, so that orphans of a host are reaped by the kernel.
        let script = format!(
            "set -e\nread -r pid rest < /proc/self/stat\necho $pid\n\
             hostname '{name}' 2>/dev/null || echo '{name}' > /proc/sys/kernel/hostname\n{setup}\necho ready\n\
             exec env --ignore-signal=CHLD cat >/dev/null 2>&1"
        );
        let mut holder = tool("unshare")?;
        holder
            .args([
                "--net",
                "--mount",
                "--uts",
                "--pid",
                "--fork",
                "--propagation",
                "private",
                "sh",
                "-c",
                &script,
            ])
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .process_group(0);
        let mut holder = holder.spawn().map_err(Error::io("unshare"))?;
        let stdin = holder.stdin.take();
        let pid = match greeting(&mut holder) {
            Ok(pid) => pid,
            Err(error) => {
                drop(stdin);
                let _ = holder.wait();
                return Err(error);
            }
        };
        let open = |kind: &str| {
            let path = format!("/proc/{pid}/ns/{kind}");
            File::open(&path).map_err(Error::io(path))
        };
        Ok(Space { net: open("net")?, uts: open("uts")?, pids: open("pid")?, holder, stdin, pid, own_files })
    }

    /// The process that holds the namespaces, as the machine counts.
    pub(crate) fn pid(&self) -> u32 {
        self.pid
    }

    /// For `ip link ... netns PATH`.
    pub(crate) fn net_path(&self) -> String {
        format!("/proc/{}/ns/net", self.pid)
    }

    /// Where a file of the host is, seen from outside.
    pub(crate) fn outside(&self, path: &Path) -> PathBuf {
        let inside = path.strip_prefix("/").unwrap_or(path);
        if self.own_files {
            Path::new(&format!("/proc/{}/root", self.pid)).join(inside)
        } else {
            path.to_owned()
        }
    }

    /// Runs `work` on a thread of its own in this network.
    pub(crate) fn inside<T: Send>(&self, work: impl FnOnce() -> T + Send) -> Result<T> {
        std::thread::scope(|scope| {
            let thread = scope.spawn(|| {
                enter(&self.net, LinkNameSpaceType::Network)?;
                Ok(work())
            });
            thread.join().unwrap_or_else(|panic| std::panic::resume_unwind(panic))
        })
    }

    /// A handle that a thread can use to enter this network and stay there.
    pub(crate) fn door(&self) -> Result<Door> {
        Ok(Door(self.net.try_clone().map_err(Error::io("a network namespace"))?))
    }

    /// Starts a program here; its process id is that of the machine. `streams` sets where its output goes.
    pub(crate) fn spawn(
        &self,
        command: &Command,
        streams: impl FnOnce(&mut Command) + Send,
    ) -> Result<Child> {
        let mut inner = self.wrapped(command)?;
        streams(&mut inner);
        let name = || command.get_program().to_string_lossy().into_owned();
        // A thread that has entered a process namespace can fork, but not start threads: it serves this one call.
        std::thread::scope(|scope| {
            let thread = scope.spawn(move || {
                enter(&self.net, LinkNameSpaceType::Network)?;
                enter(&self.uts, LinkNameSpaceType::HostNameAndNISDomainName)?;
                enter(&self.pids, LinkNameSpaceType::ProcessID)?;
                inner.spawn().map_err(Error::io(format!("cannot start {}", name())))
            });
            thread.join().unwrap_or_else(|panic| std::panic::resume_unwind(panic))
        })
    }

    /// Runs a program to its end.
    pub(crate) fn run(&self, command: &Command) -> Result<Output> {
        let child = self.spawn(command, |c| {
            c.stdout(Stdio::piped()).stderr(Stdio::piped());
        })?;
        child.wait_with_output().map_err(Error::io("cannot wait for a program"))
    }

    /// Feeds lines to `ip -batch` in this network, with the files of the machine.
    pub(crate) fn ip(&self, lines: &str) -> Result<()> {
        let output = self.inside(|| {
            let mut ip = tool("ip")?;
            ip.args(["-batch", "-"]).stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
            let mut child = ip.spawn().map_err(Error::io("ip"))?;
            if let Some(mut stdin) = child.stdin.take() {
                stdin.write_all(lines.as_bytes()).map_err(Error::io("ip -batch"))?;
            }
            child.wait_with_output().map_err(Error::io("ip"))
        })??;
        if output.status.success() {
            return Ok(());
        }
        Err(Error::Tool {
            command: format!("ip -batch: {}", lines.trim().replace('\n', "; ")),
            output: String::from_utf8_lossy(&output.stderr).trim().to_owned(),
        })
    }

    /// Kills everything inside. Children of this process must be waited for before the value is dropped: a process
    /// namespace ends when its last process was.
    pub(crate) fn close(&mut self) {
        drop(self.stdin.take());
    }

    /// The command behind an `nsenter` into the files of the host, if it has its own.
    fn wrapped(&self, command: &Command) -> Result<Command> {
        let mut inner = if self.own_files {
            let mut inner = tool("nsenter")?;
            inner.arg(format!("--mount=/proc/{}/ns/mnt", self.pid)).arg("--").arg(command.get_program());
            inner
        } else {
            Command::new(command.get_program())
        };
        inner.args(command.get_args()).process_group(0).stdin(Stdio::null()).env("PATH", path());
        for (name, value) in command.get_envs() {
            match value {
                Some(value) => inner.env(name, value),
                None => inner.env_remove(name),
            };
        }
        Ok(inner)
    }
}

impl Drop for Space {
    fn drop(&mut self) {
        self.close();
        let _ = self.holder.wait();
    }
}

/// A network namespace that a thread may enter for good.
pub(crate) struct Door(File);

impl Door {
    pub(crate) fn enter(&self) -> Result<()> {
        enter(&self.0, LinkNameSpaceType::Network)
    }
}

fn enter(space: &File, kind: LinkNameSpaceType) -> Result<()> {
    move_into_link_name_space(space.as_fd(), Some(kind)).map_err(|errno| Error::Io {
        what: format!("cannot enter a namespace ({kind:?})"),
        source: errno.into(),
    })
}

/// Reads the process id and the word `ready` that the holder says.
fn greeting(holder: &mut Child) -> Result<u32> {
    let mut lines = Vec::new();
    if let Some(stdout) = holder.stdout.take() {
        for line in BufReader::new(stdout).lines() {
            let line = line.map_err(Error::io("the holder of a namespace"))?;
            let last = line == "ready";
            lines.push(line);
            if last {
                break;
            }
        }
    }
    let pid = lines.first().and_then(|line| line.parse().ok());
    if let (Some(pid), Some("ready")) = (pid, lines.last().map(String::as_str)) {
        return Ok(pid);
    }
    let mut complaint = String::new();
    if let Some(mut stderr) = holder.stderr.take() {
        let _ = stderr.read_to_string(&mut complaint);
    }
    Err(Error::Refused {
        missing: format!("no host can be made here: {}", complaint.trim()),
        remedy: "namespaces, overlay and tmpfs mounts are needed: run this as root, or under `unshare --user \
                 --map-root-user --net --mount` where sysctl user.max_user_namespaces is above 0 and \
                 kernel.unprivileged_userns_clone and kernel.apparmor_restrict_unprivileged_userns (if they exist) \
                 allow it"
            .to_owned(),
    })
}

/// Lines that carry the machine's other file systems into the new root.
fn binds(mounts: &str) -> String {
    let mut lines = String::new();
    let mut bound: Vec<&str> = OWN.to_vec();
    let below = |path: &str, top: &str| {
        path.strip_prefix(top).is_some_and(|rest| rest.is_empty() || rest.starts_with('/'))
    };
    for path in mounts.lines().filter_map(|line| line.split(' ').nth(1)) {
        // An escaped name (`\040`) is that of nothing a host needs.
        let plain = path.chars().all(|c| c.is_ascii_alphanumeric() || "/._-+:".contains(c));
        // A top folder has a layer, which shows its own file system, but nothing that is mounted further down.
        let top = path.matches('/').count() == 1;
        if top || !plain || bound.iter().any(|other| below(path, other)) {
            continue;
        }
        bound.push(path);
        lines.push_str(&format!("mount --rbind '{path}' '/run/root{path}' 2>/dev/null || true\n"));
    }
    lines
}

/// Where programs are, for callers whose own path lacks the administrator's folders.
fn path() -> String {
    let own = std::env::var("PATH").unwrap_or_default();
    format!("{own}:/usr/local/sbin:/usr/sbin:/sbin:/usr/bin:/bin")
}

/// A program of the machine, or a refusal that names its package.
pub(crate) fn tool(name: &str) -> Result<Command> {
    let found = path().split(':').map(|folder| Path::new(folder).join(name)).find(|file| file.is_file());
    let package = match name {
        "ip" | "bridge" => "iproute2",
        "unshare" | "nsenter" => "util-linux",
        other => other,
    };
    found.map(Command::new).ok_or_else(|| Error::Refused {
        missing: format!("the program \"{name}\" is missing"),
        remedy: format!("install the package {package} (`apt-get install {package}`)"),
    })
}

#[cfg(test)]
mod tests {
    use super::binds;

    #[test]
    fn other_file_systems_are_carried_over_once() {
        let mounts = "proc /proc proc rw 0 0\n/dev/a / ext4 rw 0 0\n/dev/b /home ext4 rw 0 0\n\
                      x /home/u fuse rw 0 0\nt /run/user tmpfs rw 0 0\nz /var/log xfs rw 0 0\nz /var/log/b xfs rw 0 0\ny /mnt/a\\040b ext4 rw 0 0\n/dev/c /homes xfs rw 0 0\n";
        let lines = binds(mounts);
        let bound: Vec<&str> = lines.lines().filter_map(|line| line.split('\'').nth(1)).collect();
        assert_eq!(bound, ["/home/u", "/var/log"]);
    }
}
