//! Who is released, in which order and in which batches; and whether enough others serve meanwhile.

use std::collections::{BTreeMap, HashSet};

use crate::moment::Moment;
use crate::plan::Plan;
use crate::refusal::Refusal;
use crate::server::{Role, ServerProgress};
use crate::view::PeerView;

/// The servers in order, and how many others have to serve whenever one is taken out.
pub(crate) struct Queue {
    pub(crate) servers: Vec<ServerProgress>,
    pub(crate) minimum: usize,
}

impl Queue {
    /// `left`: servers that an earlier release left drained.
    ///
    /// # Errors
    /// Why the plan cannot be carried out on these servers.
    pub(crate) fn new(
        plan: &Plan,
        view: &[PeerView],
        left: &[ServerProgress],
        now: Moment,
    ) -> Result<Self, Refusal> {
        check_names(plan, view)?;
        let spare = |peer: &&PeerView| plan.batch.surge.contains(&peer.address);
        if let Some(peer) = view.iter().filter(spare).find(|peer| peer.serving) {
            return Err(Refusal::SpareServes { server: peer.address.clone() });
        }
        let released = released(plan, view, left);
        if released.is_empty() {
            return Err(Refusal::NothingToDo { upstream: plan.upstream.clone() });
        }
        let most = released.len();
        let size = plan.batch.max_unavailable.floor(most).max(1);
        if size > most {
            return Err(Refusal::BatchTooBig { size, servers: most });
        }
        let mut servers: Vec<ServerProgress> = Vec::with_capacity(view.len());
        let canary = usize::from(!plan.canary.is_empty());
        for (place, peer) in released.iter().enumerate() {
            let role = if is_ordered(peer, left) { Role::Held } else { Role::Released };
            // A canary makes a batch of its own.
            let batch = if place < canary { 0 } else { (place - canary) / size + canary };
            servers.push(ServerProgress::new(&peer.address, role, Some(batch), now));
        }
        for peer in view.iter().filter(|peer| !released.iter().any(|r| r.address == peer.address)) {
            if spare(&peer) {
                servers.push(ServerProgress::new(&peer.address, Role::Spare, None, now));
            } else if plan.servers.is_empty() || left.iter().any(|left| left.address == peer.address) {
                servers.push(ServerProgress::new(&peer.address, Role::Skipped, None, now));
            }
        }
        for server in &mut servers {
            let known = left.iter().find(|left| left.address == server.address && server.role != Role::Spare);
            let Some(known) = known.filter(|_| is_out(view, &server.address)) else { continue };
            (server.out, server.touched) = (true, known.touched);
        }
        let queue = Self { minimum: minimum(plan, view, left), servers };
        queue.check_minimum(view)?;
        Ok(queue)
    }

    /// Takes every batch out in turn; servers of earlier batches and spares are taken as serving by then.
    fn check_minimum(&self, view: &[PeerView]) -> Result<(), Refusal> {
        let mut serving: HashSet<&str> = view
            .iter()
            .filter(|peer| peer.serving && !peer.backup)
            .map(|peer| peer.address.as_str())
            .collect();
        let primary = |address: &str| view.iter().any(|peer| peer.address == address && !peer.backup);
        let spares = self.servers.iter().filter(|s| s.role == Role::Spare && primary(&s.address));
        serving.extend(spares.map(|s| s.address.as_str()));
        let mut batches: BTreeMap<usize, Vec<&ServerProgress>> = BTreeMap::new();
        for server in &self.servers {
            batches.entry(server.batch.unwrap_or(usize::MAX)).or_default().push(server);
        }
        batches.remove(&usize::MAX);
        for (batch, servers) in batches {
            let taken = servers.iter().filter(|s| serving.contains(s.address.as_str())).count();
            let left = serving.len() - taken;
            if taken > 0 && left < self.minimum {
                let servers = servers.iter().map(|s| s.address.clone()).collect();
                return Err(Refusal::BelowMinimum {
                    batch: batch + 1,
                    servers,
                    serving: left,
                    minimum: self.minimum,
                });
            }
            let back = servers.iter().filter(|s| s.role == Role::Released && primary(&s.address));
            serving.extend(back.map(|s| s.address.as_str()));
        }
        Ok(())
    }
}

