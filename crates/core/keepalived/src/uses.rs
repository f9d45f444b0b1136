//! The use of trackers by instances and groups: `track_script { NAME weight N }` and its like.

use weir_model::vrrp::{Track, TrackProxy};
use weir_syntax::Span;
use weir_syntax::keepalived::Statement;

use crate::draft::Draft;
use crate::group::GroupDraft;
use crate::keyword::Action::{Group, Instance, WithoutEffect};
use crate::keyword::{Blocks, Keyword};
use crate::line::{self, IGNORED, Line};
use crate::scope::{Kind, Scope};

const I: Blocks = Blocks::INSTANCE;
const G: Blocks = Blocks::GROUP;
const USE: &str = "NAME [weight N [reverse | noreverse]]";
const BFD: &str = "Weir does not speak BFD; nothing is tracked";

pub(crate) const KEYWORDS: &[Keyword] = &[
    Keyword::list("track_interface", I, USE, "Interfaces that have to be up.", Instance(interfaces)),
    Keyword::list("track_script", I, USE, "Scripts that have to succeed.", Instance(scripts)),
    Keyword::list("track_process", I, USE, "Processes that have to run.", Instance(processes)),
    Keyword::list("track_file", I, USE, "Files whose number counts.", Instance(files)),
    Keyword::list("track_bfd", I, USE, "BFD sessions that have to be up.", WithoutEffect(BFD)),
    Keyword::list(
        "track_upstream",
        I,
        "NAME weight N",
        "Upstreams of the proxy that have to have a usable peer.",
        Instance(upstreams),
    )
    .since("weir"),
    Keyword::line(
        "track_proxy",
        I,
        (0, 2),
        "[on | off | weight N]",
        "What a fault of this node's own proxy does.",
        Instance(own_proxy),
    )
    .default("on")
    .since("weir"),
    Keyword::list("track_interface", G, USE, "Interfaces that have to be up.", Group(group_interfaces)),
    Keyword::list("track_script", G, USE, "Scripts that have to succeed.", Group(group_scripts)),
    Keyword::list("track_process", G, USE, "Processes that have to run.", Group(group_processes)),
    Keyword::list("track_file", G, USE, "Files whose number counts.", Group(group_files)),
    Keyword::list("track_bfd", G, USE, "BFD sessions that have to be up.", WithoutEffect(BFD)),
];

/// What a list of uses holds, and what stands for it in messages.
#[derive(Clone, Copy)]
enum Of {
    Interface,
    Tracker(Kind),
}

impl Of {
    const fn keyword(self) -> &'static str {
        match self {
            Self::Interface => "track_interface",
            Self::Tracker(Kind::Script) => "track_script",
            Self::Tracker(Kind::Process) => "track_process",
            Self::Tracker(Kind::File) => "track_file",
            Self::Tracker(Kind::StaticGroup) => "track_group",
        }
    }

    /// The block that defines such a tracker.
    const fn definition(self) -> &'static str {
        match self {
            Self::Interface => "interface",
            Self::Tracker(Kind::Script) => "vrrp_script",
            Self::Tracker(Kind::Process) => "vrrp_track_process",
            Self::Tracker(Kind::File) => "track_file",
            Self::Tracker(Kind::StaticGroup) => "track_group",
        }
    }

    /// keepalived bounds the weights of interfaces and scripts by 253, those of processes and files by 254.
    const fn limit(self) -> i32 {
        match self {
            Self::Interface | Self::Tracker(Kind::Script) => 253,
            Self::Tracker(_) => 254,
        }
    }
}

fn uses(tracks: &mut Vec<Track>, of: Of, line: &Line<'_>, scope: &mut Scope<'_>) {
    for item in line.items() {
        let Some(track) = one(of, item, scope) else { continue };
        if tracks.iter().any(|other| other.name == track.name) {
            scope.warn(item.name.span, format!("{:?} is tracked here before; {IGNORED}", track.name));
        } else {
            tracks.push(track);
        }
    }
}

