//! `weir demo --ha`: two nodes, one address, three applications and a client; things are killed, the client tells.

use std::io::{self, Write};
use std::net::{IpAddr, Ipv4Addr};
use std::path::Path;
use std::process::ExitCode;
use std::time::{Duration, Instant};

use crate::app::App;
use crate::entry::{Entry, Part, Subject, Texts};
use crate::error::Result;
use crate::host::Host;
use crate::keys::Keys;
use crate::lab::Lab;
use crate::probe::{Probe, ProbePlan, Tally};
use crate::process::Signal;
use crate::watch::Watch;

const VIP: IpAddr = IpAddr::V4(Ipv4Addr::new(10, 0, 0, 100));
const PATIENCE: Duration = Duration::from_secs(30);
/// What the demonstration promises: longer is nobody without the address (the master-down time of one-second adverts).
const MOST_WITHOUT: Duration = Duration::from_millis(3700);

/// Runs the demonstration: with a time it plays by itself, otherwise until q.
///
/// The exit code is 0 if the address was never without a node for longer than 3.7 s, never on two nodes at the end,
/// and requests were answered before and after.
pub fn demo_ha(weir: &Path, time: Option<Duration>) -> ExitCode {
    let shown = crate::command::enter().and_then(|()| show(weir, time));
    match shown {
        Ok(true) => ExitCode::SUCCESS,
        Ok(false) => ExitCode::FAILURE,
        Err(error) => {
            eprintln!("weir: the demo cannot run: {error}");
            ExitCode::FAILURE
        }
    }
}

fn show(weir: &Path, time: Option<Duration>) -> Result<bool> {
    println!(
        "Two nodes hold one address, {VIP}, between them. Each runs `weir run nginx.conf keepalived.conf`:\n"
    );
    println!("{}", indented(&keepalived(1)));
    let mut stage = Stage::build(weir)?;
    let keys = Keys::open();
    if time.is_some() {
        println!(
            "It plays by itself: the worker of node 1, an application, node 1, its return, its cable.\n"
        );
    } else if keys.is_some() {
        println!(
            "Keys 1, 2 kill a node and start it again; x, y, z do so with application 1, 2, 3; of the node that"
        );
        println!(
            "has the address, w kills the worker, c cuts the cable (and plugs it in), d deletes the address,"
        );
        println!("s stops everything for 5 s; q ends.\n");
    }
    stage.run(time, keys.as_ref())?;
    Ok(stage.summary())
}

fn indented(text: &str) -> String {
    text.lines().map(|line| format!("    {line}\n")).collect()
}

struct Node {
    host: Host,
    entry: Entry,
    alive: bool,
    cut: bool,
    /// When a stopped node continues.
    resume: Option<Instant>,
}

struct Stage {
    nodes: [Node; 2],
    apps: [App; 3],
    probe: Probe,
    watch: Watch,
    lab: Lab,
    begun: Duration,
}

impl Stage {
    fn build(weir: &Path) -> Result<Stage> {
        let lab = Lab::new()?;
        lab.segment("lan")?;
        let app = |number: u8| {
            lab.host(&format!("app{number}"))
                .address(&format!("10.0.0.1{number}/24"))
                .start()?
                .app(&number.to_string(), 8080)
        };
        let apps = [app(1)?, app(2)?, app(3)?];
        let client = lab.host("client").address("10.0.0.9/24").start()?;
        let subject = Subject::Weir(weir.to_owned());
        let node = |number: u8| -> Result<Node> {
            let host = lab.host(&format!("node{number}")).address(&format!("10.0.0.{number}/24")).start()?;
            let texts = Texts { nginx: Some(nginx(number)), keepalived: Some(keepalived(number)) };
            let entry = Entry::start(&host, &subject, texts)?;
            Ok(Node { host, entry, alive: true, cut: false, resume: None })
        };
        let nodes = [node(1)?, node(2)?];
        let watch = lab.watch(VIP);
        watch.wait_holders(&["node1"], PATIENCE)?;
        nodes.iter().try_for_each(|node| node.host.wait_listen(80, PATIENCE))?;
        let plan = ProbePlan::to(&format!("http://{VIP}/"))?.every(Duration::from_millis(5));
        let probe = client.probe(plan)?;
        let begun = lab.now();
        Ok(Stage { nodes, apps, probe, watch, lab, begun })
    }

    fn run(&mut self, time: Option<Duration>, keys: Option<&Keys>) -> Result<()> {
        let start = Instant::now();
        let mut script = time.map(script).unwrap_or_default().into_iter().peekable();
        let mut next_line = Duration::from_secs(1);
        loop {
            std::thread::sleep(Duration::from_millis(20));
            let elapsed = start.elapsed();
            while let Some((_, key)) = script.next_if(|(at, _)| *at <= elapsed) {
                self.press(key)?;
            }
            match keys.and_then(Keys::take) {
                Some(b'q') => return Ok(()),
                Some(key) => self.press(key)?,
                None => {}
            }
            self.resume()?;
            if elapsed >= next_line {
                self.line(next_line);
                next_line += Duration::from_secs(1);
            }
            if time.is_some_and(|time| elapsed >= time) {
                return Ok(());
            }
        }
    }

    /// The node that has the address, or the first.
    fn holder(&self) -> usize {
        let holders = self.watch.holders();
        self.nodes.iter().position(|node| holders.iter().any(|name| name == node.host.name())).unwrap_or(0)
    }

