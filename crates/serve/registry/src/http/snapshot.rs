//! `/v1/snapshot`: the whole registry as one file. The container is that of Consul (a gzipped tar of `meta.json`,
//! `state.bin` and `SHA256SUMS`), because its command line verifies what it saves; `state.bin` is the registry's own.

use std::io::{Read, Write};

use flate2::Compression;
use flate2::read::GzDecoder;
use flate2::write::GzEncoder;
use hyper::StatusCode;
use serde::Serialize;
use sha2::{Digest, Sha256};

use super::{Answer, Context, Reply, Request, Route, Shared, Verb};

/// The largest snapshot that is taken back, in bytes, packed and unpacked.
const MOST: usize = 256 << 20;

const META: &str = "meta.json";
const STATE: &str = "state.bin";
const SUMS: &str = "SHA256SUMS";

pub(super) fn routes() -> Vec<Route> {
    vec![Route::data("/v1/snapshot", &[Verb::Get, Verb::Put], snapshot).most(MOST)]
}

fn snapshot(context: Shared, mut request: Request) -> Reply {
    Box::pin(async move {
        if request.verb == Verb::Get { save(&context) } else { restore(&context, &mut request).await }
    })
}

fn save(context: &Context) -> Answer {
    let (bytes, index) = context.engine.snapshot();
    match pack(&bytes, index) {
        Ok(packed) => Answer::bytes(packed, "application/x-gzip").index(index),
        Err(error) => failed(format!("cannot pack the snapshot: {error}")),
    }
}

async fn restore(context: &Context, request: &mut Request) -> Answer {
    let packed = match request.body(MOST, "limits") {
        Ok(packed) => packed,
        Err(refused) => return refused,
    };
    let bytes = match unpack(&packed) {
        Ok(bytes) => bytes,
        Err(error) => return failed(error.to_string()),
    };
    match context.engine.restore_snapshot(bytes).await {
        Ok(()) => Answer::empty(StatusCode::OK),
        Err(error) => failed(error.to_string()),
    }
}

fn failed(text: String) -> Answer {
    Answer::text(StatusCode::INTERNAL_SERVER_ERROR, text)
}

/// What Consul's command line reads of `meta.json`.
#[derive(Serialize)]
#[serde(rename_all = "PascalCase")]
struct Meta {
    version: u8,
    #[serde(rename = "ID")]
    id: String,
    index: u64,
    term: u64,
    size: usize,
}

fn pack(state: &[u8], index: u64) -> std::io::Result<Vec<u8>> {
    let meta = Meta { version: 1, id: format!("1-{index}"), index, term: 1, size: state.len() };
    let meta = serde_json::to_vec(&meta)?;
    let sums = format!("{}  {META}\n{}  {STATE}\n", sum(&meta), sum(state));
    let mut archive = tar::Builder::new(GzEncoder::new(Vec::new(), Compression::fast()));
    for (name, content) in [(META, meta.as_slice()), (STATE, state), (SUMS, sums.as_bytes())] {
        let mut header = tar::Header::new_gnu();
        header.set_size(content.len() as u64);
        header.set_mode(0o600);
        archive.append_data(&mut header, name, content)?;
    }
    let mut packer = archive.into_inner()?;
    packer.flush()?;
    packer.finish()
}

/// Why a body is no snapshot.
#[derive(Debug, thiserror::Error)]
enum Unreadable {
    #[error("failed to decompress snapshot: {0}")]
    Gzip(std::io::Error),
    #[error("failed to read snapshot file: {0}")]
    Tar(std::io::Error),
    #[error("the snapshot has no file {0:?}; expected what a registry of weir saved")]
    Absent(&'static str),
    #[error("the snapshot's {0:?} does not have the checksum that it came with; save it again")]
    Damaged(&'static str),
    #[error("the snapshot unpacks to more than {MOST} bytes")]
    Large,
}

/// The registry's own part, after the checksums were compared.
fn unpack(packed: &[u8]) -> Result<Vec<u8>, Unreadable> {
    let mut unpacked = Vec::new();
    GzDecoder::new(packed).take(MOST as u64 + 1).read_to_end(&mut unpacked).map_err(Unreadable::Gzip)?;
    if unpacked.len() > MOST {
        return Err(Unreadable::Large);
    }
    let (mut meta, mut state, mut sums) = (None, None, None);
    let mut archive = tar::Archive::new(unpacked.as_slice());
    for entry in archive.entries().map_err(Unreadable::Tar)? {
        let mut entry = entry.map_err(Unreadable::Tar)?;
        let place = match &*entry.path_bytes() {
            b"meta.json" => &mut meta,
            b"state.bin" => &mut state,
            b"SHA256SUMS" => &mut sums,
            _ => continue,
        };
        let mut content = Vec::new();
        entry.read_to_end(&mut content).map_err(Unreadable::Tar)?;
        *place = Some(content);
    }
    let meta = meta.ok_or(Unreadable::Absent(META))?;
    let state = state.ok_or(Unreadable::Absent(STATE))?;
    let sums = sums.ok_or(Unreadable::Absent(SUMS))?;
    let sums = String::from_utf8_lossy(&sums);
    for (name, content) in [(META, &meta), (STATE, &state)] {
        let expected = sum(content);
        if !sums.lines().any(|line| line.split_whitespace().eq([expected.as_str(), name])) {
            return Err(Unreadable::Damaged(name));
        }
    }
    Ok(state)
}

fn sum(content: &[u8]) -> String {
    Sha256::digest(content).iter().map(|byte| format!("{byte:02x}")).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_snapshot_comes_back() {
        let packed = pack(b"the state", 42).expect("in memory");
        assert_eq!(unpack(&packed).expect("just packed"), b"the state");
    }

    #[test]
    fn what_is_no_snapshot_is_named() {
        let text = |packed: &[u8]| unpack(packed).expect_err("no snapshot").to_string();
        assert!(text(b"junk").starts_with("failed to decompress snapshot: "), "{}", text(b"junk"));
        let mut damaged = tar::Builder::new(GzEncoder::new(Vec::new(), Compression::fast()));
        for (name, content) in [(META, "{}"), (STATE, "x"), (SUMS, "00  meta.json\n00  state.bin\n")] {
            let mut header = tar::Header::new_gnu();
            header.set_size(content.len() as u64);
            damaged.append_data(&mut header, name, content.as_bytes()).expect("in memory");
        }
        let damaged = damaged.into_inner().expect("in memory").finish().expect("in memory");
        assert!(text(&damaged).contains("\"meta.json\" does not have the checksum"), "{}", text(&damaged));
        let empty = GzEncoder::new(Vec::new(), Compression::fast()).finish().expect("in memory");
        assert!(text(&empty).contains("no file \"meta.json\""), "{}", text(&empty));
    }
}
