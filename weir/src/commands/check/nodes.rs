//! Which files belong to one node.

use std::path::{Path, PathBuf};

use weir_lint::Node;

use super::{Checked, Content};
use crate::place::{KEEPALIVED_CONF, same_file};

/// A folder with one keepalived.conf is a node with all nginx.conf of the folder; with several, each of them is a
/// node and the nginx.conf are those of all. An nginx.conf that names its keepalived.conf goes there, and so does
/// every nginx.conf when there is one keepalived.conf at all.
pub(super) fn of(checked: &[Checked], here: bool) -> Vec<Node<'_>> {
    let routers: Vec<(&Checked, &weir_keepalived::Loaded)> = checked
        .iter()
        .filter_map(|one| match &one.content {
            Ok(Content::Keepalived(loaded)) => Some((one, loaded.as_ref())),
            _ => None,
        })
        .collect();
    let mut nodes: Vec<Node<'_>> = routers
        .iter()
        .map(|(one, loaded)| Node {
            name: name(&one.file),
            nginx: Vec::new(),
            keepalived: Some(*loaded),
            here: here || same_file(&one.file, KEEPALIVED_CONF),
        })
        .collect();
    unique(&mut nodes, &routers);
    for one in checked {
        let Ok(Content::Nginx(loaded)) = &one.content else { continue };
        let loaded = loaded.as_ref();
        let mut alone = true;
        for (node, (router, _)) in nodes.iter_mut().zip(&routers) {
            let belongs = match one.routers() {
                Some(path) => same_file(path, &router.file),
                None => routers.len() == 1 || folder(&one.file) == folder(&router.file),
            };
            if belongs {
                node.nginx.push(loaded);
                alone = false;
            }
        }
        if alone {
            nodes.push(Node { name: one.file.clone(), nginx: vec![loaded], keepalived: None, here });
        }
    }
    nodes
}

fn folder(file: &str) -> PathBuf {
    let path = std::fs::canonicalize(file).unwrap_or_else(|_| PathBuf::from(file));
    path.parent().map(Path::to_owned).unwrap_or_default()
}

/// `keepalived-lb01.conf` is lb01, and so is `lb01/keepalived.conf`.
fn name(file: &str) -> String {
    let stem =
        Path::new(file).file_stem().map(|stem| stem.to_string_lossy().into_owned()).unwrap_or_default();
    let rest = stem.strip_prefix("keepalived").unwrap_or(&stem).trim_start_matches(['-', '_', '.']);
    if !rest.is_empty() {
        return rest.to_owned();
    }
    folder(file).file_name().map_or(stem, |name| name.to_string_lossy().into_owned())
}

/// Names that two nodes have give way to paths.
fn unique(nodes: &mut [Node<'_>], routers: &[(&Checked, &weir_keepalived::Loaded)]) {
    let names: Vec<String> = nodes.iter().map(|node| node.name.clone()).collect();
    for (node, (router, _)) in nodes.iter_mut().zip(routers) {
        if names.iter().filter(|name| **name == node.name).count() > 1 {
            node.name.clone_from(&router.file);
        }
    }
}
