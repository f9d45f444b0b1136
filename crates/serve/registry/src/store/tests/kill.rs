//! An acknowledged write survives: a disk cut off at ten thousand points, and processes that are really killed.

use std::io::{BufRead, BufReader};
use std::path::{Path, PathBuf};
use std::process::{Child, Command as Process, Stdio};

use weir_registry::{Command, KvWrite, Outcome, State, Time};

use super::super::{Disk, Engine};
use super::backend::{Memory, Step, apply};
use super::{identity, open, quiet, value};

/// Points at which the disk is cut off.
const POINTS: usize = 10_000;
/// Writers at the same time, so that several writes share a transaction.
const WRITERS: usize = 8;

fn engine(disk: &Memory) -> Engine {
    let again = disk.clone();
    let database = disk.open().expect("a disk in memory");
    let path = PathBuf::from("memory");
    super::super::disk::create_rows(&database).expect("a new table");
    let (disk, records) =
        Disk::with(path, database, Box::new(move || again.open())).expect("a disk in memory");
    Engine::with(disk, records, identity(), quiet()).expect("a registry in memory")
}

/// Write `number`: key and value; each key is written several times, always by the same writer, so that a higher number is
/// a later one.
fn written(number: usize) -> (String, String) {
    (
        format!("key/{}/{}", number % WRITERS, number / WRITERS % 5),
        format!("{number:08} {}", "v".repeat(number % 200)),
    )
}

/// Lets the writers write until there are enough steps.
async fn workload(disk: &Memory) -> (Vec<u8>, Vec<Step>) {
    let engine = engine(disk);
    let base = disk.record();
    let local = tokio::task::LocalSet::new();
    let writes = POINTS / 8;
    local
        .run_until(async {
            let tasks: Vec<_> = (0..WRITERS)
                .map(|writer| {
                    let (engine, disk) = (engine.clone(), disk.clone());
                    tokio::task::spawn_local(async move {
                        for number in (writer..writes).step_by(WRITERS) {
                            let (key, value) = written(number);
                            let write = KvWrite::Set {
                                key: key.clone().into(),
                                value: value.into(),
                                flags: number as u64,
                            };
                            let outcome = engine.write(Command::Kv(write)).await;
                            assert_eq!(outcome, Ok(Outcome::Bool(true)));
                            let index = engine.read(State::index);
                            disk.note(Step::Acknowledged(number, index));
                        }
                    })
                })
                .collect();
            for task in tasks {
                task.await.expect("a writer");
            }
        })
        .await;
    (base, disk.journal())
}

/// A small generator (xorshift64*, Marsaglia 2003), so that a failure can be repeated.
struct Random(u64);

impl Random {
    fn below(&mut self, limit: usize) -> usize {
        self.0 ^= self.0 >> 12;
        self.0 ^= self.0 << 25;
        self.0 ^= self.0 >> 27;
        let high = self.0.wrapping_mul(0x2545_f491_4f6c_dd1d) >> 33;
        usize::try_from(high).expect("31 bits") % limit
    }
}

/// What a disk has after the cut: everything before the last sync; of what came later each piece whole, in part or not
/// at all.
fn cut(stable: &[u8], pending: &[&Step], random: &mut Random) -> Vec<u8> {
    let mut bytes = stable.to_vec();
    for step in pending {
        match step {
            Step::Length(length) => {
                // A file grows and shrinks in the order of its writes, or the disk would show what was never written.
                bytes.resize(usize::try_from(*length).expect("a small disk"), 0);
            }
            Step::Write(offset, data) => match random.below(3) {
                0 => {}
                1 => apply(&mut bytes, *offset, &data[..random.below(data.len() + 1)]),
                _ => apply(&mut bytes, *offset, data),
            },
            Step::Sync | Step::Acknowledged(..) => {}
        }
    }
    bytes
}

/// What has to be there at a point.
#[derive(Default)]
struct Promised {
    /// The highest number of a write of each key that was acknowledged, by key.
    writes: std::collections::HashMap<String, u64>,
    index: u64,
}

