//! Hooks: where they run, and what they are told.

use std::fmt;

use serde::{Deserialize, Serialize};

use crate::plan::{Hooks, Plan};

/// Where a hook runs. A hook before a step that fails, fails its server; one after a step is a warning.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Stage {
    PrePlan,
    PostPlan,
    PreDrain,
    PostDrain,
    PreStop,
    PostStop,
    PreStart,
    PostStart,
    PreCheck,
    PostCheck,
    PreUndrain,
    PostUndrain,
    OnFail,
}

impl Stage {
    /// In the order in which they come.
    pub const ALL: [Self; 13] = [
        Self::PrePlan,
        Self::PreDrain,
        Self::PostDrain,
        Self::PreStop,
        Self::PostStop,
        Self::PreStart,
        Self::PostStart,
        Self::PreCheck,
        Self::PostCheck,
        Self::PreUndrain,
        Self::PostUndrain,
        Self::OnFail,
        Self::PostPlan,
    ];

    /// As a plan writes it.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::PrePlan => "pre_plan",
            Self::PostPlan => "post_plan",
            Self::PreDrain => "pre_drain",
            Self::PostDrain => "post_drain",
            Self::PreStop => "pre_stop",
            Self::PostStop => "post_stop",
            Self::PreStart => "pre_start",
            Self::PostStart => "post_start",
            Self::PreCheck => "pre_check",
            Self::PostCheck => "post_check",
            Self::PreUndrain => "pre_undrain",
            Self::PostUndrain => "post_undrain",
            Self::OnFail => "on_fail",
        }
    }

    /// A failure of the hook fails what it stands before.
    #[must_use]
    pub const fn is_binding(self) -> bool {
        matches!(
            self,
            Self::PrePlan
                | Self::PreDrain
                | Self::PreStop
                | Self::PreStart
                | Self::PreCheck
                | Self::PreUndrain
        )
    }
}

impl fmt::Display for Stage {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.name())
    }
}

impl Hooks {
    /// The shell command of a stage.
    #[must_use]
    pub fn command(&self, stage: Stage) -> Option<&str> {
        match stage {
            Stage::PrePlan => &self.pre_plan,
            Stage::PostPlan => &self.post_plan,
            Stage::PreDrain => &self.pre_drain,
            Stage::PostDrain => &self.post_drain,
            Stage::PreStop => &self.pre_stop,
            Stage::PostStop => &self.post_stop,
            Stage::PreStart => &self.pre_start,
            Stage::PostStart => &self.post_start,
            Stage::PreCheck => &self.pre_check,
            Stage::PostCheck => &self.post_check,
            Stage::PreUndrain => &self.pre_undrain,
            Stage::PostUndrain => &self.post_undrain,
            Stage::OnFail => &self.on_fail,
        }
        .as_deref()
    }

    /// The place of a stage's command.
    pub fn of(&mut self, stage: Stage) -> &mut Option<String> {
        match stage {
            Stage::PrePlan => &mut self.pre_plan,
            Stage::PostPlan => &mut self.post_plan,
            Stage::PreDrain => &mut self.pre_drain,
            Stage::PostDrain => &mut self.post_drain,
            Stage::PreStop => &mut self.pre_stop,
            Stage::PostStop => &mut self.post_stop,
            Stage::PreStart => &mut self.pre_start,
            Stage::PostStart => &mut self.post_start,
            Stage::PreCheck => &mut self.pre_check,
            Stage::PostCheck => &mut self.post_check,
            Stage::PreUndrain => &mut self.pre_undrain,
            Stage::PostUndrain => &mut self.post_undrain,
            Stage::OnFail => &mut self.on_fail,
        }
    }
}

/// What hooks and driver commands find in their environment. `stage` is a hook's name, or `stop`, `start`, `rollback`; `batch`
/// counts from 1; `result` is `ok`, `failed: REASON` or, of the whole release, the name of its outcome. What is not known is empty.
#[must_use]
pub fn environment(
    plan: &Plan,
    stage: &str,
    server: Option<&str>,
    batch: Option<usize>,
    result: Option<&str>,
) -> Vec<(&'static str, String)> {
    let text = |word: Option<&str>| word.unwrap_or_default().to_owned();
    vec![
        ("WEIR_UPSTREAM", plan.upstream.clone()),
        ("WEIR_SERVER", text(server)),
        ("WEIR_BATCH", batch.map(|batch| batch.to_string()).unwrap_or_default()),
        ("WEIR_OLD_VERSION", text(plan.version.old.as_deref())),
        ("WEIR_NEW_VERSION", text(plan.version.new.as_deref())),
        ("WEIR_STAGE", stage.to_owned()),
        ("WEIR_RESULT", text(result)),
    ]
}
