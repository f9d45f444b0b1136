//! Releases that ended, one key each, the oldest forgotten.

use weir_rollout::History;

use crate::store::{Store, StoreError, document, parse};

/// So many are kept.
const KEPT: usize = 200;

impl Store {
    /// Adds a release that ended. Doing it twice adds it once.
    ///
    /// # Errors
    /// When the store refuses.
    pub async fn append_history(&self, release: &History) -> Result<(), StoreError> {
        let core = &self.core;
        // Moments of 13 digits until the year 2286: the order of the keys is that of time.
        let key = core.key(&format!("history/{:013}-{:013}", release.started.0, release.ended.0));
        let value = document(&key, release)?;
        core.link.patiently(|| core.kv.put(&key, &value, None)).await?;
        let prefix = core.key("history/");
        let items = core.link.patiently(|| core.kv.list(&prefix)).await?;
        for item in items.iter().take(items.len().saturating_sub(KEPT)) {
            core.link.patiently(|| core.kv.delete(item)).await?;
        }
        Ok(())
    }

    /// The releases that ended, the oldest first.
    ///
    /// # Errors
    /// When the store refuses, or one of them is unreadable.
    pub async fn history(&self) -> Result<Vec<History>, StoreError> {
        let core = &self.core;
        let prefix = core.key("history/");
        let items = core.link.patiently(|| core.kv.list(&prefix)).await?;
        items.iter().map(|item| parse(item, "a release that ended")).collect()
    }
}