fn one(of: Of, item: &Statement, scope: &mut Scope<'_>) -> Option<Track> {
    let mut track = match of {
        Of::Interface => Track { name: line::interface(&item.name, scope)?, weight: 0, reverse: false },
        Of::Tracker(kind) => defined(of, kind, item, scope)?,
    };
    if let Some((weight, reverse)) = weight(of, item, scope)? {
        track.weight = weight;
        track.reverse = reverse.unwrap_or(track.reverse);
    }
    Some(track)
}

/// The tracker with the weight of its definition.
fn defined(of: Of, kind: Kind, item: &Statement, scope: &mut Scope<'_>) -> Option<Track> {
    let name = &item.name.text;
    let Some(tracker) = scope.trackers.get(&(kind, name.clone())).copied() else {
        let message = format!("{} {name:?} is defined nowhere", of.definition());
        let mut known: Vec<_> = scope
            .trackers
            .keys()
            .filter(|(other, _)| *other == kind)
            .map(|(_, name)| name.as_str())
            .collect();
        known.sort_unstable();
        let help = match known.as_slice() {
            [] => format!("add {} {name} {{ ... }}, or take the line out", of.definition()),
            known => format!("defined are {}", known.join(", ")),
        };
        scope.error(item.name.span, message, help);
        return None;
    };
    if tracker.position > scope.position {
        let message = format!("keepalived would ignore {name:?}: it is defined after its use; Weir uses it");
        scope.advise(item.name.span, message, format!("move {} {name} up", of.definition()));
    }
    Some(Track { name: name.clone(), weight: tracker.weight, reverse: tracker.reverse })
}

/// `weight N [reverse | noreverse]` behind a name: absent altogether when the line cannot be used, absent inside when
/// nothing is said or the number is out of bounds.
fn weight(of: Of, item: &Statement, scope: &mut Scope<'_>) -> Option<Option<(i32, Option<bool>)>> {
    let Some(option) = item.args.first() else { return Some(None) };
    if option.text != "weight" {
        let message = format!("{} has no option {:?}; {IGNORED}", of.keyword(), option.text);
        scope.advise(option.span, message, format!("it is written: {USE}"));
        return None;
    }
    if item.args.len() < 2 {
        scope.warn(option.span, format!("weight has no value; {IGNORED}"));
        return None;
    }
    let limit = of.limit();
    let line = Line::new(item);
    let weight = line.loose_number::<i32>(1, -254..=254, "the weight of the definition is used", scope);
    let weight = weight.map(|weight| {
        let bounded = weight.clamp(-limit, limit);
        if bounded != weight {
            scope.warn(line.span_of(1), format!("a weight is at most {limit}; {bounded} is used"));
        }
        bounded
    });
    let reverse = match line.text(2) {
        None => None,
        Some("reverse") => Some(true),
        Some("noreverse") => Some(false),
        Some(other) => {
            scope.warn(line.span_of(2), format!("a weight has no option {other:?}; it is ignored"));
            None
        }
    };
    Some(weight.map(|weight| (weight, reverse)))
}

fn interfaces(draft: &mut Draft, line: &Line<'_>, scope: &mut Scope<'_>) {
    uses(&mut draft.instance.track_interfaces, Of::Interface, line, scope);
}

fn scripts(draft: &mut Draft, line: &Line<'_>, scope: &mut Scope<'_>) {
    uses(&mut draft.instance.track_scripts, Of::Tracker(Kind::Script), line, scope);
}

fn processes(draft: &mut Draft, line: &Line<'_>, scope: &mut Scope<'_>) {
    uses(&mut draft.instance.track_processes, Of::Tracker(Kind::Process), line, scope);
}

fn files(draft: &mut Draft, line: &Line<'_>, scope: &mut Scope<'_>) {
    uses(&mut draft.instance.track_files, Of::Tracker(Kind::File), line, scope);
}

