//! One host: addresses, cables, files, programs.

use std::fs::{self, File};
use std::net::IpAddr;
use std::path::Path;
use std::process::{Command, Output};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use crate::addresses::{Listener, has};
use crate::error::{Error, Result};
use crate::lab::{Lab, Port};
use crate::process::{Process, Program, Signal};
use crate::space::{Space, tool};

/// A host that is not there yet.
pub struct HostPlan {
    lab: Lab,
    name: String,
    cables: Vec<Cable>,
}

struct Cable {
    segment: String,
    interface: String,
    mac: Option<String>,
    addresses: Vec<String>,
}

/// A running host; handles to it are cheap to copy.
#[derive(Clone)]
pub struct Host {
    inner: Arc<Inner>,
}

struct Inner {
    name: String,
    // Ends before the namespace that it listens in.
    _listener: Listener,
    cables: Vec<(Cable, Port)>,
    programs: Mutex<Vec<Program>>,
    pub(crate) space: Space,
    lab: Lab,
}

impl HostPlan {
    pub(crate) fn new(lab: Lab, name: &str) -> HostPlan {
        HostPlan { lab, name: name.to_owned(), cables: Vec::new() }
    }

    /// Plugs a cable into a segment; the interfaces are eth0, eth1, ... in this order. Addresses named afterwards
    /// are on it. Without any cable there is one to the segment `lan`.
    #[must_use]
    pub fn cable(mut self, segment: &str) -> HostPlan {
        let interface = format!("eth{}", self.cables.len());
        self.cables.push(Cable { segment: segment.to_owned(), interface, mac: None, addresses: Vec::new() });
        self
    }

    /// An address with its prefix length on the last cable, as in `10.0.0.1/24`.
    #[must_use]
    pub fn address(self, address: &str) -> HostPlan {
        self.with_cable(|cable| cable.addresses.push(address.to_owned()))
    }

    /// Another name than eth0, eth1, ... for the interface of the last cable.
    #[must_use]
    pub fn interface(self, name: &str) -> HostPlan {
        self.with_cable(|cable| name.clone_into(&mut cable.interface))
    }

    /// The hardware address of the last cable, instead of 02:00:00:00:00:NN.
    #[must_use]
    pub fn mac(self, mac: &str) -> HostPlan {
        self.with_cable(|cable| cable.mac = Some(mac.to_owned()))
    }

    fn with_cable(mut self, change: impl FnOnce(&mut Cable)) -> HostPlan {
        if self.cables.is_empty() {
            self = self.cable("lan");
        }
        if let Some(cable) = self.cables.last_mut() {
            change(cable);
        }
        self
    }

    /// Makes the host. When this returns, its addresses are usable and the switch forwards.
    pub fn start(mut self) -> Result<Host> {
        if self.cables.is_empty() {
            self = self.cable("lan");
        }
        if self.name.is_empty()
            || !self.name.bytes().all(|c| c.is_ascii_alphanumeric() || b"-_.".contains(&c))
        {
            return Err(Error::wrong(format!(
                "\"{}\" is no name of a host: letters, digits, - _ . are",
                self.name
            )));
        }
        let space = Space::with_files(&self.name)?;
        space.inside(prepare)?;
        let listener = Listener::start(
            &self.name,
            space.door()?,
            Arc::clone(&self.lab.inner.ledger),
            self.lab.inner.epoch,
        )?;
        let mut cables = Vec::new();
        for cable in self.cables {
            let port = self.lab.inner.plug(&self.name, &cable.segment)?;
            connect(&self.lab, &space, &cable, &port)?;
            cables.push((cable, port));
        }
        let inner = Inner {
            name: self.name,
            _listener: listener,
            cables,
            programs: Mutex::default(),
            space,
            lab: self.lab,
        };
        let host = Host { inner: Arc::new(inner) };
        for (cable, _) in &host.inner.cables {
            for address in &cable.addresses {
                host.wait_address(plain(address)?, true, PATIENCE)?;
            }
        }
        host.wait_forwarding()?;
        Ok(host)
    }
}

impl Drop for Inner {
    fn drop(&mut self) {
        self.space.close();
        let programs = self.programs.get_mut().unwrap_or_else(PoisonError::into_inner);
        for program in programs {
            // Everything inside was killed.
            let _ = program.wait(PATIENCE);
        }
    }
}

