//! Another plan for a release that was begun: how it goes on may change, what it is may not.

use crate::plan::Plan;
use crate::refusal::Refusal;

impl Plan {
    /// The plan of a release that goes on with what `given` says, and the keys that are others then. Each counts whole, the driver
    /// or the gate with all that is in it; what `given` leaves at its default stays: it may have been a flag. Where the release is carried out (proxies, store) is not compared.
    ///
    /// # Errors
    /// [`Refusal::AnotherRelease`].
    pub fn replanned(&self, given: &Self) -> Result<(Self, Vec<&'static str>), Refusal> {
        let (mut plan, default, mut changed) = (self.clone(), Self::default(), Vec::new());
        macro_rules! take {
            ($($key:literal: $($field:ident).+;)*) => {$(
                if given.$($field).+ != default.$($field).+ && given.$($field).+ != self.$($field).+ {
                    plan.$($field).+.clone_from(&given.$($field).+);
                    changed.push($key);
                }
            )*};
        }
        take! {
            "servers": servers;
            "batch.max_unavailable": batch.max_unavailable;
            "batch.min_healthy": batch.min_healthy;
            "batch.surge": batch.surge;
            "canary": canary;
            "version.new": version.new;
            "version.old": version.old;
            "drain": drain;
            "driver": driver;
            "gate": gate;
            "warm": warm;
            "watch": watch;
            "slow_start": slow_start;
            "hooks": hooks;
            "on_failure": on_failure;
            "proxy_timeout": proxy_timeout;
        }
        self.lets(&plan)?;
        Ok((plan, changed))
    }

    /// Whether a release that was begun with this plan can go on with `plan`: its servers are lined up in batches, and some of
    /// them have the new version.
    ///
    /// # Errors
    /// [`Refusal::AnotherRelease`].
    pub fn lets(&self, plan: &Self) -> Result<(), Refusal> {
        let fixed = [
            ("servers", self.servers == plan.servers),
            ("batch.max_unavailable", self.batch.max_unavailable == plan.batch.max_unavailable),
            ("batch.surge", self.batch.surge == plan.batch.surge),
            ("canary", self.canary == plan.canary),
            ("version.new", self.version.new == plan.version.new),
        ];
        match fixed.into_iter().find(|(_, same)| !same) {
            Some((key, _)) => Err(Refusal::AnotherRelease { upstream: self.upstream.clone(), key }),
            None => Ok(()),
        }
    }
}
