//! `track_file`: a number in a file, followed by inotify on its folder, so that the file may come, go and be replaced.

use std::fs::{self, File, OpenOptions};
use std::io::{self, Read, Write};
use std::mem::MaybeUninit;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use rustix::fs::OFlags;
use rustix::fs::inotify::{self, CreateFlags, ReadFlags, WatchFlags};
use weir_log::Level;
use weir_model::vrrp::{TrackFile, Vrrp};
use weir_vrrp::{Finding, Tracker};

use super::checks::Outcome;

/// How often a folder that is not there is looked for.
const LOOK: Duration = Duration::from_secs(1);

/// Enough for any number; more of a file is not read.
const LONGEST: u64 = 127;

/// What keepalived takes: the range of an `int32_t`, and one more.
const RANGE: std::ops::RangeInclusive<i64> = -0x8000_0000..=0x8000_0000;

#[derive(Clone, Debug)]
struct Watched {
    file: TrackFile,
    value: Option<i64>,
    /// Of the file's folder and, behind a symbolic link, of the folder of what it points to.
    watches: Vec<(i32, PathBuf)>,
}

/// All tracked files.
pub(super) struct Files {
    inotify: OwnedFd,
    list: Vec<Watched>,
    look: Option<Instant>,
}

/// What the dump says of a file.
#[derive(Clone, Debug)]
pub(super) struct FileView {
    pub(super) file: TrackFile,
    pub(super) value: i64,
}

impl Files {
    pub(super) fn new() -> io::Result<Self> {
        let inotify = inotify::init(CreateFlags::CLOEXEC | CreateFlags::NONBLOCK)?;
        Ok(Self { inotify, list: Vec::new(), look: None })
    }

    /// Keeps the files whose definition is the same, reads and watches those that are new, forgets the others.
    pub(super) fn reload(&mut self, config: &Vrrp, now: Instant, out: &mut Vec<Outcome>) {
        let mut old = std::mem::take(&mut self.list);
        for file in config.files.iter().filter(|f| is_tracked(config, &f.name)) {
            let watched = match old.iter().position(|w| w.file == *file) {
                Some(at) => old.swap_remove(at),
                None => {
                    init(file, out);
                    Watched { file: file.clone(), value: None, watches: Vec::new() }
                }
            };
            self.list.push(watched);
        }
        self.watch(now, out);
        for watched in &mut self.list {
            watched.read(out);
        }
    }

    /// Reads the files whose folders have news.
    pub(super) fn read(&mut self, now: Instant, out: &mut Vec<Outcome>) {
        let mut buffer = [MaybeUninit::uninit(); 4096];
        let mut reader = inotify::Reader::new(&self.inotify, &mut buffer);
        let mut changed = vec![false; self.list.len()];
        let mut gone = Vec::new();
        while let Ok(event) = reader.next() {
            let name = event.file_name().map(|name| name.to_string_lossy().into_owned());
            let overrun = event.events().contains(ReadFlags::QUEUE_OVERFLOW);
            if event.events().contains(ReadFlags::IGNORED) {
                gone.push(event.wd());
            }
            for (watched, changed) in self.list.iter().zip(&mut changed) {
                *changed |= overrun || watched.is_about(event.wd(), name.as_deref());
            }
        }
        for watched in &mut self.list {
            watched.watches.retain(|(wd, _)| !gone.contains(wd));
        }
        self.watch(now, out);
        for (watched, _) in self.list.iter_mut().zip(changed).filter(|(_, changed)| *changed) {
            watched.read(out);
        }
    }

    /// Looks for the folders that were not there.
    pub(super) fn tick(&mut self, now: Instant, out: &mut Vec<Outcome>) {
        if self.look.is_some_and(|look| look <= now) {
            self.watch(now, out);
        }
    }

    pub(super) fn next(&self) -> Option<Instant> {
        self.look
    }

    pub(super) fn view(&self) -> Vec<FileView> {
        self.list.iter().map(|w| FileView { file: w.file.clone(), value: w.value.unwrap_or(0) }).collect()
    }

    /// Watches what is not watched yet, and reads it, since it may have changed before.
    fn watch(&mut self, now: Instant, out: &mut Vec<Outcome>) {
        let events = WatchFlags::CLOSE_WRITE | WatchFlags::DELETE | WatchFlags::MOVE | WatchFlags::ONLYDIR;
        let mut missing = false;
        for watched in self.list.iter_mut().filter(|w| w.watches.is_empty()) {
            for place in places(&watched.file.path) {
                let Some(folder) = place.parent() else { continue };
                if let Ok(wd) = inotify::add_watch(&self.inotify, folder, events) {
                    watched.watches.push((wd, place));
                }
            }
            missing |= watched.watches.is_empty();
            watched.read(out);
        }
        self.look = missing.then(|| now + LOOK);
    }
}