/// What takes longer in the building of a host has failed.
const PATIENCE: Duration = Duration::from_secs(10);

/// Settings of a host's network; a kernel without one of them does without.
fn prepare() {
    for (name, value) in [
        ("ipv6/conf/all/accept_dad", "0"),
        ("ipv6/conf/default/accept_dad", "0"),
        // A probe a millisecond needs many ports.
        ("ipv4/ip_local_port_range", "2000 65000"),
        // Pings without a raw socket, for the group that the laboratory runs as.
        ("ipv4/ping_group_range", "0 0"),
    ] {
        let _ = fs::write(Path::new("/proc/sys/net").join(name), value);
    }
}

fn connect(lab: &Lab, space: &Space, cable: &Cable, port: &Port) -> Result<()> {
    let (interface, peer, space_path) = (&cable.interface, &port.name, space.net_path());
    let mac = cable.mac.as_ref().unwrap_or(&port.mac);
    lab.inner.switch.ip(&format!(
        "link add {peer} type veth peer name {interface} address {mac} netns {space_path}\n\
         link set {peer} master {} up\n",
        port.bridge
    ))?;
    let mut lines = format!("link set lo up\nlink set {interface} up\n");
    for address in &cable.addresses {
        let nodad = if address.contains(':') { " nodad" } else { "" };
        lines.push_str(&format!("address add {address} dev {interface}{nodad}\n"));
    }
    space.ip(&lines)
}

fn plain(address: &str) -> Result<IpAddr> {
    let text = address.split('/').next().unwrap_or_default();
    text.parse()
        .map_err(|_| Error::wrong(format!("\"{address}\" is no address; expected one like 10.0.0.1/24")))
}

impl Host {
    pub fn name(&self) -> &str {
        &self.inner.name
    }

    pub(crate) fn space(&self) -> &Space {
        &self.inner.space
    }

    pub(crate) fn lab(&self) -> &Lab {
        &self.inner.lab
    }

    /// Starts a program; `name` is that of its log, `/var/log/lab/NAME.log`.
    pub fn spawn(&self, name: &str, command: &Command) -> Result<Program> {
        let log = format!("/var/log/lab/{name}.log");
        let open = || File::options().create(true).append(true).open(self.outside(&log));
        let (out, err) = (open().map_err(Error::io(&*log))?, open().map_err(Error::io(&*log))?);
        let child = self.inner.space.spawn(command, |c| {
            c.stdout(out).stderr(err);
        })?;
        let program = Program::new(child, log);
        let mut programs = self.inner.programs.lock().unwrap_or_else(PoisonError::into_inner);
        programs.retain(|program| program.ended().is_none());
        programs.push(program.clone());
        Ok(program)
    }

    /// Runs a program to its end.
    pub fn run(&self, program: &str, arguments: &[&str]) -> Result<Output> {
        self.inner.space.run(Command::new(program).args(arguments))
    }

    /// Does something in the network of the host: a socket that is opened there stays there.
    pub fn inside<T: Send>(&self, work: impl FnOnce() -> T + Send) -> Result<T> {
        self.inner.space.inside(work)
    }

    /// Runs `ip` with some words; its error is one.
    pub fn ip(&self, words: &str) -> Result<()> {
        self.inner.space.ip(&format!("{words}\n"))
    }

    /// Every process of the host, those that programs started included.
    pub fn processes(&self) -> Vec<Process> {
        // Reaps what has ended.
        let programs = self.inner.programs.lock().unwrap_or_else(PoisonError::into_inner);
        for program in programs.iter() {
            let _ = program.ended();
        }
        drop(programs);
        Process::list(self.inner.space.pid())
    }

    /// Sends a signal to every process at once: none sees another end before it ends itself. After a KILL, none of
    /// their numbers is taken any more when this returns: a program that is started next may look for them.
    pub fn signal_all(&self, signal: Signal) -> Result<()> {
        if signal != Signal::KILL {
            return self.processes().iter().try_for_each(|process| process.signal(signal));
        }
        let mut all = self.processes();
        all.iter().try_for_each(|process| process.signal(Signal::STOP))?;
        all.extend(self.processes());
        all.iter().try_for_each(|process| process.signal(Signal::KILL))?;
        let gone = || {
            let _reaped = self.processes();
            Ok(all.iter().all(Process::is_gone).then_some(()))
        };
        let late = || Error::Late { what: format!("the end of all of {}", self.name()), waited: PATIENCE };
        until(PATIENCE, gone)?.ok_or_else(late)
    }

