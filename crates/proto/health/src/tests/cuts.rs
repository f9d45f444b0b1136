//! A verdict does not depend on how the network cut the bytes, and no bytes panic.

use proptest::prelude::*;
use weir_model::check::{HeaderExpectation, HeaderTest, Match, StatusClasses};
use weir_model::{Probe, Regex};

use super::*;

fn plans() -> Vec<Plan> {
    let body = Some((Regex { source: "ab".to_owned(), caseless: false, names: Vec::new() }, true));
    let headers = vec![HeaderTest { name: "a".to_owned(), test: HeaderExpectation::Present }];
    let block = Match { body, headers, ..Match::default() };
    let fastcgi = Probe::Fastcgi { params: Vec::new(), expect: StatusClasses::DEFAULT };
    let grpc = Probe::Grpc { service: String::new(), status: Some(12) };
    let probes = [
        http(),
        request(None),
        request(Some(block)),
        Probe::SslHello,
        Probe::Mysql,
        Probe::Ajp,
        fastcgi,
        grpc,
    ];
    probes.iter().flat_map(|probe| [plan(probe.clone(), 1), plan(probe.clone(), 50)]).collect()
}

/// Pieces that make answers of all protocols, good and nearly good.
fn answer() -> impl Strategy<Value = Vec<u8>> {
    let pieces: Vec<Vec<u8>> = vec![
        b"HTTP/1.1 200 OK\r\n".to_vec(),
        b"HTTP/1.1 100 Continue\r\n\r\n".to_vec(),
        b"HTTP/1.0 503 No\n".to_vec(),
        b"Content-Length: 4\r\n".to_vec(),
        b"Transfer-Encoding: chunked\r\n".to_vec(),
        b"Connection: close\r\n".to_vec(),
        b"A: b\r\n".to_vec(),
        b"\r\n".to_vec(),
        b"2\r\nab\r\n".to_vec(),
        b"0\r\n\r\n".to_vec(),
        b"abab".to_vec(),
        record(6, b"Status: 200\r\n\r\nab", 2),
        record(7, b"oh", 0),
        record(3, &[0; 8], 0),
        frame(4, 0, 0, &[]),
        frame(6, 0, 0, &[7; 8]),
        frame(1, 4, 1, &[0x88]),
        frame(1, 0, 1, &[0x88]),
        frame(9, 4, 1, b"\x00\x0bgrpc-status\x0212"),
        frame(0, 0, 1, &[0, 0, 0, 0, 2, 8, 1]),
        frame(1, 5, 1, b"\x00\x0bgrpc-status\x010"),
        vec![22, 3, 3, 0, 90, 2],
        vec![21, 3, 3, 0, 2, 2, 40],
        vec![0x41, 0x42, 0, 1, 9],
        vec![9, 0, 0, 0, 10, 53],
    ];
    let piece = prop_oneof![
        8 => proptest::sample::select(pieces),
        1 => proptest::collection::vec(any::<u8>(), 0..12),
    ];
    proptest::collection::vec(piece, 0..10).prop_map(|pieces| pieces.concat())
}

proptest! {
    #[test]
    fn cuts_do_not_matter(answer in answer(), cuts in proptest::collection::vec(1_usize..20, 1..60)) {
        for plan in plans() {
            let whole = talk(&plan, [&answer[..]]);
            let bytes = talk(&plan, answer.chunks(1));
            let mut rest = &answer[..];
            let mut pieces = Vec::new();
            for cut in &cuts {
                let (piece, after) = rest.split_at((*cut).min(rest.len()));
                pieces.push(piece);
                rest = after;
            }
            pieces.push(rest);
            let cut = talk(&plan, pieces);
            // Bytes after the answer make a connection unfit, and they are seen only when they come with its end.
            let verdict = |end: &End| match end {
                End::Judged { verdict, .. } => (verdict.clone(), true),
                End::Closed(verdict) => (verdict.clone(), false),
            };
            prop_assert_eq!(verdict(&whole), verdict(&bytes));
            prop_assert_eq!(verdict(&whole), verdict(&cut));
        }
    }

    #[test]
    fn long_answers_are_bounded(fill: u8, probe in 0_usize..16) {
        let plan = &plans()[probe];
        let mut exchange = Exchange::default();
        exchange.begin(plan, true);
        let piece = vec![fill; 8192];
        let mut rounds = 0;
        while exchange.receive(plan, &piece) == Progress::More {
            rounds += 1;
            prop_assert!(rounds * 8192 <= 2 * (crate::HEAD_LIMIT + crate::BODY_LIMIT));
        }
    }
}

#[test]
fn endless_answers_end() {
    let heads: [(&[u8], &[u8]); 6] = [
        (b"HTTP/1.1 200 OK\r\nA: b\r\n\r\n", b"x"),
        (b"HTTP/1.1 200 OK\r\nA: b\r\nTransfer-Encoding: chunked\r\n\r\n", b"1\r\nx\r\n"),
        (b"HTTP/1.1 200 OK\r\nA: b\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n", b"a: b\r\n"),
        (b"", b"HTTP/1.1 100 Continue\r\n\r\n"),
        (b"", b"\r\n"),
        (b"\0\0\0\x04\0\0\0\0\0", b"\0\0\0\x06\x01\0\0\0\0"),
    ];
    for plan in plans() {
        for (head, again) in heads {
            let mut exchange = Exchange::default();
            exchange.begin(&plan, true);
            let mut progress = exchange.receive(&plan, head);
            let mut rounds = 0_u32;
            while progress == Progress::More {
                progress = exchange.receive(&plan, again);
                rounds += 1;
                assert!(
                    rounds < 400_000,
                    "no end after {} and many {}",
                    head.escape_ascii(),
                    again.escape_ascii()
                );
            }
        }
    }
}
