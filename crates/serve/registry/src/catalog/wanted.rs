//! Which rows of a list a client wants: `tag`, `node-meta` and `filter`. `near` is taken and changes nothing: there are no
//! network coordinates.

use std::collections::BTreeMap;
use std::sync::Arc;

use hyper::StatusCode;
use serde::Serialize;
use weir_registry::{AgentService, Filter, Service};

use crate::http::{Answer, Query};

/// The choice of one request.
pub(crate) struct Wanted {
    tags: Vec<String>,
    meta: Vec<(String, String)>,
    filter: Option<Filter>,
}

impl Wanted {
    /// Consul's error for a filter that cannot be read.
    pub(crate) fn of(query: &Query) -> Result<Self, Answer> {
        let filter = match query.first("filter").filter(|filter| !filter.is_empty()) {
            Some(filter) => Some(
                Filter::parse(filter)
                    .map_err(|error| Answer::text(StatusCode::INTERNAL_SERVER_ERROR, error.to_string()))?,
            ),
            None => None,
        };
        let pair = |pair: &str| match pair.split_once(':') {
            Some((key, value)) => (key.to_owned(), value.to_owned()),
            None => (pair.to_owned(), String::new()),
        };
        Ok(Self {
            tags: query.all("tag").filter(|tag| !tag.is_empty()).map(str::to_owned).collect(),
            meta: query.all("node-meta").map(pair).collect(),
            filter,
        })
    }

    pub(crate) fn tags(&self) -> Vec<&str> {
        self.tags.iter().map(String::as_str).collect()
    }

    pub(crate) fn has_meta(&self) -> bool {
        !self.meta.is_empty()
    }

    /// Whether a node with this metadata is wanted.
    pub(crate) fn node(&self, meta: &BTreeMap<String, String>) -> bool {
        self.meta.iter().all(|(key, value)| meta.get(key) == Some(value))
    }

    /// Whether a service of a node is wanted.
    pub(crate) fn service(&self, service: &Arc<Service>) -> bool {
        self.row(&AgentService { service: Arc::clone(service), hash: None })
    }

    fn row(&self, row: &impl Serialize) -> bool {
        self.filter.as_ref().is_none_or(|filter| filter.wants(row))
    }

    /// The rows that the filter lets through.
    pub(crate) fn rows<T: Serialize>(&self, rows: Vec<T>) -> Answer {
        if self.filter.is_none() {
            return Answer::json(&rows);
        }
        let rows: Vec<T> = rows.into_iter().filter(|row| self.row(row)).collect();
        Answer::json(&rows)
    }

    /// The same of rows by id.
    pub(crate) fn map<T: Serialize>(&self, mut rows: BTreeMap<String, T>) -> Answer {
        rows.retain(|_, row| self.row(row));
        Answer::json(&rows)
    }
}
