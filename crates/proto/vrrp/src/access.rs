//! What the shell looks up by itself.

use weir_model::vrrp::{Instance, Vrrp};

use crate::node::Node;
use crate::{Assets, InstanceId, router, vmac_device};

/// What a master of the instance holds, and where.
#[must_use]
pub fn assets(config: &Vrrp, instance: &Instance) -> Assets {
    router::assets(instance, vmac_device(config, &instance.name))
}

impl Node {
    /// The configuration that is in force.
    #[must_use]
    pub fn config(&self) -> &Vrrp {
        &self.config
    }

    /// The name of an instance, as long as it is configured.
    #[must_use]
    pub fn name(&self, instance: InstanceId) -> Option<&str> {
        let router = self.routers.iter().find(|router| router.id == instance)?;
        Some(&router.config.name)
    }
}