fn check_names(plan: &Plan, view: &[PeerView]) -> Result<(), Refusal> {
    if view.is_empty() {
        return Err(Refusal::UnknownUpstream { upstream: plan.upstream.clone() });
    }
    let mut seen = HashSet::new();
    for server in plan.servers.iter().chain(&plan.batch.surge) {
        if !seen.insert(server) {
            return Err(Refusal::Duplicate { server: server.clone() });
        }
        if !view.iter().any(|peer| peer.address == *server) {
            let near = view.iter().map(|peer| &peer.address).min_by_key(|a| strsim::osa_distance(a, server));
            let (upstream, near) = (plan.upstream.clone(), near.cloned());
            return Err(Refusal::UnknownServer { upstream, server: server.clone(), near });
        }
    }
    Ok(())
}

/// Those that the plan names, or all that nobody took out.
fn released<'a>(plan: &Plan, view: &'a [PeerView], left: &[ServerProgress]) -> Vec<&'a PeerView> {
    if !plan.servers.is_empty() {
        let find = |address: &String| view.iter().find(|peer| peer.address == *address);
        return plan.servers.iter().filter_map(find).collect();
    }
    let spare = |peer: &PeerView| plan.batch.surge.contains(&peer.address);
    let mut released: Vec<&PeerView> =
        view.iter().filter(|peer| !is_ordered(peer, left) && !spare(peer)).collect();
    // Neighbours in the row share a batch: first those that serve nobody anyway, then one of each host in turn.
    let mut of_host: BTreeMap<(bool, &str), usize> = BTreeMap::new();
    let mut turns: BTreeMap<&str, usize> = BTreeMap::new();
    for peer in &released {
        let turn = of_host.entry((peer.serving, host(&peer.address))).or_default();
        turns.insert(&peer.address, *turn);
        *turn += 1;
    }
    released.sort_by_key(|peer| (peer.serving, turns.get(peer.address.as_str()).copied()));
    released
}

/// The part of an address before its port.
fn host(address: &str) -> &str {
    address.rsplit_once(':').map_or(address, |(host, _)| host)
}

/// Somebody else wants it out.
fn is_ordered(peer: &PeerView, left: &[ServerProgress]) -> bool {
    peer.state.is_ordered() && !left.iter().any(|left| left.address == peer.address)
}

/// Nobody has put it back meanwhile.
fn is_out(view: &[PeerView], address: &str) -> bool {
    view.iter().any(|peer| peer.address == address && peer.state.is_ordered())
}

