//! The places of a match, in a value that is used again.

use std::ops::Range;

/// Groups that are kept without allocation: the whole match and `$1` to `$9`.
const NEAR: usize = 10;

/// Where the groups of the last match stood. One value serves any number of matches of any patterns.
#[derive(Clone, Debug, Default)]
pub struct Captures {
    near: [Option<(u32, u32)>; NEAR],
    far: Vec<Option<(u32, u32)>>,
    /// Groups with the whole match; 0 without a match.
    len: usize,
}

impl Captures {
    /// No match yet.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// Range in bytes of a group; 0 is the whole match. `None` when the group does not exist or took no part.
    #[must_use]
    pub fn group(&self, index: usize) -> Option<Range<usize>> {
        if index >= self.len {
            return None;
        }
        let slot =
            if index < NEAR { self.near[index] } else { self.far.get(index - NEAR).copied().flatten() };
        slot.map(|(start, end)| start as usize..end as usize)
    }

    /// The bytes of a group in the text that was matched; empty when it took no part.
    #[must_use]
    pub fn text<'t>(&self, text: &'t [u8], index: usize) -> &'t [u8] {
        self.group(index).and_then(|range| text.get(range)).unwrap_or_default()
    }

    /// The number of groups of the last match with the whole match; 0 when there was none.
    #[must_use]
    pub fn len(&self) -> usize {
        self.len
    }

    /// Whether there was no match.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.len == 0
    }

    /// Forgets the last match.
    pub fn clear(&mut self) {
        self.len = 0;
        self.far.clear();
    }

    pub(crate) fn fill(&mut self, groups: impl ExactSizeIterator<Item = Option<(usize, usize)>>) {
        self.far.clear();
        self.len = groups.len();
        for (index, group) in groups.enumerate() {
            let group =
                group.and_then(|(start, end)| Some((u32::try_from(start).ok()?, u32::try_from(end).ok()?)));
            if index < NEAR {
                self.near[index] = group;
            } else {
                self.far.push(group);
            }
        }
    }
}
