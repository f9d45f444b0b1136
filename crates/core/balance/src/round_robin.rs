//! Smooth weighted round robin: 5, 1, 1 gives a a b a c a a, not a a a a a b c.

use crate::group::List;
use crate::peer::Peer;
use crate::selector::Turn;

/// The running weights of one peer in one thread.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Weights {
    /// What the peer has saved up; the highest is chosen and pays the total.
    pub(crate) current: i64,
    /// What it saves each turn: its weight, less after failures.
    effective: u32,
    /// Attempts of this thread that run.
    pub(crate) running: u32,
}

impl Weights {
    pub(crate) fn new(peer: &Peer) -> Weights {
        Weights { current: 0, effective: peer.weight(), running: 0 }
    }

    /// The weights of a peer that stays while its group changes, and perhaps the scale of the group with it.
    pub(crate) fn kept(self, peer: &Peer, old: &Peer, scale: Change) -> Weights {
        let same = (peer.spec.weight, peer.spec.share) == (old.spec.weight, old.spec.share);
        let effective = if same { scale.of(self.effective.into()) } else { peer.weight().into() };
        let effective = u32::try_from(effective).unwrap_or(u32::MAX);
        Weights { current: scale.of(self.current), effective, running: 0 }
    }

    /// One turn's saving. The effective weight recovers by one a turn, in the scale of the group.
    pub(crate) fn raise(&mut self, weight: u32, scale: u32) -> i64 {
        let raised = i64::from(self.effective);
        self.current += raised;
        if self.effective < weight {
            self.effective = self.effective.saturating_add(scale).min(weight);
        }
        raised
    }

    /// A failure costs a share of the weight, so that `max_fails` of them cost all of it.
    pub(crate) fn punish(&mut self, peer: &Peer) {
        if let Some(cost) = peer.weight().checked_div(peer.spec.max_fails) {
            self.effective = self.effective.saturating_sub(cost);
        }
    }
}

/// From the scale of one group to that of the next.
#[derive(Clone, Copy)]
pub(crate) struct Change {
    pub(crate) from: u32,
    pub(crate) to: u32,
}

impl Change {
    fn of(self, value: i64) -> i64 {
        value.saturating_mul(self.to.into()) / i64::from(self.from)
    }
}

pub(crate) fn pick<'a>(turn: &mut Turn<'a>, list: &'a List) -> Option<usize> {
    let sticky = turn.hinted(list);
    if let Some(index) = sticky {
        // A peer deep in debt is taken without raising the others, or the debt would grow without bound and shut
        // it off from new clients for as long.
        let others = list.total_weight - u64::from(turn.peer(index).weight());
        if i128::from(turn.weights[index].current) <= -i128::from(others) {
            return Some(index);
        }
    }
    let mut best: Option<usize> = None;
    let mut total = 0;
    for index in list.range.clone() {
        if !turn.is_open(index) {
            continue;
        }
        total += turn.raise(index);
        if best.is_none_or(|best| turn.weights[index].current > turn.weights[best].current) {
            best = Some(index);
        }
    }
    let chosen = sticky.or(best)?;
    turn.weights[chosen].current -= total;
    Some(chosen)
}
