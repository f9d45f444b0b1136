//! Notify scripts: one queue for each instance and group, in order, one at a time.
//!
//! keepalived starts them all at once, so the script of an old state may end after that of the new one.

use std::collections::{BTreeMap, VecDeque};
use std::time::Duration;

use weir_model::vrrp::Script;
use weir_vrrp::{Notice, Subject};

/// After this a script that hangs is ended, so that the queue goes on.
pub(super) const LIMIT: Duration = Duration::from_secs(60);

/// One run of a notify script.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Job {
    pub(super) script: Script,
    /// Further arguments, after the script's own.
    pub(super) words: Vec<String>,
}

/// Whose queue.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub(super) struct QueueId(u32);

#[derive(Debug)]
struct Queue {
    id: QueueId,
    waiting: VecDeque<Job>,
    busy: bool,
}

/// All queues. One that is empty costs an entry.
#[derive(Debug, Default)]
pub(super) struct Queues {
    /// key: kind and name of the subject
    queues: BTreeMap<(&'static str, String), Queue>,
}

impl Queues {
    /// Puts the scripts of a notice behind those that wait: the one for the state, then the one for all states.
    pub(super) fn push(&mut self, notice: &Notice) {
        let (kind, name) = subject_words(&notice.subject);
        let specific = notice.script.iter().map(|script| Job { script: script.clone(), words: Vec::new() });
        let any = notice.any.iter().map(|script| {
            let (state, priority) = (notice.state.word(), notice.priority);
            let words = vec![kind.into(), name.into(), state.into(), priority.to_string()];
            Job { script: script.clone(), words }
        });
        let jobs: Vec<Job> = specific.chain(any).collect();
        if jobs.is_empty() {
            return;
        }
        let next = QueueId(u32::try_from(self.queues.len()).unwrap_or(u32::MAX));
        let queue = self.queues.entry((kind, name.to_owned()));
        let queue = queue.or_insert_with(|| Queue { id: next, waiting: VecDeque::new(), busy: false });
        queue.waiting.extend(jobs);
    }

    /// The jobs to start now; each makes its queue busy until [`Self::ended`].
    pub(super) fn take(&mut self) -> Vec<(QueueId, Job)> {
        let idle = self.queues.values_mut().filter(|q| !q.busy);
        let mut jobs = Vec::new();
        for queue in idle {
            if let Some(job) = queue.waiting.pop_front() {
                queue.busy = true;
                jobs.push((queue.id, job));
            }
        }
        jobs
    }

    /// The job of a queue has ended.
    pub(super) fn ended(&mut self, id: QueueId) {
        if let Some(queue) = self.queues.values_mut().find(|q| q.id == id) {
            queue.busy = false;
        }
    }

    /// Whose queue it is, for people: `instance edge`.
    pub(super) fn name(&self, id: QueueId) -> String {
        let found = self.queues.iter().find(|(_, q)| q.id == id);
        found.map_or_else(String::new, |((kind, name), _)| format!("{} {name}", kind.to_lowercase()))
    }

    /// Whether nothing runs and nothing waits.
    pub(super) fn is_idle(&self) -> bool {
        self.queues.values().all(|q| !q.busy && q.waiting.is_empty())
    }

    /// jobs that have not been started
    pub(super) fn waiting(&self) -> usize {
        self.queues.values().map(|q| q.waiting.len()).sum()
    }
}

/// keepalived's words for a subject, in pipes and arguments.
pub(super) fn subject_words(subject: &Subject) -> (&'static str, &str) {
    match subject {
        Subject::Instance(name) => ("INSTANCE", name),
        Subject::Group(name) => ("GROUP", name),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use weir_vrrp::NoticeState;

    fn notice(subject: Subject, state: NoticeState, any: bool) -> Notice {
        let script = |name: &str| Script { argv: vec![name.into()], user: None };
        Notice {
            subject,
            state,
            priority: 100,
            script: Some(script(state.word())),
            any: any.then(|| script("any")),
            mail: false,
        }
    }

    fn names(jobs: &[(QueueId, Job)]) -> Vec<&str> {
        jobs.iter().map(|(_, job)| job.script.argv[0].as_str()).collect()
    }

    #[test]
    fn one_queue_runs_one_job_at_a_time_in_order() {
        let mut queues = Queues::default();
        let edge = || Subject::Instance("edge".into());
        queues.push(&notice(edge(), NoticeState::Backup, true));
        queues.push(&notice(edge(), NoticeState::Master, false));
        let mut seen = Vec::new();
        while let [(id, job)] = queues.take().as_slice() {
            assert!(queues.take().is_empty(), "a second job of a busy queue");
            seen.push((job.script.argv[0].clone(), job.words.join(" ")));
            queues.ended(*id);
        }
        let want = [("BACKUP", ""), ("any", "INSTANCE edge BACKUP 100"), ("MASTER", "")];
        assert_eq!(seen, want.map(|(a, b)| (a.to_owned(), b.to_owned())));
        assert!(queues.is_idle());
    }

    #[test]
    fn a_busy_queue_does_not_hold_up_another() {
        let mut queues = Queues::default();
        queues.push(&notice(Subject::Instance("edge".into()), NoticeState::Master, false));
        let first = queues.take();
        queues.push(&notice(Subject::Group("edge".into()), NoticeState::Backup, false));
        assert_eq!(names(&queues.take()), ["BACKUP"]);
        assert_eq!(queues.name(first[0].0), "instance edge");
        assert!(!queues.is_idle());
    }
}
