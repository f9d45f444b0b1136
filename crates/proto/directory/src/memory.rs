//! The document by which orders live through a restart.

use serde::{Deserialize, Deserializer, Serialize};

use crate::AdminState;

/// Every order in force. Fields that a later version added are ignored, orders that cannot be read are counted.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct Memory {
    #[serde(deserialize_with = "readable")]
    pub orders: Vec<Remembered>,
}

/// One order.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Remembered {
    pub upstream: String,
    pub peer: String,
    #[serde(default)]
    pub state: AdminState,
    /// In place of the weight that the configuration or the source gives.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub weight: Option<u32>,
    /// Of the weight, what is to count; in place of what the configuration or the source says.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub percent: Option<u8>,
    #[serde(default)]
    pub who: String,
    #[serde(default)]
    pub reason: String,
    /// Milliseconds since 1970.
    #[serde(default)]
    pub since: u64,
    /// Milliseconds since 1970; absent: never.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub expires: Option<u64>,
    /// Since when there is no such peer, milliseconds since 1970.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub absent: Option<u64>,
}

fn readable<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Vec<Remembered>, D::Error> {
    #[derive(Deserialize)]
    #[serde(untagged)]
    enum Entry {
        Order(Remembered),
        Other(serde::de::IgnoredAny),
    }
    let entries = Vec::<Entry>::deserialize(deserializer)?;
    let order = |entry| match entry {
        Entry::Order(order) => Some(order),
        Entry::Other(_) => None,
    };
    Ok(entries.into_iter().filter_map(order).collect())
}
