//! What holds whenever a command is given, whenever a server is taken out, and at the end.

use std::collections::BTreeSet;

use weir_rollout::{
    Action, Command, Course, OnTimeout, Outcome, Phase, Progress, Role, Rollout, ServerProgress, State, Step,
};

use crate::world::{World, server_of};

impl World {
    /// Whether a command may be given now.
    pub(crate) fn check_given(&self, rollout: &Rollout, command: &Command) {
        let Some(server) = server_of(&command.action) else { return };
        let progress = rollout.progress();
        let kept = progress.servers.iter().find(|s| s.address == server).expect("a server of the release");
        match rollout.phase() {
            // A store that was away forgot that it is drained: it is drained again, or serves on where it cannot be spared.
            _ if matches!(kept.course, Course::Expel | Course::TurnBack) => {}
            Phase::Batch(n) => assert_eq!(kept.batch, Some(n), "{command:?} is for another batch"),
            Phase::Raising | Phase::Lowering => {
                assert_eq!(kept.role, Role::Spare, "{command:?} is for no spare")
            }
            Phase::Undoing => assert!(kept.batch.is_some(), "{command:?} in undoing"),
            _ => assert!(kept.batch.is_some() && !kept.touched, "{command:?} in {:?}", rollout.phase()),
        }
        assert_ne!(kept.role, Role::Skipped, "{command:?} is for a server of somebody else");
        let writes = matches!(
            command.action,
            Action::SetDrain { .. } | Action::SetUp { .. } | Action::Stop { .. } | Action::Start { .. }
        );
        if writes {
            let saved = self.saved.as_ref().and_then(|p| p.servers.iter().find(|s| s.address == server));
            let saved = saved.expect("the intention is written down before");
            let known = (saved.out, saved.touched, saved.course, saved.step);
            assert_eq!(known, (kept.out, kept.touched, kept.course, kept.step), "{command:?}");
        }
        match &command.action {
            Action::Stop { .. } | Action::Rollback { .. } => {
                let peer = &self.peers[server];
                assert!(peer.down && !peer.applied, "{command:?} while clients may come");
                let allowed = rollout.plan().drain.on_timeout != OnTimeout::Abort;
                assert!(!peer.faults.stuck || allowed, "{command:?} while requests run");
            }
            Action::SetUp { .. } if kept.course == Course::Upgrade => {
                assert_eq!(self.peers[server].version, 1, "{command:?} puts the old version back");
            }
            _ => {}
        }
    }

    /// By what the release has just seen, and by what it has decided before, enough others serve without those that it takes out now.
    pub(crate) fn check_room(&self, before: &Progress, after: &Progress, seen: &BTreeSet<String>) {
        let taken = |progress: &Progress| -> BTreeSet<String> {
            let gone = |kept: &&ServerProgress| kept.out || kept.step == Step::Drain;
            progress.servers.iter().filter(gone).map(|kept| kept.address.clone()).collect()
        };
        let (out, now) = (taken(before), taken(after));
        for server in now.difference(&out).filter(|server| seen.contains(*server)) {
            let others = seen.difference(&now).count();
            let minimum = after.min_healthy;
            assert!(others >= minimum, "draining {server} leaves {others} of at least {minimum}");
        }
    }

    /// Whatever happened: who was drained is named, and the outcome tells the truth.
    pub(crate) fn check_end(&mut self, rollout: &Rollout, outcome: &Outcome) {
        assert!(
            self.flights.iter().all(|(_, c)| !matches!(c.action, Action::Stop { .. } | Action::Start { .. }))
        );
        assert_eq!(rollout.poll_timeout(), None);
        let line = rollout.last_line();
        for row in rollout.status() {
            let peer = &self.peers[&row.server];
            assert!(line.contains(&format!("{} {}", row.server, row.state)), "{line}");
            if peer.ordered {
                continue;
            }
            if peer.down {
                assert_ne!(outcome.exit_code(), 1, "{row:?}");
                assert!(row.out, "{} is drained and nobody says so: {row:?}", row.server);
                assert!(line.contains(&format!("{} {} (drained)", row.server, row.state)), "{line}");
            } else if !self.unsure {
                assert!(
                    !row.out || self.flights.iter().any(|(_, c)| server_of(&c.action) == Some(&row.server)),
                    "{row:?}"
                );
            }
            if matches!(outcome, Outcome::Left { .. } | Outcome::Interrupted) {
                let over = line.contains("gave the release up") && !line.contains("(drained)");
                let anew = over && line.contains("begin anew when it is mended: weir rollout web");
                assert!(anew || line.contains("weir rollout resume web"), "{line}");
            }
            match (outcome, row.state) {
                (Outcome::Done, State::Done) => assert_eq!((peer.version, peer.percent), (1, 100)),
                (Outcome::Done, state) => assert_eq!(state, State::Maint, "{row:?}"),
                (Outcome::RolledBack { .. }, _) => assert_eq!(peer.version, 0, "{row:?}"),
                _ => {}
            }
        }
        if self.saved.as_ref().is_some_and(|saved| saved.outcome.is_some()) {
            assert_eq!(self.saved.as_ref().and_then(|saved| saved.outcome.as_ref()), Some(outcome));
        }
    }
}
