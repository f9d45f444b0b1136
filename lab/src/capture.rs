//! VRRP advertisements and gratuitous ARP on a segment, as tcpdump hears them at the bridge.

use std::io::Read;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::process::{Child, Command, Stdio};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread::JoinHandle;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use serde::Serialize;

use crate::error::{Error, Result};
use crate::lab::Lab;
use crate::process::{Process, Signal};
use crate::space::tool;

/// A packet of interest. Times count from the begin of the laboratory.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Packet {
    pub at: Duration,
    pub kind: PacketKind,
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum PacketKind {
    /// RFC 5798 section 5.1, RFC 3768 section 5.1.
    Advertisement { source: IpAddr, version: u8, vrid: u8, priority: u8 },
    /// An ARP packet whose sender and target address are the same.
    GratuitousArp { mac: String, address: Ipv4Addr },
}

/// A running capture; it ends with this value.
pub struct Capture {
    child: Child,
    thread: Option<JoinHandle<()>>,
    packets: Arc<Mutex<Vec<Packet>>>,
    // The switch cannot end before its processes were waited for.
    _lab: Lab,
}

impl Lab {
    /// Records a segment. It returns when tcpdump listens.
    pub fn capture(&self, segment: &str) -> Result<Capture> {
        let bridge = self.inner.bridge(segment)?;
        let mut command = Command::new(tool("tcpdump")?.get_program());
        command.args([
            "-i",
            &bridge,
            "-n",
            "-U",
            "-s",
            "256",
            "-w",
            "-",
            "ip proto 112 or ip proto 51 or ip6 proto 112 or arp",
        ]);
        let mut child = self.inner.switch.spawn(&command, |c| {
            c.stdout(Stdio::piped()).stderr(Stdio::null());
        })?;
        let packets = Arc::new(Mutex::new(Vec::new()));
        let inside = Arc::clone(&packets);
        // Packets carry the time of day; the laboratory's clock does not step.
        let day = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
        let begin = day.saturating_sub(self.now());
        let Some(mut stream) = child.stdout.take() else { return Err(Error::wrong("tcpdump has no output")) };
        // The head of the file is written when the socket is open.
        let mut head = [0; 24];
        stream.read_exact(&mut head).map_err(Error::io("tcpdump"))?;
        let thread = std::thread::spawn(move || {
            while let Some((time, frame)) = next(&mut stream) {
                if let Some(kind) = read(&frame) {
                    let packet = Packet { at: time.saturating_sub(begin), kind };
                    inside.lock().unwrap_or_else(PoisonError::into_inner).push(packet);
                }
            }
        });
        Ok(Capture { child, thread: Some(thread), packets, _lab: self.clone() })
    }
}

impl Capture {
    pub fn packets(&self) -> Vec<Packet> {
        self.packets.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// Ends it, with all packets that were heard.
    pub fn stop(&mut self) -> Vec<Packet> {
        if let Some(process) = Process::read(self.child.id()) {
            let _ = process.signal(Signal::TERM);
        }
        let _ = self.child.wait();
        if let Some(thread) = self.thread.take() {
            let _ = thread.join();
        }
        self.packets()
    }
}

impl Drop for Capture {
    fn drop(&mut self) {
        self.stop();
    }
}

/// The next record of a file in pcap's form: its time and its bytes.
fn next(stream: &mut impl Read) -> Option<(Duration, Vec<u8>)> {
    let mut head = [0; 16];
    stream.read_exact(&mut head).ok()?;
    let field = |at: usize| head.get(at..at + 4)?.try_into().ok().map(u32::from_ne_bytes);
    let (seconds, micros, length) = (field(0)?, field(4)?, field(8)?);
    let mut frame = vec![0; length.min(65_536) as usize];
    stream.read_exact(&mut frame).ok()?;
    Some((Duration::from_secs(seconds.into()) + Duration::from_micros(micros.into()), frame))
}

/// Reads an Ethernet frame.
fn read(frame: &[u8]) -> Option<PacketKind> {
    let (kind, packet) = (frame.get(12..14)?, frame.get(14..)?);
    match kind {
        [0x08, 0x06] => arp(packet),
        [0x08, 0x00] => {
            let source: [u8; 4] = packet.get(12..16)?.try_into().ok()?;
            let mut payload = packet.get(usize::from(packet.first()? & 15) * 4..)?;
            // An authentication header (RFC 2402) stands before some of version 2.
            if *packet.get(9)? == 51 {
                payload = payload.get((usize::from(*payload.get(1)?) + 2) * 4..)?;
            }
            advertisement(Ipv4Addr::from(source).into(), payload)
        }
        [0x86, 0xdd] => {
            let source: [u8; 16] = packet.get(8..24)?.try_into().ok()?;
            advertisement(Ipv6Addr::from(source).into(), packet.get(40..)?)
        }
        _ => None,
    }
}

fn advertisement(source: IpAddr, payload: &[u8]) -> Option<PacketKind> {
    let &[first, vrid, priority, ..] = payload else { return None };
    (first & 15 == 1).then_some(PacketKind::Advertisement { source, version: first >> 4, vrid, priority })
}

fn arp(packet: &[u8]) -> Option<PacketKind> {
    let (mac, sender, target) = (packet.get(8..14)?, packet.get(14..18)?, packet.get(24..28)?);
    let address: [u8; 4] = sender.try_into().ok()?;
    let mac = mac.iter().map(|byte| format!("{byte:02x}")).collect::<Vec<_>>().join(":");
    (sender == target).then(|| PacketKind::GratuitousArp { mac, address: address.into() })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_advertisement_of_version_2_is_read() {
        let mut frame = vec![0; 12];
        frame.extend([8, 0, 0x45, 0xc0, 0, 40, 0, 1, 0, 0, 255, 112, 0, 0, 10, 0, 0, 1, 224, 0, 0, 18]);
        frame.extend([0x21, 51, 150, 1, 0, 1]);
        let source = Ipv4Addr::new(10, 0, 0, 1).into();
        assert_eq!(
            read(&frame),
            Some(PacketKind::Advertisement { source, version: 2, vrid: 51, priority: 150 })
        );
        for cut in 0..frame.len() - 3 {
            assert_eq!(read(&frame[..cut]), None, "{cut} bytes");
        }
    }
}
