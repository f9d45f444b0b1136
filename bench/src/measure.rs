//! What the kernel says about a proxy: CPU time and memory of all its processes and threads.
//! Which rounds are measured, and how figures are combined, is decided elsewhere.

use std::collections::{BTreeSet, HashMap};
use std::fs;

use anyhow::{Context, Result, ensure};

/// Length of a tick of `/proc/PID/stat` in nanoseconds (USER_HZ is 100 on every Linux port we run on).
const TICK: u64 = 10_000_000;

/// The process `root` and all that descend from it, by the parent field of `/proc/PID/stat`.
pub(crate) fn tree(root: u32) -> Result<BTreeSet<u32>> {
    let mut children: HashMap<u32, Vec<u32>> = HashMap::new();
    for entry in fs::read_dir("/proc")? {
        let name = entry?.file_name();
        let Some(pid) = name.to_str().and_then(|name| name.parse::<u32>().ok()) else {
            continue;
        };
        // A process that ends while we look has no place in the tree.
        if let Ok(stat) = fs::read_to_string(format!("/proc/{pid}/stat"))
            && let Some(stat) = parse_stat(&stat)
        {
            children.entry(stat.parent).or_default().push(pid);
        }
    }
    let mut found = BTreeSet::from([root]);
    let mut next = vec![root];
    while let Some(pid) = next.pop() {
        for child in children.get(&pid).into_iter().flatten() {
            if found.insert(*child) {
                next.push(*child);
            }
        }
    }
    Ok(found)
}

/// CPU time of a process tree up to now.
#[derive(Debug, Clone, Default)]
pub(crate) struct Cpu {
    pids: BTreeSet<u32>,
    /// Nanoseconds on a CPU, exact, of the threads that are alive.
    scheduled: u64,
    /// Ticks in user and system mode, with the threads that have ended.
    user: u64,
    system: u64,
}

/// CPU time between two readings, in nanoseconds.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct CpuUse {
    pub(crate) total: u64,
    pub(crate) user: u64,
}

impl Cpu {
    /// Reads the tree below `root`.
    pub(crate) fn read(root: u32) -> Result<Self> {
        let mut sum = Self { pids: tree(root)?, ..Self::default() };
        for pid in &sum.pids {
            let stat = fs::read_to_string(format!("/proc/{pid}/stat"))
                .with_context(|| format!("process {pid} of the proxy has ended"))?;
            let stat = parse_stat(&stat).context("an unreadable /proc/PID/stat")?;
            sum.user += stat.user;
            sum.system += stat.system;
            for task in fs::read_dir(format!("/proc/{pid}/task"))? {
                let path = task?.path().join("schedstat");
                if let Ok(text) = fs::read_to_string(path)
                    && let Some(run) = text.split(' ').next()
                {
                    sum.scheduled += run.parse::<u64>()?;
                }
            }
        }
        Ok(sum)
    }

    /// What was used since `earlier`. Both must have seen the same processes.
    pub(crate) fn since(&self, earlier: &Self) -> Result<CpuUse> {
        ensure!(
            self.pids == earlier.pids,
            "the proxy's processes were {:?} and became {:?} within a round",
            earlier.pids,
            self.pids
        );
        let user = self.user - earlier.user;
        let system = self.system - earlier.system;
        let ticks = (user + system) * TICK;
        let exact = self.scheduled.saturating_sub(earlier.scheduled);
        // Threads that ended in between are missing in the exact sum; more than rounding shows it.
        let total = if ticks > exact + exact / 20 + 3 * TICK { ticks } else { exact };
        let user = if ticks == 0 {
            0
        } else {
            (u128::from(total) * u128::from(user * TICK) / u128::from(ticks)) as u64
        };
        Ok(CpuUse { total, user })
    }
}

/// Proportional share of memory (PSS) of the tree below `root`, in bytes: pages that its processes
/// share count once.
pub(crate) fn memory(root: u32) -> Result<u64> {
    let mut sum = 0;
    for pid in tree(root)? {
        let path = format!("/proc/{pid}/smaps_rollup");
        let text = fs::read_to_string(&path).with_context(|| format!("cannot read {path}"))?;
        sum += parse_pss(&text).with_context(|| format!("{path} has no Pss line"))?;
    }
    Ok(sum)
}

