//! Measurements; they print and judge nothing. `cargo test --release -- --ignored --nocapture speed`.

use std::time::{Duration, Instant};

use weir_registry::{State, Time};

use super::super::Disk;
use super::{fresh, identity, open, put, set};

#[tokio::test]
#[ignore = "a measurement"]
async fn durable_writes_per_second() {
    for clients in [1_usize, 8, 64, 256] {
        let (_folder, engine) = fresh();
        let begin = Instant::now();
        let tasks: Vec<_> = (0..clients)
            .map(|client| {
                let engine = engine.clone();
                tokio::spawn(async move {
                    let mut count = 0_u32;
                    while begin.elapsed() < Duration::from_secs(3) {
                        let key = format!("bench/{client}/{}", count % 100);
                        engine.write(set(&key, &count.to_string())).await.expect("written");
                        count += 1;
                    }
                    count
                })
            })
            .collect();
        let mut total = 0;
        for task in tasks {
            total += task.await.expect("a client");
        }
        println!("{clients} clients: {:.0} writes/s", f64::from(total) / begin.elapsed().as_secs_f64());
    }
}

#[tokio::test]
#[ignore = "a measurement"]
async fn ready_with_ten_thousand_keys() {
    let (folder, engine) = fresh();
    let writes: Vec<_> = (0..10_000)
        .map(|number| {
            let engine = engine.clone();
            tokio::spawn(async move { put(&engine, &format!("some/key/{number}"), &"v".repeat(100)).await })
        })
        .collect();
    for write in writes {
        write.await.expect("written");
    }
    engine.close();
    drop(engine);
    for _ in 0..5 {
        let begin = Instant::now();
        let engine = open(folder.path()).expect("the registry");
        println!("ready after {:?}", begin.elapsed());
        drop(engine);
        let begin = Instant::now();
        let (disk, records) = Disk::open(folder.path()).expect("the registry");
        let read = begin.elapsed();
        drop(disk);
        let begin = Instant::now();
        State::restore(identity(), records, Time(0)).expect("its own records");
        println!("of it: {read:?} to read, {:?} to build the state", begin.elapsed());
    }
}
