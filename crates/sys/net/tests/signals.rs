//! Signals and children. Without the test harness, whose threads do not block signals: of its arguments only those
//! that list tests are understood, and the last line is the harness' own, for those who count.

use std::os::unix::process::ExitStatusExt;
use std::process::Command;
use std::time::Duration;

use weir_net::{Received, Signal, Signals, block_signals, send_signal, set_process_name, wait_child};

const LONG: Option<Duration> = Some(Duration::from_secs(20));

fn main() {
    if std::env::args().any(|word| word == "--list") {
        // Nothing is ignored, should that be asked.
        if !std::env::args().any(|word| word == "--ignored") {
            println!("signals_and_children: test");
        }
        return;
    }
    block_signals().expect("block");
    let signals = Signals::new().expect("queue");
    nothing_waits(&signals);
    own_signals_are_taken(&signals);
    a_thread_has_them_blocked_too(&signals);
    children_are_reaped(&signals);
    set_process_name("weir: test").expect("name");
    assert_eq!(std::fs::read_to_string("/proc/thread-self/comm").expect("comm"), "weir: test\n");
    println!("test result: ok. 1 passed; 0 failed; 0 ignored; 0 measured; 0 filtered out");
}

fn nothing_waits(signals: &Signals) {
    assert_eq!(signals.take().expect("take"), None);
    assert_eq!(signals.wait(Some(Duration::from_millis(1))).expect("wait"), None);
}

fn own_signals_are_taken(signals: &Signals) {
    let me = std::process::id();
    for signal in [
        Signal::Term,
        Signal::Hup,
        Signal::Usr1,
        Signal::Usr2,
        Signal::Quit,
        Signal::Winch,
        Signal::Json,
        Signal::StatsClear,
    ] {
        send_signal(me, signal).expect("send");
        assert_eq!(signals.wait(LONG).expect("wait"), Some(Received { signal, from: me }));
    }
    let named = [Signal::Term, Signal::Json, Signal::StatsClear].map(|s| (s.name(), s.number()));
    let expected =
        [("SIGTERM", 15), ("SIGRTMIN+2", libc::SIGRTMIN() + 2), ("SIGRTMAX-1", libc::SIGRTMAX() - 1)];
    assert_eq!(named, expected);
}

fn a_thread_has_them_blocked_too(signals: &Signals) {
    let me = std::process::id();
    let (stop, stopped) = std::sync::mpsc::channel::<()>();
    let thread = std::thread::spawn(move || stopped.recv().is_err());
    send_signal(me, Signal::Int).expect("send");
    assert_eq!(signals.wait(LONG).expect("wait"), Some(Received { signal: Signal::Int, from: me }));
    drop(stop);
    assert!(thread.join().expect("the thread lives"));
}

fn children_are_reaped(signals: &Signals) {
    let child = Command::new("sh").args(["-c", "exit 3"]).spawn().expect("spawn").id();
    assert_eq!(signals.wait(LONG).expect("wait"), Some(Received { signal: Signal::Chld, from: child }));
    let ended = wait_child();
    assert_eq!(ended.len(), 1);
    assert_eq!((ended[0].0, ended[0].1.code()), (child, Some(3)));
    assert!(wait_child().is_empty());

    let sleeper = Command::new("sleep").arg("600").spawn().expect("spawn").id();
    send_signal(sleeper, Signal::Kill).expect("kill");
    assert_eq!(signals.wait(LONG).expect("wait"), Some(Received { signal: Signal::Chld, from: sleeper }));
    let ended = wait_child();
    assert_eq!((ended[0].0, ended[0].1.signal()), (sleeper, Some(9)));
}
