//! A Docker engine of the test's own, with its own containerd, and images made of busybox.

use std::fs;
use std::path::PathBuf;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use bollard::Docker;
use bollard::query_parameters::CreateImageOptions;
use futures_util::StreamExt as _;

/// Far above what anything takes here; only a test that fails waits so long.
const PATIENCE: Duration = Duration::from_secs(120);

pub(crate) struct Engine {
    daemon: Child,
    folder: tempfile::TempDir,
}

impl Engine {
    pub(crate) async fn start() -> Self {
        let folder = tempfile::tempdir().expect("a folder");
        let place = |name: &str| folder.path().join(name);
        let log = fs::File::create(place("log")).expect("a file");
        let daemon = Command::new("dockerd")
            .args(["--storage-driver=vfs", "--iptables=false", "--ip6tables=false", "--bridge=none"])
            .arg("--data-root")
            .arg(place("data"))
            .arg("--exec-root")
            .arg(place("exec"))
            .arg("--pidfile")
            .arg(place("pid"))
            .arg("-H")
            .arg(format!("unix://{}", place("docker.sock").display()))
            .stdin(Stdio::null())
            .stdout(log.try_clone().expect("a file"))
            .stderr(log)
            .spawn()
            .expect("dockerd; the package docker.io has it, and it needs root");
        let mut engine = Self { daemon, folder };
        let began = Instant::now();
        while !engine.answers().await {
            let ended = engine.daemon.try_wait().expect("a child");
            assert!(ended.is_none() && began.elapsed() < PATIENCE, "dockerd: {}", engine.log());
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
        engine
    }

    pub(crate) fn address(&self) -> String {
        format!("unix://{}", self.place("docker.sock").display())
    }

    pub(crate) fn docker(&self) -> Docker {
        Docker::connect_with_unix(&self.address(), 120, bollard::API_DEFAULT_VERSION).expect("a socket")
    }

    pub(crate) fn place(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    /// busybox, and a page `/www/version` with this text.
    pub(crate) async fn image(&self, name: &str, tag: &str, page: &str, changes: &[&str]) {
        let root = self.place(&format!("root-{name}-{tag}"));
        for folder in ["bin", "www", "data"] {
            fs::create_dir_all(root.join(folder)).expect("a folder");
        }
        fs::write(root.join("www/version"), page).expect("a file");
        let busybox = std::env::split_paths(&std::env::var_os("PATH").expect("a PATH"))
            .map(|folder| folder.join("busybox"))
            .find(|file| file.is_file())
            .expect("busybox; the package busybox-static has it");
        fs::copy(busybox, root.join("bin/busybox")).expect("a copy");
        let tar = Command::new("tar").arg("-C").arg(&root).args(["-c", "."]).output().expect("tar");
        assert!(tar.status.success(), "{}", String::from_utf8_lossy(&tar.stderr));
        let options = CreateImageOptions {
            from_src: Some("-".to_owned()),
            repo: Some(name.to_owned()),
            tag: Some(tag.to_owned()),
            changes: changes.iter().map(|&change| change.to_owned()).collect(),
            ..CreateImageOptions::default()
        };
        let docker = self.docker();
        let mut steps = docker.create_image(Some(options), Some(bollard::body_full(tar.stdout.into())), None);
        while let Some(step) = steps.next().await {
            step.expect("an image");
        }
    }

    async fn answers(&self) -> bool {
        match Docker::connect_with_unix(&self.address(), 120, bollard::API_DEFAULT_VERSION) {
            Ok(docker) => docker.ping().await.is_ok(),
            Err(_) => false,
        }
    }

    fn log(&self) -> String {
        fs::read_to_string(self.place("log")).unwrap_or_default()
    }

    fn ended(&mut self) -> bool {
        !matches!(self.daemon.try_wait(), Ok(None))
    }
}

impl Drop for Engine {
    /// The daemon ends its containers and its containerd itself; what it leaves is taken away.
    fn drop(&mut self) {
        let _ = Command::new("kill").arg(self.daemon.id().to_string()).status();
        let began = Instant::now();
        while !self.ended() && began.elapsed() < PATIENCE {
            std::thread::sleep(Duration::from_millis(50));
        }
        if !self.ended() {
            let _ = self.daemon.kill();
            let _ = self.daemon.wait();
            if let Ok(pid) = fs::read_to_string(self.place("exec/containerd/containerd.pid")) {
                let _ = Command::new("kill").args(["-9", pid.trim()]).status();
            }
        }
        let mounts = fs::read_to_string("/proc/self/mounts").unwrap_or_default();
        let own = self.folder.path().display().to_string();
        for place in
            mounts.lines().filter_map(|line| line.split(' ').nth(1)).filter(|place| place.starts_with(&own))
        {
            let _ = Command::new("umount").args(["-l", place]).status();
        }
    }
}
