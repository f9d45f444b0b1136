//! Hosts as network namespaces on switches: build them, run real programs in them, break things, account for all of it.
//! What the programs do is left to them: nothing of the workspace is imported, Weir and its rivals are black boxes.

mod addresses;
mod app;
mod ask;
mod capture;
mod command;
mod demo;
mod entry;
mod error;
mod events;
mod files;
mod filter;
mod host;
mod keys;
mod lab;
pub mod matrix;
mod probe;
mod process;
mod record;
mod run;
mod scenario;
mod space;
mod svg;
mod timeline;
mod watch;
mod wire;

pub use addresses::Change;
pub use app::{App, Mood};
pub use capture::{Capture, Packet, PacketKind};
pub use command::main_with;
pub use demo::demo_ha;
pub use entry::{Entry, Part, Subject, Texts};
pub use error::{Error, Result};
pub use host::{Host, HostPlan};
pub use keys::Keys;
pub use lab::{Block, Lab, Traffic};
pub use probe::{Kind, Outcome, Probe, ProbePlan, Request, Tally};
pub use process::{Process, Program, Signal};
pub use record::{Mark, ProbeRecord, Record, Vip};
pub use run::{Cast, run};
pub use scenario::{
    Action, CablePart, Event, Expect, FilePart, HostPart, PartName, Play, ProbePart, Role, Scenario, Time,
};
pub use svg::draw as draw_svg;
pub use timeline::text as draw_text;
pub use watch::{Account, Interval, Watch};
pub use wire::Wire;
