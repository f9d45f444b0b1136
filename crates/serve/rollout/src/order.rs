//! How the commands of one terminal speak to a release that runs in another: a word in the store.

use std::time::Duration;

use serde::{Deserialize, Serialize};

use crate::lock::Holder;
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

/// An order on its way.
#[derive(Serialize, Deserialize)]
struct Letter<T> {
    /// Another release, an earlier or a later one, does not obey it.
    to: Holder,
    #[serde(flatten)]
    order: T,
}

impl Store {
    /// Leaves an order for the release that runs, in place of one that it has not read yet.
    ///
    /// # Errors
    /// When the store refuses.
    pub async fn give_order(&self, order: &Order, to: &Holder) -> Result<(), StoreError> {
        let text = serde_json::to_string(&Letter { to: to.clone(), order })
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

    /// Takes the order that waits; one that cannot be read, or was given to somebody else, is thrown away.
    pub(crate) async fn take_order(&self, own: &Holder) -> Result<Option<Order>, StoreError> {
        let Some(text) = self.take_word(NAME).await? else { return Ok(None) };
        let letter = serde_json::from_str::<Letter<Order>>(&text).ok().filter(|letter| letter.to == *own);
        Ok(letter.map(|letter| letter.order))
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use weir_rollout::Moment;

    use super::*;
    use crate::proxies::Proxies;

    #[tokio::test]
    async fn an_order_is_for_one_release() {
        let folder = tempfile::tempdir().expect("a folder");
        let proxies = Arc::new(Proxies::new("web", Vec::new(), false));
        let store = Store::control("web", proxies, folder.path().to_owned(), Arc::new(|_| {}));
        let holder = |pid| Holder {
            who: "ann".to_owned(),
            host: "ci".to_owned(),
            pid,
            since: Moment(1),
            version: None,
        };
        let order = Order::Continue { server: None, by: "bob@desk".to_owned() };
        for (to, obeyed) in [(7, Some(order.clone())), (8, None)] {
            store.give_order(&order, &holder(to)).await.expect("given");
            assert!(!store.order_was_taken().await.expect("read"));
            assert_eq!(store.take_order(&holder(7)).await.expect("taken"), obeyed);
            assert!(store.order_was_taken().await.expect("read"), "of release {to}");
        }
    }
}
