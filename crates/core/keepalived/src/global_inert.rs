//! `global_defs`: what has no effect, and why.

use crate::keyword::Action::{Later, Silent, WithoutEffect};
use crate::keyword::{Action, Blocks, Keyword};

const G: Blocks = Blocks::GLOBAL;

const BALANCE: Action = Later("this version does not balance packets yet");
const PROCESSES: Action = WithoutEffect("Weir has no such process");
const NAMES: Action = Silent("the processes of Weir have names of their own");
const SNMP: Action = WithoutEffect("Weir has no SNMP; the dumps and weir vip tell the same");
const DBUS: Action = WithoutEffect("Weir has no D-Bus; the dumps and weir vip tell the same");
const BUFFERS: Action = Silent("buffers are sized by Weir");
const FILTER: Action = WithoutEffect("addresses are guarded by nftables");
const RELOAD: Action =
    WithoutEffect("a reload is always checked first and is asked for by a signal or command");
const ROUTES: Action = WithoutEffect("the names of tables are read where the machine has them");

const fn any(name: &'static str, doc: &'static str, action: Action) -> Keyword {
    Keyword::line(name, G, (0, usize::MAX), "...", doc, action)
}

pub(crate) const KEYWORDS: &[Keyword] = &[
    any("process_names", "The processes have names.", NAMES),
    any("process_name", "The name of the first process.", NAMES),
    any("vrrp_process_name", "The name of the VRRP process.", NAMES),
    any("checker_process_name", "The name of the checker process.", NAMES),
    any("lvs_process_name", "The old name of checker_process_name.", NAMES),
    any("bfd_process_name", "The name of the BFD process.", NAMES),
    any(
        "use_symlink_paths",
        "Scripts are run by the path of the link.",
        Silent("scripts are run by the path that is given"),
    ),
    any("set_supplementary_groups", "Scripts run with all groups of their user.", Silent("they always do")),
    any("umask", "The mode of new files.", WithoutEffect("the mode is that of who starts Weir")),
    any(
        "max_auto_priority",
        "Real-time priority when timers come late.",
        WithoutEffect("the thread that speaks VRRP is real-time from the start"),
    ),
    any(
        "min_auto_priority_delay",
        "How late they have to be.",
        WithoutEffect("the thread that speaks VRRP is real-time from the start"),
    ),
    any(
        "vrrp_priority",
        "The nice value of the VRRP process.",
        WithoutEffect("the thread that speaks VRRP is real-time; see vrrp_rt_priority"),
    ),
    any("vrrp_no_swap", "The VRRP process stays in memory.", Silent("it always does")),
    any(
        "vrrp_rlimit_rttime",
        "The most time on a processor without a pause.",
        WithoutEffect("the thread that speaks VRRP never runs long"),
    ),
    any(
        "vrrp_rlimit_rtime",
        "The old name of vrrp_rlimit_rttime.",
        WithoutEffect("the thread that speaks VRRP never runs long"),
    ),
    any("checker_priority", "The nice value of the checker process.", PROCESSES),
    any("checker_no_swap", "The checker process stays in memory.", PROCESSES),
    any("checker_rt_priority", "The real-time priority of the checker process.", PROCESSES),
    any("checker_cpu_affinity", "The processors of the checker process.", PROCESSES),
    any("checker_rlimit_rttime", "The most time on a processor without a pause.", PROCESSES),
    any("checker_rlimit_rtime", "The old name of checker_rlimit_rttime.", PROCESSES),
    any("bfd_priority", "The nice value of the BFD process.", PROCESSES),
    any("bfd_no_swap", "The BFD process stays in memory.", PROCESSES),
    any("bfd_rt_priority", "The real-time priority of the BFD process.", PROCESSES),
    any("bfd_cpu_affinity", "The processors of the BFD process.", PROCESSES),
    any("bfd_rlimit_rttime", "The most time on a processor without a pause.", PROCESSES),
    any("bfd_rlimit_rtime", "The old name of bfd_rlimit_rttime.", PROCESSES),
    any("smtp_alert_checker", "Mail about real servers.", BALANCE),
    any("no_checker_emails", "No mail about real servers.", BALANCE),
    any("checker_log_all_failures", "Every failed check is logged.", BALANCE),
    any("rs_init_notifies", "Real servers are told at the start.", BALANCE),
    any("lvs_timeouts", "Timeouts of connections of LVS.", BALANCE),
    any("lvs_flush", "LVS is emptied at the start.", BALANCE),
    any("lvs_flush_on_stop", "LVS is emptied at the stop.", BALANCE),
    any("lvs_flush_onstop", "The old name of lvs_flush_on_stop.", BALANCE),
    any("lvs_sync_daemon", "Connections of LVS are told to the other node.", BALANCE),
    any("lvs_notify_fifo", "A pipe for the changes of servers.", BALANCE),
    any("lvs_notify_fifo_script", "Reads the pipe.", BALANCE),
    any("nftables_ipvs", "Firewall marks of virtual servers.", BALANCE),
    any("nftables_ipvs_priority", "The priority of their chains.", BALANCE),
    any("nftables_ipvs_start_fwmark", "The first of the marks.", BALANCE),
    any("nftables_ifindex", "Rules name interfaces by number.", Silent("Weir chooses the form of its rules")),
    any("vrrp_iptables", "The chains that guard addresses of no_accept.", FILTER),
    any("vrrp_ipsets", "The sets of those chains.", FILTER),
    any(
        "vmac_prefix",
        "The start of the names of made interfaces.",
        WithoutEffect("use_vmac NAME names the interface"),
    ),
    any(
        "vmac_addr_prefix",
        "The same for single addresses.",
        WithoutEffect("only the router's own interface gets a hardware address"),
    ),
    any("snmp_socket", "The socket of the SNMP agent.", SNMP),
    any("enable_traps", "SNMP traps are sent.", SNMP),
    any("enable_snmp_vrrp", "keepalived's SNMP tables.", SNMP),
    any("enable_snmp_keepalived", "The old name of enable_snmp_vrrp.", SNMP),
    any("enable_snmp_rfc", "The SNMP tables of the standards.", SNMP),
    any("enable_snmp_rfcv2", "The SNMP table of RFC 2787.", SNMP),
    any("enable_snmp_rfcv3", "The SNMP table of RFC 6527.", SNMP),
    any("enable_snmp_checker", "SNMP tables of servers.", SNMP),
    any("snmp_vs_stats_update_interval", "How old they may be.", SNMP),
    any("snmp_rs_stats_update_interval", "How old they may be.", SNMP),
    any("enable_dbus", "Changes are told on D-Bus.", DBUS),
    any("dbus_service_name", "The name on D-Bus.", DBUS),
    any("dbus_no_interface_name", "Its paths are shorter.", DBUS),
    any("vrrp_netlink_cmd_rcv_bufs", "A buffer.", BUFFERS),
    any("vrrp_netlink_cmd_rcv_bufs_force", "A buffer.", BUFFERS),
    any("vrrp_netlink_monitor_rcv_bufs", "A buffer.", BUFFERS),
    any("vrrp_netlink_monitor_rcv_bufs_force", "A buffer.", BUFFERS),
    any("lvs_netlink_cmd_rcv_bufs", "A buffer.", BUFFERS),
    any("lvs_netlink_cmd_rcv_bufs_force", "A buffer.", BUFFERS),
    any("lvs_netlink_monitor_rcv_bufs", "A buffer.", BUFFERS),
    any("lvs_netlink_monitor_rcv_bufs_force", "A buffer.", BUFFERS),
    any("process_monitor_rcv_bufs", "A buffer.", BUFFERS),
    any("process_monitor_rcv_bufs_force", "A buffer.", BUFFERS),
    any("vrrp_rx_bufs_policy", "A buffer.", BUFFERS),
    any("vrrp_rx_bufs_multiplier", "A buffer.", BUFFERS),
    any(
        "random_seed",
        "The start of random numbers.",
        Silent("${_RANDOM} alone uses it, which the grammar reads"),
    ),
    any("include_check", "How strict include is.", Silent("the grammar reads it")),
    any("reload_check_config", "A reload is checked first.", Silent("it always is")),
    any("reload_time_file", "When to reload.", RELOAD),
    any("reload_repeat", "Reloads come again.", RELOAD),
    any("reload_file", "A file that asks for a reload.", RELOAD),
    any(
        "config_save_dir",
        "Where configurations are kept.",
        WithoutEffect("weir config prints what was read"),
    ),
    any("tmp_config_directory", "Where the configuration is copied to.", Silent("nothing is copied")),
    any(
        "data_use_instance",
        "Dumps have the name of the instance in theirs.",
        WithoutEffect("state_dump_file and its like name the files"),
    ),
    any("iproute_usr_dir", "Where the names of tables are.", ROUTES),
    any("iproute_etc_dir", "Where the names of tables are.", ROUTES),
    any(
        "lvs_id",
        "The old name of router_id before 1.2.",
        WithoutEffect("keepalived does not know it any more; write router_id"),
    ),
];
