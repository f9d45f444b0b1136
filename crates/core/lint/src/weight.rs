//! How far trackers can move the priority of an instance.

use weir_model::vrrp::{Instance, Track, TrackProxy, Vrrp};

/// What weights make of a priority.
#[derive(Clone, Debug)]
pub(crate) struct Reach {
    /// With everything well, and with everything that has a weight failed; both within 1 to 254.
    pub(crate) best: i32,
    pub(crate) worst: i32,
    /// The trackers that have a weight.
    pub(crate) weights: Vec<Weight>,
    /// A file with a weight is tracked: its number can be anything.
    pub(crate) open: bool,
}

/// A tracker that has a weight.
#[derive(Clone, Debug)]
pub(crate) struct Weight {
    /// `track_script`
    pub(crate) list: &'static str,
    pub(crate) name: String,
    pub(crate) weight: i32,
    /// It stands in a sync group.
    pub(crate) group: bool,
}

impl Reach {
    pub(crate) fn of(instance: &Instance, vrrp: &Vrrp) -> Self {
        let base = i32::from(instance.priority);
        if instance.is_owner() {
            return Self { best: base, worst: base, weights: Vec::new(), open: false };
        }
        let mut weights = Vec::new();
        let mut open = instance.track_files.iter().any(|track| track.weight != 0);
        for (list, tracks) in [
            ("track_interface", &instance.track_interfaces),
            ("track_script", &instance.track_scripts),
            ("track_process", &instance.track_processes),
            ("track_upstream", &instance.track_upstreams),
        ] {
            weights.extend(weighted(list, tracks, false));
        }
        if let TrackProxy::Weight(weight) = instance.track_proxy {
            weights.push(Weight { list: "track_proxy", name: String::new(), weight, group: false });
        }
        for group in vrrp.groups.iter().filter(|group| group.members.contains(&instance.name)) {
            open |= group.track_files.iter().any(|track| track.weight != 0);
            for (list, tracks) in [
                ("track_interface", &group.track_interfaces),
                ("track_script", &group.track_scripts),
                ("track_process", &group.track_processes),
            ] {
                weights.extend(weighted(list, tracks, true));
            }
        }
        let sum = |positive: bool| -> i32 {
            weights.iter().map(|one| one.weight).filter(|weight| (*weight > 0) == positive).sum()
        };
        let clamp = |priority: i32| priority.clamp(1, i32::from(Instance::OWNER) - 1);
        Self { best: clamp(base + sum(true)), worst: clamp(base + sum(false)), weights, open }
    }
}

/// `reverse` swaps when a weight counts, not how far it moves.
fn weighted(list: &'static str, tracks: &[Track], group: bool) -> impl Iterator<Item = Weight> {
    let found = tracks.iter().filter(|track| track.weight != 0);
    found.map(move |track| Weight { list, name: track.name.clone(), weight: track.weight, group })
}

impl std::fmt::Display for Weight {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        if self.name.is_empty() {
            return write!(f, "{}", self.list);
        }
        write!(f, "{} {}", self.list, self.name)
    }
}