    /// Waits until the host has an address, or has it no longer.
    pub fn wait_address(&self, address: IpAddr, present: bool, patience: Duration) -> Result<()> {
        let name = self.name();
        if self.lab().inner.ledger.wait(patience, |changes| has(changes, name, address) == present) {
            return Ok(());
        }
        let what = if present { "to get" } else { "to lose" };
        Err(Error::Late { what: format!("host {name} {what} {address}"), waited: patience })
    }

    pub fn has_address(&self, address: IpAddr) -> bool {
        has(&self.lab().inner.ledger.changes(), self.name(), address)
    }

    /// Takes an address off, as an operator would who mistypes: whatever interface it is on.
    pub fn delete_address(&self, address: IpAddr) -> Result<()> {
        let output = self.run("ip", &["-o", "address", "show", "to", &address.to_string()])?;
        let text = String::from_utf8_lossy(&output.stdout).into_owned();
        // 3: eth0    inet 10.0.0.9/32 scope global eth0 ...
        let mut words = text.split_whitespace().skip(1);
        match (words.next(), words.next(), words.next()) {
            (Some(interface), _, Some(prefixed)) => {
                self.ip(&format!("address del {prefixed} dev {interface}"))
            }
            _ => Err(Error::wrong(format!(
                "host {} has no address {address} that could be deleted",
                self.name()
            ))),
        }
    }

    /// Pulls the cables at the switch: the interfaces stay up and lose their carrier.
    pub fn link_down(&self) -> Result<()> {
        self.ports("down")
    }

    /// Plugs them in again.
    pub fn link_up(&self) -> Result<()> {
        self.ports("up")?;
        self.wait_forwarding()
    }

    fn ports(&self, state: &str) -> Result<()> {
        let lines: String =
            self.inner.cables.iter().map(|(_, port)| format!("link set {} {state}\n", port.name)).collect();
        self.lab().inner.switch.ip(&lines)
    }

    /// Waits until the switch forwards on every port of this host.
    fn wait_forwarding(&self) -> Result<()> {
        let ports: Vec<&str> = self.inner.cables.iter().map(|(_, port)| port.name.as_str()).collect();
        let forwards = || -> Result<bool> {
            let output = self.lab().inner.switch.inside(|| {
                tool("bridge")?.args(["-o", "link", "show"]).output().map_err(Error::io("bridge"))
            })??;
            let text = String::from_utf8_lossy(&output.stdout).into_owned();
            let ready = |port: &&str| {
                text.lines()
                    .any(|line| line.contains(&format!(" {port}@")) && line.contains("state forwarding"))
            };
            Ok(ports.iter().all(ready))
        };
        until(PATIENCE, || forwards().map(|done| done.then_some(())))?.ok_or_else(|| Error::Late {
            what: format!("the switch to forward for {}", self.name()),
            waited: PATIENCE,
        })
    }

    /// Waits until something listens on a TCP port of the host.
    pub fn wait_listen(&self, port: u16, patience: Duration) -> Result<()> {
        let wanted = format!(":{port:04X}");
        let listens = || {
            ["tcp", "tcp6"].iter().any(|table| {
                let text = fs::read_to_string(format!("/proc/{}/net/{table}", self.inner.space.pid()));
                text.unwrap_or_default().lines().any(|line| {
                    let mut words = line.split_whitespace().skip(1);
                    // 0A is LISTEN.
                    words.next().is_some_and(|local| local.ends_with(&wanted)) && words.nth(1) == Some("0A")
                })
            })
        };
        until(patience, || Ok(listens().then_some(())))?.ok_or_else(|| Error::Late {
            what: format!("a listener on port {port} of {}", self.name()),
            waited: patience,
        })
    }
}

/// Looks again and again, for what the kernel gives no notice of.
pub(crate) fn until<T>(patience: Duration, mut look: impl FnMut() -> Result<Option<T>>) -> Result<Option<T>> {
    let start = Instant::now();
    loop {
        if let Some(found) = look()? {
            return Ok(Some(found));
        }
        if start.elapsed() > patience {
            return Ok(None);
        }
        std::thread::sleep(Duration::from_millis(2));
    }
}
