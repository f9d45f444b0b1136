//! What a run has seen, as plain data; times count from the start of the scenario's clock.

use std::net::IpAddr;
use std::time::Duration;

use serde::Serialize;

use crate::capture::Packet;
use crate::probe::{Request, Tally};
use crate::scenario::Expect;
use crate::watch::{Account, Interval};

#[derive(Debug, Clone, Serialize)]
pub struct Record {
    pub name: String,
    pub subject: String,
    pub duration: Duration,
    pub hosts: Vec<String>,
    pub events: Vec<Mark>,
    pub vips: Vec<Vip>,
    pub probes: Vec<ProbeRecord>,
    pub packets: Vec<Packet>,
    /// Expectations that were missed; none: the run is good.
    pub missed: Vec<String>,
}

/// An event that happened.
#[derive(Debug, Clone, Serialize)]
pub struct Mark {
    pub at: Duration,
    pub text: String,
}

#[derive(Debug, Clone, Serialize)]
pub struct Vip {
    pub address: IpAddr,
    /// An interval that began before the start begins at 0.
    pub intervals: Vec<Interval>,
    pub account: Account,
}

#[derive(Debug, Clone, Serialize)]
pub struct ProbeRecord {
    pub from: String,
    pub to: String,
    pub tally: Tally,
    /// Requests; left out of JSON, which would be mostly these.
    #[serde(skip)]
    pub requests: Vec<Request>,
}

impl Record {
    pub fn json(&self) -> String {
        serde_json::to_string_pretty(self).expect("plain data becomes JSON")
    }

    /// Compares what was seen with what was expected.
    pub(crate) fn judge(&mut self, expect: &Expect) {
        let mut missed = Vec::new();
        for vip in &self.vips {
            let (address, account) = (vip.address, &vip.account);
            if let Some(most) = expect.max_without.filter(|most| account.longest_without > most.0) {
                missed.push(format!(
                    "{address} was without a host for {:?}; at most {:?} was expected",
                    account.longest_without, most.0
                ));
            }
            if let Some(most) = expect.doubled.filter(|most| account.doubled > most.0) {
                missed.push(format!(
                    "{address} was on two hosts for {:?}; at most {:?} was expected",
                    account.doubled, most.0
                ));
            }
            if let Some(moves) = expect.moves.filter(|moves| *moves != account.moves) {
                missed.push(format!("{address} moved {} times; {moves} was expected", account.moves));
            }
            if let Some(holder) = expect.holder.as_ref().filter(|holder| account.holders != [holder.as_str()])
            {
                missed.push(format!(
                    "{address} ended on [{}]; {holder} was expected",
                    account.holders.join(", ")
                ));
            }
        }
        for probe in &self.probes {
            let (to, tally) = (&probe.to, &probe.tally);
            if let Some(most) = expect.refused.filter(|most| tally.refused > *most) {
                missed.push(format!(
                    "{to} refused {} connections; at most {most} were expected",
                    tally.refused
                ));
            }
            if let Some(most) = expect.failed.filter(|most| tally.failed() > *most) {
                missed.push(format!(
                    "{} requests to {to} failed; at most {most} were expected",
                    tally.failed()
                ));
            }
            if let Some(most) = expect.gap.filter(|most| tally.gap > most.0) {
                missed
                    .push(format!("{to} was silent for {:?}; at most {:?} was expected", tally.gap, most.0));
            }
        }
        self.missed = missed;
    }
}
