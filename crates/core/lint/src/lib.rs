//! What the files of several nodes show together: each rule is one value of a catalogue.
//! What one file shows alone is left to weir-config and weir-keepalived, the machine to the caller.

mod machine;
mod node;
mod place;
mod report;
mod router;
mod rules;
mod scene;
mod weight;

pub use machine::{Machine, ScriptFault};
pub use node::Node;
pub use place::Place;
pub use report::{Finding, Rule};
pub use rules::rules;

use scene::Scene;

/// Looks at the files of all nodes of a group with every rule. With a single node, what compares nodes stays silent.
///
/// Without a machine, or for nodes that are other machines ([`Node::is_on`]), interfaces and scripts are not looked
/// at. Findings come in the order of the catalogue, and of the nodes within a rule.
#[must_use]
pub fn lint<'a>(nodes: &'a [Node<'a>], machine: Option<&'a dyn Machine>) -> Vec<Finding<'a>> {
    let scene = Scene::new(nodes, machine);
    rules().flat_map(|rule| report::run(rule, &scene)).collect()
}
