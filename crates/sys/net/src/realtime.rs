//! Threads that must run on time: scheduling, processors, memory that stays, and a clock that counts sleep.

use std::io;
use std::time::Duration;

use rustix::io::Errno;
use rustix::mm::MlockAllFlags;
use rustix::process::{Resource, Rlimit};
use rustix::thread::CpuSet;

/// This thread runs before all normal ones: SCHED_FIFO with `priority`, 1 to 99 (sched(7)). What it starts is
/// normal again.
///
/// Without CAP_SYS_NICE, and with an RLIMIT_RTPRIO below `priority`, an error says how to grant it.
pub fn real_time(priority: u8) -> io::Result<()> {
    let param = libc::sched_param { sched_priority: priority.into() };
    // SAFETY: 0 is the calling thread; the pointer is to a live sched_param, which the kernel reads.
    let result = unsafe {
        libc::sched_setscheduler(0, libc::SCHED_FIFO | libc::SCHED_RESET_ON_FORK, &raw const param)
    };
    if result == 0 {
        return Ok(());
    }
    let error = io::Error::last_os_error();
    let text = match error.raw_os_error() {
        Some(libc::EPERM) => {
            "CAP_SYS_NICE is missing for real-time priority: run as root, or LimitRTPRIO=99 in the unit"
                .to_owned()
        }
        Some(libc::EINVAL) => format!("real-time priority {priority}; expected 1 to 99"),
        _ => return Err(error),
    };
    Err(io::Error::new(error.kind(), text))
}

/// This thread runs on these processors only, counted from 0. An error if none of them is there.
pub fn pin(cpus: &[u32]) -> io::Result<()> {
    let mut set = CpuSet::new();
    for cpu in cpus {
        let index = usize::try_from(*cpu).ok().filter(|c| *c < CpuSet::MAX_CPU).ok_or_else(|| {
            let text = format!("processor {cpu}; expected 0 to {}", CpuSet::MAX_CPU - 1);
            io::Error::new(io::ErrorKind::InvalidInput, text)
        })?;
        set.set(index);
    }
    Ok(rustix::thread::sched_setaffinity(None, &set)?)
}

/// Keeps every page of this process in memory once it was touched, those to come too: nothing waits for a swap
/// device. Children and what replaces this program (exec) are not bound by it.
///
/// RLIMIT_MEMLOCK is lifted first. Where that is not possible and CAP_IPC_LOCK is missing too, it is an error,
/// because a limit would make memory run out at a later moment.
pub fn lock_memory() -> io::Result<()> {
    let flags = MlockAllFlags::CURRENT | MlockAllFlags::FUTURE | MlockAllFlags::ONFAULT;
    let unlimited = Rlimit { current: None, maximum: None };
    if rustix::process::setrlimit(Resource::Memlock, unlimited).is_ok() {
        return Ok(rustix::mm::mlockall(flags)?);
    }
    // With a limit of 0 only the capability lets it happen. The set of capabilities would not tell: in a namespace of
    // users it is full, and counts for nothing here.
    let limit = rustix::process::getrlimit(Resource::Memlock);
    rustix::process::setrlimit(Resource::Memlock, Rlimit { current: Some(0), ..limit })?;
    let locked = rustix::mm::mlockall(flags);
    rustix::process::setrlimit(Resource::Memlock, limit)?;
    locked.map_err(|errno| match errno {
        Errno::PERM => io::Error::new(
            io::ErrorKind::PermissionDenied,
            "CAP_IPC_LOCK is missing to lock memory: run as root, or LimitMEMLOCK=infinity in the unit",
        ),
        _ => errno.into(),
    })
}

/// Time since this host started; unlike `Instant` it goes on while the host is suspended (CLOCK_BOOTTIME).
pub fn boottime() -> Duration {
    let now = rustix::time::clock_gettime(rustix::time::ClockId::Boottime);
    // Neither is negative on this clock.
    Duration::new(u64::try_from(now.tv_sec).unwrap_or(0), u32::try_from(now.tv_nsec).unwrap_or(0))
}
