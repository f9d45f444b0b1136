//! Clients of the virtual address, and what became of their requests.

use std::time::Duration;

use weir_lab::{Probe, ProbePlan, Tally};

use super::{ADDRESS, Net};
use crate::common::until;

pub struct Clients {
    probe: Probe,
    begin: Duration,
}

impl Clients {
    /// Asks every few milliseconds; returns when the first answers came.
    pub fn start(net: &Net) -> Clients {
        let plan = ProbePlan::to(&format!("http://{ADDRESS}/")).expect("a URL");
        let plan = plan.every(Duration::from_millis(4)).timeout(Duration::from_secs(10));
        let begin = net.lab.now();
        let clients = Clients { probe: net.c.probe(plan).expect("a probe"), begin };
        clients.more(net, 20);
        clients
    }

    /// Waits until so many more were answered.
    pub fn more(&self, net: &Net, count: u64) {
        let answered = || self.probe.tally(self.begin, net.lab.now()).answered;
        let before = answered();
        until("more answers", || (answered() >= before + count).then_some(()));
    }

    /// Waits until one was answered with a word.
    pub fn hear(&self, net: &Net, word: &str) {
        until(word, || self.probe.tally(self.begin, net.lab.now()).by.contains_key(word).then_some(()));
    }

    /// The account of all of them.
    pub fn stop(mut self, net: &Net) -> Tally {
        self.probe.stop();
        self.probe.tally(self.begin, net.lab.now())
    }
}