impl AsFd for Files {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.inotify.as_fd()
    }
}

impl Watched {
    fn is_about(&self, wd: i32, name: Option<&str>) -> bool {
        self.watches.iter().any(|(own, place)| {
            *own == wd && name.is_none_or(|name| place.file_name().is_some_and(|own| own == name))
        })
    }

    fn read(&mut self, out: &mut Vec<Outcome>) {
        let name = &self.file.name;
        let value = match number(&self.file.path) {
            Ok(value) => value,
            Err(text) => {
                out.push(Outcome::Log(
                    Level::Error,
                    format!("track file {name}: {text}; the last number stays"),
                ));
                // At the start there is none, and somebody waits for one.
                self.value.unwrap_or(0)
            }
        };
        if self.value.replace(value) != Some(value) {
            out.push(Outcome::Log(Level::Info, format!("track file {name} says {value}")));
            out.push(Outcome::Report(Tracker::File(name.clone()), Finding::Value(value)));
        }
    }
}

/// The path, and what it points to if it is a symbolic link.
fn places(path: &str) -> Vec<PathBuf> {
    let path = Path::new(path);
    let mut places = vec![path.to_owned()];
    places.extend(fs::canonicalize(path).ok().filter(|real| real != path));
    places
}

/// The number in a file; zero if there is no file (keepalived.conf(5)). An error if the number is out of range.
fn number(path: &str) -> Result<i64, String> {
    let mut text = String::new();
    // A pipe of that name must not hold anybody up.
    let file = OpenOptions::new().read(true).custom_flags(OFlags::NONBLOCK.bits().cast_signed()).open(path);
    let bytes = file.and_then(|file| {
        let mut bytes = Vec::new();
        file.take(LONGEST).read_to_end(&mut bytes)?;
        Ok(bytes)
    });
    if let Ok(bytes) = bytes {
        text = String::from_utf8_lossy(&bytes).into_owned();
    }
    let value = leading_number(&text).filter(|value| RANGE.contains(value));
    value.ok_or_else(|| format!("{:?} is out of range; expected -2147483648 to 2147483648", text.trim()))
}

/// As C's `strtol` with base 0 reads it: `0x1f`, `017`, `-3 and text`; zero without a number; `None` if it is too big.
fn leading_number(text: &str) -> Option<i64> {
    let text = text.trim_start();
    let (negative, digits) = match text.as_bytes().first() {
        Some(b'-') => (true, &text[1..]),
        Some(b'+') => (false, &text[1..]),
        _ => (false, text),
    };
    let hex = digits.strip_prefix("0x").or_else(|| digits.strip_prefix("0X"));
    let (radix, digits) = match hex {
        Some(hex) if hex.starts_with(|c: char| c.is_ascii_hexdigit()) => (16, hex),
        _ if digits.starts_with('0') => (8, digits),
        _ => (10, digits),
    };
    let end = digits.find(|c: char| !c.is_digit(radix)).unwrap_or(digits.len());
    let digits = &digits[..end];
    if digits.is_empty() {
        return Some(0);
    }
    let value = i64::from_str_radix(digits, radix).ok()?;
    Some(if negative { -value } else { value })
}

/// `init_file`: makes the file, or writes over it if that was asked for.
fn init(file: &TrackFile, out: &mut Vec<Outcome>) {
    let Some(init) = file.init else { return };
    let mut options = File::options();
    if init.overwrite {
        options.write(true).create(true).truncate(true);
    } else {
        options.write(true).create_new(true);
    }
    match options.open(&file.path).and_then(|mut f| writeln!(f, "{}", init.value)) {
        Err(e) if init.overwrite || e.kind() != io::ErrorKind::AlreadyExists => {
            let why = weir_net::errno_text(&e);
            out.push(Outcome::Log(
                Level::Error,
                format!("track file {}: {} cannot be written: {why}", file.name, file.path),
            ));
        }
        _ => {}
    }
}

fn is_tracked(config: &Vrrp, name: &str) -> bool {
    let instances = config.instances.iter().flat_map(|i| &i.track_files);
    let groups = config.groups.iter().flat_map(|g| &g.track_files);
    instances.chain(groups).any(|track| track.name == name)
}

#[cfg(test)]
mod tests {
    use super::*;
    use rustix::event::{PollFd, PollFlags};
    use weir_model::vrrp::{InitFile, Instance, Track};