/// Busy time of all cores since boot, in ticks, with what the hypervisor stole.
pub(crate) fn machine_busy() -> Result<u64> {
    let text = fs::read_to_string("/proc/stat")?;
    parse_busy(&text).context("an unreadable /proc/stat")
}

/// Ticks of this process and of all its ended children.
pub(crate) fn own_ticks() -> Result<u64> {
    let text = fs::read_to_string("/proc/self/stat")?;
    let stat = parse_stat(&text).context("an unreadable /proc/self/stat")?;
    Ok(stat.user + stat.system + stat.ended_children)
}

struct Stat {
    parent: u32,
    user: u64,
    system: u64,
    ended_children: u64,
}

/// Fields of proc(5): 4 ppid, 14 utime, 15 stime, 16 cutime, 17 cstime. The second one may hold anything.
fn parse_stat(text: &str) -> Option<Stat> {
    let fields: Vec<&str> = text.rsplit_once(')')?.1.split_whitespace().collect();
    let field = |number: usize| fields.get(number - 3)?.parse::<u64>().ok();
    Some(Stat {
        parent: field(4)? as u32,
        user: field(14)?,
        system: field(15)?,
        ended_children: field(16)? + field(17)?,
    })
}

fn parse_pss(text: &str) -> Option<u64> {
    let line = text.lines().find(|line| line.starts_with("Pss:"))?;
    let kilobytes: u64 = line.split_whitespace().nth(1)?.parse().ok()?;
    Some(kilobytes * 1024)
}

/// Fields of the `cpu` line: user nice system idle iowait irq softirq steal; guest time is in user.
fn parse_busy(text: &str) -> Option<u64> {
    let line = text.lines().find(|line| line.starts_with("cpu "))?;
    let fields: Vec<u64> = line.split_whitespace().skip(1).map_while(|field| field.parse().ok()).collect();
    [0, 1, 2, 5, 6, 7].iter().map(|index| fields.get(*index).copied()).sum()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn stat_is_read_behind_a_name_with_brackets() {
        let stat =
            parse_stat("7 (a) b (c) S 3 7 7 0 -1 4194304 1 2 3 4 50 60 7 8 20 0 1 0").expect("a stat line");
        assert_eq!((stat.parent, stat.user, stat.system, stat.ended_children), (3, 50, 60, 15));
    }

    #[test]
    fn ended_threads_are_taken_from_the_ticks() {
        let before = Cpu::default();
        let exact = Cpu { scheduled: 1_000_000_000, user: 25, system: 75, ..Cpu::default() };
        let used = exact.since(&before).expect("the same processes");
        assert_eq!((used.total, used.user), (1_000_000_000, 250_000_000));
        let with_ended = Cpu { scheduled: 100_000_000, ..exact };
        let used = with_ended.since(&before).expect("the same processes");
        assert_eq!(used.total, 1_000_000_000);
    }

    #[test]
    fn a_process_that_came_or_went_voids_the_round() {
        let after = Cpu { pids: BTreeSet::from([4]), ..Cpu::default() };
        let error = after.since(&Cpu::default()).expect_err("another process");
        assert_eq!(error.to_string(), "the proxy's processes were {} and became {4} within a round");
    }

    #[test]
    fn lines_of_proc() {
        assert_eq!(parse_pss("Rss: 9 kB\nPss:      3 kB\nPss_Anon: 1 kB\n"), Some(3072));
        assert_eq!(parse_busy("cpu  1 2 3 100 50 4 5 6 0 0\ncpu0 1\n"), Some(21));
    }

    #[test]
    fn this_process_is_in_its_own_tree_and_has_memory() {
        let pid = std::process::id();
        assert!(tree(pid).expect("/proc").contains(&pid));
        assert!(memory(pid).expect("/proc") > 4096);
    }
}
