//! The few words that the grammar itself has to know.

/// Keywords of the top level with a block.
const ROOT_BLOCKS: [&str; 18] = [
    "global_defs",
    "vrrp_instance",
    "vrrp_sync_group",
    "vrrp_script",
    "vrrp_track_process",
    "vrrp_track_file",
    "track_file",
    "track_group",
    "garp_group",
    "bfd_instance",
    "virtual_server",
    "virtual_server_group",
    "static_ipaddress",
    "static_routes",
    "static_rules",
    "linkbeat_interfaces",
    "interface_up_down_delays",
    "SSL",
];

/// Keywords of the top level without one.
const ROOT_LINES: [&str; 7] = [
    "net_namespace",
    "net_namespace_ipvs",
    "namespace_with_ipsets",
    "linkbeat_use_polling",
    "use_pid_dir",
    "instance",
    "child_wait_time",
];

/// Keywords with a block of keywords inside another one.
const INNER_BLOCKS: [&str; 13] = [
    "authentication",
    "real_server",
    "HTTP_GET",
    "SSL_GET",
    "TCP_CHECK",
    "SMTP_CHECK",
    "DNS_CHECK",
    "MISC_CHECK",
    "BFD_CHECK",
    "UDP_CHECK",
    "PING_CHECK",
    "FILE_CHECK",
    "url",
];

/// Keywords whose block is a list: its items are no keywords.
const LISTS: [&str; 19] = [
    "notification_email",
    "group",
    "interfaces",
    "track_interface",
    "track_script",
    "track_process",
    "track_file",
    "track_bfd",
    "unicast_peer",
    "virtual_ipaddress",
    "virtual_ipaddress_excluded",
    "virtual_routes",
    "virtual_rules",
    "virtual_server_group",
    "static_ipaddress",
    "static_routes",
    "static_rules",
    "linkbeat_interfaces",
    "interface_up_down_delays",
];

/// Keywords whose command line is split again from the raw text, where a quote may be escaped.
const SCRIPTS: [&str; 18] = [
    "script",
    "notify",
    "notify_master",
    "notify_backup",
    "notify_fault",
    "notify_stop",
    "notify_deleted",
    "notify_master_rx_lower_pri",
    "notify_up",
    "notify_down",
    "quorum_up",
    "quorum_down",
    "misc_path",
    "startup_script",
    "shutdown_script",
    "notify_fifo_script",
    "vrrp_notify_fifo_script",
    "lvs_notify_fifo_script",
];

/// Whether a word is a keyword of the top level.
pub(super) fn is_root(name: &str) -> bool {
    ROOT_BLOCKS.contains(&name) || ROOT_LINES.contains(&name)
}

/// Whether a keyword cannot stand without a block.
pub(super) fn needs_block(name: &str, root: bool) -> bool {
    if root {
        ROOT_BLOCKS.contains(&name)
    } else {
        INNER_BLOCKS.contains(&name)
            || LISTS.contains(&name) && !ROOT_BLOCKS.contains(&name)
            || name == "track_file"
    }
}

/// Whether a keyword's block is a list. `track_file` is one inside another block only.
pub(super) fn is_list(name: &str, root: bool) -> bool {
    LISTS.contains(&name) && !(root && name == "track_file")
}

/// Whether what stands behind a keyword is split from the raw text.
pub(super) fn is_script(name: &str) -> bool {
    SCRIPTS.contains(&name)
}