fn judge(bytes: Vec<u8>, promised: &Promised, point: usize) {
    let disk = Memory::of(bytes);
    let database = disk.open().unwrap_or_else(|e| panic!("point {point}: {e}"));
    let (_disk, records) = Disk::with(PathBuf::from("memory"), database, Box::new(move || disk.open()))
        .unwrap_or_else(|e| panic!("point {point}: {e}"));
    let state = State::restore(identity(), records, Time(0)).unwrap_or_else(|e| panic!("point {point}: {e}"));
    assert!(state.index() >= promised.index, "point {point}: the index went back");
    for (key, flags) in &promised.writes {
        let entry = state.kv(key.as_bytes()).data;
        let entry = entry.unwrap_or_else(|| panic!("point {point}: {key} is lost"));
        assert!(entry.flags >= *flags, "point {point}: {key} is old");
        let number = usize::try_from(entry.flags).expect("a small number");
        assert_eq!(entry.value, written(number).1.as_bytes(), "point {point}: {key} is torn");
    }
}

#[tokio::test]
async fn ten_thousand_cuts_lose_nothing_that_was_acknowledged() {
    let seed = 0x9e37_79b9_7f4a_7c15;
    let mut random = Random(seed);
    let (mut stable, journal) = workload(&Memory::default()).await;
    let mut pending: Vec<&Step> = Vec::new();
    let mut promised = Promised::default();
    let steps = journal.len();
    let mut points = 0;
    for (at, step) in journal.iter().enumerate() {
        match step {
            Step::Sync => {
                for step in pending.drain(..) {
                    match step {
                        Step::Write(offset, data) => apply(&mut stable, *offset, data),
                        Step::Length(n) => stable.resize(usize::try_from(*n).expect("small"), 0),
                        Step::Sync | Step::Acknowledged(..) => {}
                    }
                }
            }
            Step::Acknowledged(number, index) => {
                let latest = promised.writes.entry(written(*number).0).or_default();
                *latest = (*latest).max(*number as u64);
                promised.index = promised.index.max(*index);
            }
            step => pending.push(step),
        }
        // As many cuts at each step as it takes to come to the number.
        while points * steps < (at + 1) * POINTS {
            judge(cut(&stable, &pending, &mut random), &promised, points);
            points += 1;
        }
    }
    assert_eq!(points, POINTS, "seed {seed:#x}");
}

/// A child that is killed with its guard.
struct Killed(Child);

impl Drop for Killed {
    fn drop(&mut self) {
        drop(self.0.kill());
        drop(self.0.wait());
    }
}

const FOLDER: &str = "WEIR_TEST_REGISTRY_FOLDER";

/// Not a test by itself: the process that is killed. It writes and says so, line by line.
#[tokio::test]
async fn child() {
    let Some(folder) = std::env::var_os(FOLDER) else { return };
    let engine = open(Path::new(&folder)).expect("the registry");
    let begin = value(&engine, "count").map_or(0, |text| text.parse().expect("a number")) + 1;
    for number in begin..u64::MAX {
        let index = super::put(&engine, "count", &number.to_string()).await;
        println!("\nwrote {number} {index}");
    }
}

fn spawn(folder: &Path) -> Killed {
    let test = "store::tests::kill::child";
    let child = Process::new(std::env::current_exe().expect("this test"))
        .args(["--exact", test, "--nocapture", "--test-threads=1"])
        .env(FOLDER, folder)
        .stdout(Stdio::piped())
        .stderr(Stdio::null())
        .spawn()
        .expect("a child");
    Killed(child)
}

#[test]
fn kill_9_loses_nothing_that_was_acknowledged() {
    let folder = tempfile::tempdir().expect("a folder");
    let mut last = (0, 0);
    for round in 1..=5 {
        let mut child = spawn(folder.path());
        let lines = BufReader::new(child.0.stdout.take().expect("piped")).lines();
        let mut wrote = lines.map_while(Result::ok).filter_map(|line| {
            let (number, index) = line.strip_prefix("wrote ")?.split_once(' ')?;
            Some((number.parse::<u64>().ok()?, index.parse::<u64>().ok()?))
        });
        for _ in 0..7 * round {
            let (number, index) = wrote.next().expect("the child writes");
            assert!(number > last.0 && index > last.1, "{number} {index} after {last:?}");
            last = (number, index);
        }
        child.0.kill().expect("SIGKILL");
        // What it said before it died counts too.
        last = wrote.last().unwrap_or(last);
        drop(child);
        let engine = open(folder.path()).expect("the registry");
        let count: u64 = value(&engine, "count").expect("written").parse().expect("a number");
        assert!(count >= last.0, "{count} is less than the acknowledged {}", last.0);
        assert!(engine.read(State::index) >= last.1);
    }
}
