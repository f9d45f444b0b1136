//! The index of a blocking query.

/// The index that the next question carries, by the rules that Consul's documents give clients
/// (developer.hashicorp.com/consul/api-docs/features/blocking): at least 1 once something was answered, back to 0 when
/// an answer has a lower one.
///
/// A question with an index above the store's own blocks for the whole wait, so the index also goes back to 0 whenever
/// the store may be another one: after each lost connection.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Index {
    last: u64,
}

/// What the index of an answer means.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Answer {
    /// The answer has to be read; it may well say the same as the one before.
    Moved,
    /// Nothing changed: the wait is over.
    Same,
    /// The store went back. The answer is not believed; the same is asked again from 0.
    Lower,
    /// The store does not count, so it can only be asked now and then.
    Absent,
}

impl Index {
    /// What to ask with; 0 is answered at once.
    #[must_use]
    pub const fn question(self) -> u64 {
        self.last
    }

    /// Takes the index of an answer.
    pub fn answered(&mut self, index: Option<u64>) -> Answer {
        let (last, answer) = match index.map(|index| index.max(1)) {
            None => (0, Answer::Absent),
            Some(index) if index < self.last => (0, Answer::Lower),
            Some(index) if index == self.last => (index, Answer::Same),
            Some(index) => (index, Answer::Moved),
        };
        self.last = last;
        answer
    }

    /// The connection is lost.
    pub fn restart(&mut self) {
        self.last = 0;
    }
}