fn group_interfaces(draft: &mut GroupDraft, line: &Line<'_>, scope: &mut Scope<'_>) {
    uses(&mut draft.group.track_interfaces, Of::Interface, line, scope);
}

fn group_scripts(draft: &mut GroupDraft, line: &Line<'_>, scope: &mut Scope<'_>) {
    uses(&mut draft.group.track_scripts, Of::Tracker(Kind::Script), line, scope);
}

fn group_processes(draft: &mut GroupDraft, line: &Line<'_>, scope: &mut Scope<'_>) {
    uses(&mut draft.group.track_processes, Of::Tracker(Kind::Process), line, scope);
}

fn group_files(draft: &mut GroupDraft, line: &Line<'_>, scope: &mut Scope<'_>) {
    uses(&mut draft.group.track_files, Of::Tracker(Kind::File), line, scope);
}

/// A dead upstream is dead for all nodes that share it, so it may move a priority and never give an address away.
fn upstreams(draft: &mut Draft, line: &Line<'_>, scope: &mut Scope<'_>) {
    for item in line.items() {
        let options = Line::new(item);
        let name = &item.name.text;
        if options.text(0) != Some("weight") || item.args.len() != 2 {
            let message = format!("track_upstream {name} has no weight; {IGNORED}");
            scope.advise(item.span, message, "it is written: NAME weight N");
            continue;
        }
        let Some(weight) = options.number(1, -253..=253, IGNORED, scope) else { continue };
        if weight == 0 {
            let message = format!("track_upstream {name} has weight 0, which changes nothing; {IGNORED}");
            let help = "an upstream never makes a fault: give a weight other than 0, such as -20";
            scope.advise(options.span_of(1), message, help);
            continue;
        }
        let tracks = &mut draft.instance.track_upstreams;
        if tracks.iter().any(|other| other.name == *name) {
            scope.warn(item.name.span, format!("{name:?} is tracked here before; {IGNORED}"));
        } else {
            tracks.push(Track { name: name.clone(), weight, reverse: false });
        }
    }
}

/// `[on | off | weight N]`
pub(crate) fn track_proxy(line: &Line<'_>, scope: &mut Scope<'_>) -> Option<TrackProxy> {
    if line.text(0) != Some("weight") {
        if let Some(word) = line.words().get(1) {
            scope.warn(word.span, format!("{:?} is one word too many; it is ignored", word.text));
        }
        return line.flag(scope).map(|on| if on { TrackProxy::Fault } else { TrackProxy::Off });
    }
    if line.words().len() < 2 {
        scope.warn(line.span(), format!("weight has no value; {IGNORED}"));
        return None;
    }
    let weight = line.number(1, -253..=253, IGNORED, scope)?;
    // As with every tracker, weight 0 makes a failure a fault.
    Some(if weight == 0 { TrackProxy::Fault } else { TrackProxy::Weight(weight) })
}

fn own_proxy(draft: &mut Draft, line: &Line<'_>, scope: &mut Scope<'_>) {
    draft.track_proxy = track_proxy(line, scope).or(draft.track_proxy);
}

/// Takes the trackers with a weight out of a list and says so; `reason` ends the sentence.
pub(crate) fn drop_weighted(tracks: &mut Vec<Track>, at: Span, reason: &str, scope: &mut Scope<'_>) {
    tracks.retain(|track| {
        if track.weight != 0 {
            let message = format!("{:?} with weight {} is not tracked: {reason}", track.name, track.weight);
            scope.warn(at, message);
        }
        track.weight == 0
    });
}

/// The same for files. Weight 1 is what a file has of which nothing is said, so it becomes 0 and the file stays.
pub(crate) fn drop_weighted_files(tracks: &mut Vec<Track>, at: Span, reason: &str, scope: &mut Scope<'_>) {
    for track in tracks.iter_mut().filter(|track| track.weight == 1) {
        scope.warn(at, format!("{:?} is tracked with weight 0: {reason}", track.name));
        track.weight = 0;
    }
    drop_weighted(tracks, at, reason, scope);
}
