//! The last good list of one source.

use weir_model::PeerList;

/// What is known of the peers of a source.
#[derive(Clone, Debug, Default)]
pub struct Known {
    list: Option<PeerList>,
}

/// What a new list changes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Verdict {
    Nothing,
    /// The peers are the same; the source's count, its notes or who says it differ.
    Index,
    Peers,
}

/// A list without a peer is not believed: the upsync module's `cannot delete all peers`.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{}; {}", said(.rejected), remaining(*kept))]
pub struct Refusal {
    /// The peers that stay.
    pub kept: usize,
    pub rejected: Vec<String>,
}

fn said(rejected: &[String]) -> String {
    match rejected {
        [] => "it lists no peer".to_owned(),
        [first, ..] => format!("it lists no usable peer, {} rejected, the first: {first}", rejected.len()),
    }
}

const fn remaining(peers: usize) -> &'static str {
    if peers == 0 { "at least one is expected" } else { "cannot delete all peers" }
}

impl Known {
    /// With a list from the disk.
    #[must_use]
    pub fn remembered(list: Option<PeerList>) -> Self {
        Self { list: list.map(|list| PeerList { remembered: true, ..list }) }
    }

    #[must_use]
    pub const fn list(&self) -> Option<&PeerList> {
        self.list.as_ref()
    }

    /// Takes a list that the source gave.
    ///
    /// # Errors
    /// When it is empty: the old one stays.
    pub fn adopt(&mut self, new: PeerList) -> Result<Verdict, Refusal> {
        if new.peers.is_empty() {
            let kept = self.list.as_ref().map_or(0, |list| list.peers.len());
            return Err(Refusal { kept, rejected: new.rejected });
        }
        let verdict = match &self.list {
            Some(old) if *old == new => return Ok(Verdict::Nothing),
            Some(old) if old.peers == new.peers => Verdict::Index,
            _ => Verdict::Peers,
        };
        self.list = Some(new);
        Ok(verdict)
    }
}