    fn press(&mut self, key: u8) -> Result<()> {
        let holder = self.holder();
        match key {
            b'1' | b'2' => self.toggle_node(usize::from(key - b'1')),
            b'x' | b'y' | b'z' => self.toggle_app(usize::from(key - b'x')),
            b'w' => {
                let node = &self.nodes[holder];
                println!("      the worker of {} is killed", node.host.name());
                // Between the death of a worker and the next one there is none to kill.
                node.entry.processes(Part::Worker).iter().try_for_each(|worker| worker.signal(Signal::KILL))
            }
            b'c' => {
                let index = self.nodes.iter().position(|node| node.cut).unwrap_or(holder);
                self.toggle_cable(index)
            }
            b'd' => {
                println!("      {VIP} is deleted on {}", self.nodes[holder].host.name());
                if self.nodes[holder].host.has_address(VIP) {
                    self.nodes[holder].host.delete_address(VIP)
                } else {
                    Ok(())
                }
            }
            b's' => {
                let node = &mut self.nodes[holder];
                println!("      {} is stopped for 5 s", node.host.name());
                node.resume = Some(Instant::now() + Duration::from_secs(5));
                node.host.signal_all(Signal::STOP)
            }
            _ => Ok(()),
        }
    }

    fn toggle_node(&mut self, index: usize) -> Result<()> {
        let node = &mut self.nodes[index];
        node.alive = !node.alive;
        if node.alive {
            println!("      {} is started", node.host.name());
            return node.entry.launch();
        }
        println!("      everything on {} is killed (SIGKILL)", node.host.name());
        node.host.signal_all(Signal::KILL)
    }

    fn toggle_app(&mut self, index: usize) -> Result<()> {
        let app = &mut self.apps[index];
        if app.is_running() {
            println!("      application {} is killed", app.name());
            app.kill();
            return Ok(());
        }
        println!("      application {} is started", app.name());
        app.start()
    }

    fn toggle_cable(&mut self, index: usize) -> Result<()> {
        let node = &mut self.nodes[index];
        node.cut = !node.cut;
        println!(
            "      the cable of {} is {}",
            node.host.name(),
            if node.cut { "cut" } else { "plugged in" }
        );
        if node.cut { node.host.link_down() } else { node.host.link_up() }
    }

    fn resume(&mut self) -> Result<()> {
        for node in &mut self.nodes {
            if node.resume.is_some_and(|at| at <= Instant::now()) {
                node.resume = None;
                println!("      {} continues", node.host.name());
                node.host.signal_all(Signal::CONT)?;
            }
        }
        Ok(())
    }

    /// One second: who has the address, and what the client saw.
    fn line(&self, at: Duration) {
        let second = Duration::from_secs(1);
        let from = self.begun + at.saturating_sub(second);
        let tally = self.probe.tally(from, from + second);
        let holders = self.watch.holders();
        let holder = if holders.is_empty() { "nobody".to_owned() } else { holders.join(" and ") };
        let mut text = format!("{:4}s   {VIP} on {holder:16}", at.as_secs());
        for app in &self.apps {
            let count = tally.by.get(app.name()).copied().unwrap_or_default();
            let state = if app.is_running() { format!("{count}") } else { "killed".to_owned() };
            text.push_str(&format!("   {}: {state:6}", app.name()));
        }
        println!(
            "{text}   failed: {:3}   longest silence: {:.0} ms",
            tally.failed(),
            tally.gap.as_secs_f64() * 1e3
        );
        let _ = io::stdout().flush();
    }

    fn summary(&mut self) -> bool {
        let end = self.lab.now();
        self.probe.stop();
        let (account, tally) = (self.watch.account(self.begun, end), self.probe.tally(self.begun, end));
        let Tally { sent, answered, refused, gap, .. } = tally;
        println!("\n{sent} requests: {answered} answered, {} failed ({refused} refused)", tally.failed());
        println!("the longest silence: {:.2} s", gap.as_secs_f64());
        println!(
            "{VIP}: {} moves, at most {:.2} s without a node, {:.2} s on two nodes",
            account.moves,
            account.longest_without.as_secs_f64(),
            account.doubled.as_secs_f64()
        );
        answered > 0 && account.longest_without <= MOST_WITHOUT && !account.doubled_at_end
    }
}

/// What happens when nobody presses keys: in tenths of the time, but not closer than the address can move.
fn script(time: Duration) -> Vec<(Duration, u8)> {
    [(1, b'w'), (2, b'y'), (3, b'1'), (5, b'y'), (6, b'1'), (8, b'c'), (9, b'c')]
        .map(|(tenth, key)| (time.mul_f64(f64::from(tenth) / 10.0), key))
        .to_vec()
}

fn nginx(number: u8) -> String {
    let user = if Lab::has_users() { "nobody nogroup" } else { "root root" };
    let servers: String =
        (1..=3).map(|app| format!("        server 10.0.0.1{app}:8080 fail_timeout=1s;\n")).collect();
    format!(
        "user {user};\nerror_log /var/log/proxy.log;\npid /run/proxy.pid;\nevents {{ }}\nhttp {{\n    access_log off;\n    \
         upstream applications {{\n{servers}    }}\n    server {{\n        listen 80;\n        location / {{\n            \
         proxy_pass http://applications;\n            add_header X-Node node{number};\n        }}\n    }}\n}}\n"
    )
}

fn keepalived(number: u8) -> String {
    let priority = if number == 1 { 150 } else { 100 };
    format!(
        "vrrp_instance entry {{\n    interface eth0\n    virtual_router_id 51\n    priority {priority}\n    advert_int 1\n    \
         virtual_ipaddress {{\n        {VIP}/24\n    }}\n}}\n"
    )
}