/// So many others have to serve whenever a server is taken out.
pub(crate) fn minimum(plan: &Plan, view: &[PeerView], left: &[ServerProgress]) -> usize {
    let size = plan.batch.max_unavailable.floor(released(plan, view, left).len()).max(1);
    let counts = |peer: &&PeerView| !peer.backup && !plan.batch.surge.contains(&peer.address);
    let total = view.iter().filter(counts).count();
    match plan.batch.min_healthy {
        Some(amount) => amount.ceil(total),
        None => {
            let wanted = view.iter().filter(counts).filter(|peer| !is_ordered(peer, left)).count();
            wanted.saturating_sub(size).max(1)
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::view::PeerState;

    fn peer(address: &str, state: PeerState) -> PeerView {
        let serving = state == PeerState::Up;
        PeerView { address: address.to_owned(), weight: 1, serving, active: 0, state, backup: false }
    }

    fn plan(text: &str) -> Plan {
        Plan::parse(&format!("upstream = \"web\"\n{text}")).expect("a plan")
    }

    fn queue(text: &str, view: &[PeerView]) -> Result<Queue, Refusal> {
        Queue::new(&plan(text), view, &[], Moment(0))
    }

    fn batches(queue: &Queue) -> Vec<Vec<&str>> {
        let mut batches: Vec<Vec<&str>> = Vec::new();
        for server in &queue.servers {
            let Some(batch) = server.batch else { continue };
            batches.resize(batches.len().max(batch + 1), Vec::new());
            batches[batch].push(&server.address);
        }
        batches
    }

    fn up(addresses: &[&str]) -> Vec<PeerView> {
        addresses.iter().map(|address| peer(address, PeerState::Up)).collect()
    }

    #[test]
    fn batches_are_spread_over_hosts_and_begin_with_those_that_do_not_serve() {
        let mut view = up(&["a:1", "a:2", "b:1", "b:2", "c:1"]);
        view.push(peer("c:2", PeerState::Failed));
        view.push(peer("d:1", PeerState::Maintenance));
        let queue = queue("[batch]\nmax_unavailable = 2\nmin_healthy = 3", &view).expect("a queue");
        assert_eq!(batches(&queue), [vec!["c:2", "a:1"], vec!["b:1", "c:1"], vec!["a:2", "b:2"]]);
        assert_eq!(queue.servers.last().map(|s| (s.address.as_str(), s.role)), Some(("d:1", Role::Skipped)));
        assert_eq!(queue.minimum, 3);
    }

    #[test]
    fn an_order_in_the_plan_is_kept_and_names_servers_that_are_out() {
        let mut view = up(&["a:1", "b:1"]);
        view.push(peer("c:1", PeerState::Draining));
        let queue = queue("servers = [\"c:1\", \"b:1\"]", &view).expect("a queue");
        assert_eq!(batches(&queue), [vec!["c:1"], vec!["b:1"]]);
        assert_eq!(queue.servers[0].role, Role::Held);
        assert_eq!(queue.servers.len(), 2);
    }

    #[test]
    fn a_canary_makes_a_batch_of_its_own() {
        let text = "canary = [{ percent = 5, pause = \"manual\" }]\n[batch]\nmax_unavailable = 2";
        assert_eq!(
            batches(&queue(text, &up(&["a:1", "b:1", "c:1", "d:1"])).expect("a queue")),
            [vec!["a:1"], vec!["b:1", "c:1"], vec!["d:1"]]
        );
    }

    #[test]
    fn what_cannot_be_carried_out_is_refused_with_a_reason() {
        let three = up(&["a:1", "b:1", "c:1"]);
        let refused = |text: &str, view: &[PeerView]| queue(text, view).err().expect("a refusal");
        assert_eq!(refused("", &[]), Refusal::UnknownUpstream { upstream: "web".to_owned() });
        assert_eq!(
            refused("servers = [\"b:11\"]", &three).to_string(),
            "server b:11 is not in upstream web; did you mean b:1?"
        );
        assert_eq!(
            refused("servers = [\"a:1\", \"b:1\", \"a:1\"]", &three),
            Refusal::Duplicate { server: "a:1".to_owned() }
        );
        assert_eq!(
            refused("[batch]\nmax_unavailable = 4", &three),
            Refusal::BatchTooBig { size: 4, servers: 3 }
        );
        assert_eq!(
            refused("[batch]\nsurge = [\"c:1\"]", &three),
            Refusal::SpareServes { server: "c:1".to_owned() }
        );
        assert_eq!(
            refused("", &[peer("a:1", PeerState::Down)]),
            Refusal::NothingToDo { upstream: "web".to_owned() }
        );
        assert_eq!(
            refused("[batch]\nmax_unavailable = 2\nmin_healthy = 2", &three).to_string(),
            "batch 1 (a:1, b:1) would leave 1 server serving, the minimum is 2; make batches smaller, \
             lower batch.min_healthy, or bring other servers up first"
        );
    }

    #[test]
    fn only_servers_that_serve_now_count() {
        let mut view = up(&["a:1", "b:1"]);
        view.push(peer("c:1", PeerState::Failed));
        let text = "servers = [\"a:1\"]\n[batch]\nmin_healthy = 2";
        assert!(matches!(
            queue(text, &view),
            Err(Refusal::BelowMinimum { batch: 1, serving: 1, minimum: 2, .. })
        ));
        // The one that failed is released first, so it serves when the others go.
        assert!(queue("[batch]\nmin_healthy = 2", &view).is_ok());
        view[2].backup = true;
        view[2].serving = true;
        assert!(queue(text, &view).is_err(), "a backup is no replacement");
    }

    #[test]
    fn the_last_server_needs_a_word() {
        assert!(matches!(
            queue("", &up(&["a:1"])),
            Err(Refusal::BelowMinimum { serving: 0, minimum: 1, .. })
        ));
        assert!(queue("[batch]\nmin_healthy = 0", &up(&["a:1"])).is_ok());
        assert!(queue("[batch]\nmax_unavailable = \"100%\"", &up(&["a:1", "b:1"])).is_err());
    }

    #[test]
    fn a_spare_stands_in() {
        let mut view = up(&["a:1", "b:1"]);
        let text = "[batch]\nmin_healthy = 2\nsurge = [\"c:1\"]";
        view.push(peer("c:1", PeerState::Draining));
        let queue = queue(text, &view).expect("a queue");
        assert_eq!(queue.servers[2].role, Role::Spare);
    }
}
