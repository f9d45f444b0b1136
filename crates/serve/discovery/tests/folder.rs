//! A folder of `server` lines.

mod common;

use std::fs;
use std::path::Path;

use common::{Process, source};
use weir_model::{Origin, Source};

fn folder_source(path: &Path) -> Source {
    source(Origin::Folder { path: path.to_str().expect("UTF-8").to_owned() })
}

#[tokio::test]
async fn files_come_change_and_go() {
    let folder = tempfile::tempdir().expect("a folder");
    let path = |name: &str| folder.path().join(name);
    fs::write(path("a.conf"), "server 192.0.2.1 weight=3;\n").expect("written");
    let mut process = Process::new(None);
    process.follow(folder_source(folder.path()));
    assert_eq!(process.peers(&["192.0.2.1:80"]).await.peers[0].weight, 3);

    // A new file, put in place as a whole.
    fs::write(path("b.tmp"), "server 192.0.2.2:8080 backup;\n").expect("written");
    fs::rename(path("b.tmp"), path("b.conf")).expect("renamed");
    let list = process.peers(&["192.0.2.1:80", "192.0.2.2:8080"]).await;
    assert!(list.peers[1].backup);
    assert_eq!(list.endpoint, folder.path().to_str().expect("UTF-8"));

    // A wrong line is named, the others live; a file that ends within a line is not believed.
    fs::write(path("b.conf"), "server 192.0.2.2:8080 wait=1;\nserver 192.0.2.3:8080;\n").expect("written");
    let list = process.peers(&["192.0.2.1:80", "192.0.2.3:8080"]).await;
    assert!(list.rejected[0].starts_with(r#"b.conf:1: invalid parameter "wait=1""#), "{list:?}");
    fs::write(path("b.conf"), "server 192.0.2.4:8080;\nserver 192.0.2.5:80").expect("written");
    let list = process.list().await;
    assert_eq!(common::addresses(&list), ["192.0.2.1:80", "192.0.2.3:8080"]);
    assert!(
        list.rejected[0].contains("unexpected end of file")
            && list.rejected[0].ends_with("what it said before stays"),
        "{list:?}"
    );

    fs::remove_file(path("b.conf")).expect("removed");
    process.peers(&["192.0.2.1:80"]).await;
    fs::remove_file(path("a.conf")).expect("removed");
    assert!(process.failure().await.contains("cannot delete all peers"));
}

#[tokio::test]
async fn a_folder_that_goes_and_comes_back() {
    let parent = tempfile::tempdir().expect("a folder");
    let folder = parent.path().join("servers");
    let mut process = Process::new(None);
    process.follow(folder_source(&folder));
    let error = process.failure().await;
    assert!(
        error.contains("No such file or directory") && error.ends_with("there is no list yet"),
        "{error}"
    );
    fs::create_dir(&folder).expect("made");
    fs::write(folder.join("a"), "server 192.0.2.1;").expect("written");
    process.peers(&["192.0.2.1:80"]).await;
    fs::rename(&folder, parent.path().join("old")).expect("renamed");
    let error = process.failure().await;
    assert!(error.contains("the last list (1 peers"), "{error}");
    fs::create_dir(&folder).expect("made");
    fs::write(folder.join("a"), "server 192.0.2.2;").expect("written");
    process.peers(&["192.0.2.2:80"]).await;
}
