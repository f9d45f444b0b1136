//! How the commands of one terminal speak to a release that runs in another: a word in the store.

use std::time::Duration;

use serde::{Deserialize, Serialize};

use crate::store::{Store, StoreError};

/// The word's name.
const NAME: &str = "order";

/// Between two looks.
pub(crate) const PERIOD: Duration = Duration::from_millis(500);

/// What a release that runs is told.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case", tag = "order")]
pub enum Order {
    /// The canary goes on.
    Promote { by: String },
    /// Nothing more is released.
    Abort { by: String },
    /// Somebody replaced this server; absent: the one that is waited for.
    Continue { server: Option<String>, by: String },
}

impl Order {
    /// Who gave it.
    #[must_use]
    pub fn by(&self) -> &str {
        match self {
            Self::Promote { by } | Self::Abort { by } | Self::Continue { by, .. } => by,
        }
    }
}

impl Store {
    /// Leaves an order for the release that runs, in place of one that it has not read yet.
    ///
    /// # Errors
    /// When the store refuses.
    pub async fn give_order(&self, order: &Order) -> Result<(), StoreError> {
        let text = serde_json::to_string(order)
            .map_err(|error| StoreError::unreadable(NAME, error, "what JSON can say"))?;
        self.set_word(NAME, Some(&text)).await
    }

    /// Whether no order waits to be read.
    ///
    /// # Errors
    /// When the store refuses.
    pub async fn order_was_taken(&self) -> Result<bool, StoreError> {
        Ok(self.word(NAME).await?.is_none())
    }

    /// Takes the order that waits; one that cannot be read is thrown away.
    pub(crate) async fn take_order(&self) -> Result<Option<Order>, StoreError> {
        let Some(text) = self.word(NAME).await? else { return Ok(None) };
        self.set_word(NAME, None).await?;
        Ok(serde_json::from_str(&text).ok())
    }
}