    fn config(path: &Path, init: Option<InitFile>) -> Vrrp {
        let mut instance = Instance::new("edge", "lo", 1);
        instance.track_files = vec![Track { name: "maintenance".into(), weight: 1, reverse: false }];
        let path = path.display().to_string();
        let file = TrackFile { name: "maintenance".into(), path, weight: 1, reverse: false, init };
        Vrrp { instances: vec![instance], files: vec![file], ..Vrrp::default() }
    }

    fn values(out: &mut Vec<Outcome>) -> Vec<i64> {
        let value = |o: Outcome| match o {
            Outcome::Report(Tracker::File(_), Finding::Value(value)) => Some(value),
            _ => None,
        };
        out.drain(..).filter_map(value).collect()
    }

    /// Waits until something was reported.
    fn next(files: &mut Files) -> Vec<i64> {
        let mut out = Vec::new();
        loop {
            rustix::event::poll(&mut [PollFd::new(files, PollFlags::IN)], None).expect("poll");
            files.read(Instant::now(), &mut out);
            let values = values(&mut out);
            if !values.is_empty() {
                return values;
            }
        }
    }

    #[test]
    fn numbers_are_read_as_strtol_reads_them() {
        let cases = [
            ("", 0),
            ("  12\n", 12),
            ("-3 and text", -3),
            ("0x1F", 31),
            ("017", 15),
            ("maintenance", 0),
            ("+5", 5),
            ("0xg", 0),
            ("08", 0),
        ];
        for (text, value) in cases {
            assert_eq!(leading_number(text), Some(value), "{text:?}");
        }
        assert_eq!(leading_number("99999999999999999999"), None);
    }

    #[test]
    fn a_file_may_come_be_replaced_and_go() {
        let folder = tempfile::tempdir().expect("temp folder");
        let path = folder.path().join("drain");
        let (mut files, mut out) = (Files::new().expect("inotify"), Vec::new());
        files.reload(&config(&path, None), Instant::now(), &mut out);
        assert_eq!(values(&mut out), [0]);
        fs::write(&path, "7").expect("writable");
        assert_eq!(next(&mut files), [7]);
        let other = folder.path().join("other");
        fs::write(&other, "-20").expect("writable");
        fs::rename(&other, &path).expect("same folder");
        assert_eq!(next(&mut files), [-20]);
        fs::remove_file(&path).expect("it is there");
        assert_eq!(next(&mut files), [0]);
    }

    #[test]
    fn init_file_is_written_unless_there_is_one() {
        let folder = tempfile::tempdir().expect("temp folder");
        let path = folder.path().join("drain");
        let init = |overwrite| Some(InitFile { value: 4, overwrite });
        let (mut files, mut out) = (Files::new().expect("inotify"), Vec::new());
        files.reload(&config(&path, init(false)), Instant::now(), &mut out);
        assert_eq!(values(&mut out), [4]);
        fs::write(&path, "9").expect("writable");
        let mut files = Files::new().expect("inotify");
        files.reload(&config(&path, init(false)), Instant::now(), &mut out);
        assert_eq!(values(&mut out), [9]);
        let mut files = Files::new().expect("inotify");
        files.reload(&config(&path, init(true)), Instant::now(), &mut out);
        assert_eq!(values(&mut out), [4]);
    }

    #[test]
    fn a_folder_that_comes_later_is_found() {
        let folder = tempfile::tempdir().expect("temp folder");
        let path = folder.path().join("later/drain");
        let (mut files, mut out) = (Files::new().expect("inotify"), Vec::new());
        let now = Instant::now();
        files.reload(&config(&path, None), now, &mut out);
        assert_eq!(values(&mut out), [0]);
        fs::create_dir(folder.path().join("later")).expect("writable");
        fs::write(&path, "3").expect("writable");
        files.tick(now + LOOK, &mut out);
        assert_eq!(values(&mut out), [3]);
        assert_eq!(files.next(), None);
    }

    #[test]
    fn a_number_out_of_range_leaves_the_last_one() {
        let folder = tempfile::tempdir().expect("temp folder");
        let path = folder.path().join("drain");
        fs::write(&path, "5").expect("writable");
        let (mut files, mut out) = (Files::new().expect("inotify"), Vec::new());
        files.reload(&config(&path, None), Instant::now(), &mut out);
        fs::write(&path, "4294967296").expect("writable");
        files.read(Instant::now(), &mut out);
        assert_eq!(values(&mut out), [5]);
        assert_eq!(files.view()[0].value, 5);
    }
}
