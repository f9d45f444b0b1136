//! The pipelines of docs/pipelines.md, each run by a shell against a registry, a proxy and two servers.

mod common;
mod stores;
mod support;

use std::fs;
use std::io::Write;
use std::net::{Ipv4Addr, SocketAddr};
use std::os::unix::fs::{PermissionsExt, symlink};
use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};

use common::{Server, Site, free_port, text, until};
use saphyr::{LoadableYamlNode, Yaml};
use support::{Then, Upstream};

const DOCUMENT: &str = include_str!("../../docs/pipelines.md");
const TOKEN: &str = "not-for-everybody";

/// The block of the document whose first line is this one.
fn block(first: &str) -> String {
    let mut lines = DOCUMENT.lines().skip_while(|line| *line != first);
    let block: Vec<&str> = lines.by_ref().take_while(|line| *line != "```").collect();
    assert!(!block.is_empty(), "the document has no block that begins with {first}");
    block.join("\n")
}

/// The plan of the document with what is different here.
fn plan(differences: &[(&str, &str)]) -> String {
    differences.iter().fold(block("# rollout.toml"), |plan, (was, is)| {
        assert!(plan.contains(was), "the plan has no {was}");
        plan.replace(was, is)
    })
}

/// A proxy with a registry, two servers that answer with their version, and a folder with the plan as a checked out repository.
struct Place {
    weir: Server,
    registry: u16,
    servers: Vec<Upstream>,
    repository: PathBuf,
}

impl Place {
    fn new() -> Place {
        let registry = free_port();
        let conf = support::conf(
            "upstream web {
                 upsync registry/v1/kv/upstreams/web/ upsync_type=consul upsync_interval=500ms;
                 upsync_dump_path DIR/web.servers;
             }
             server { listen 127.0.0.1:PORT; location / { proxy_pass http://web; } }",
        );
        let main = format!(
            "state_path DIR/state;
             registry {{ listen 127.0.0.1:{registry}; data DIR/registry; token write_file=DIR/token; }}
             events {{ }}"
        );
        let site = Site::new(&conf.replace("events { }", &main));
        fs::write(site.file("token"), TOKEN).expect("a token");
        let repository = site.file("repository");
        let programs = site.file("opt");
        for folder in [&repository, &programs, &site.file("bin")] {
            fs::create_dir(folder).expect("a folder");
        }
        symlink(env!("CARGO_BIN_EXE_weir"), site.file("bin/weir")).expect("a link");
        // What stands after `--` is run here instead of there.
        script(&site.file("bin/ssh"), "while [ \"$1\" != -- ]; do shift; done; shift; exec sh -c \"$*\"");
        let folder = programs.display().to_string();
        script(&programs.join("stop"), &format!("rm -f '{folder}'/\"$1\""));
        script(
            &programs.join("start"),
            &format!("printf %s \"$2\" > '{folder}'/\"$1.new\"; mv '{folder}'/\"$1.new\" '{folder}'/\"$1\""),
        );
        let servers: Vec<Upstream> = (0..2).map(|_| server(&programs, free_port())).collect();
        let plan = plan(&[
            ("10.0.0.2:8500", &format!("127.0.0.1:{registry}")),
            (", \"http://10.0.0.3:8500\"", ""),
            ("/opt/web", &folder),
            ("window = \"30s\"", "window = \"1s\""),
        ]);
        fs::write(repository.join("rollout.toml"), plan).expect("a plan");
        let place = Place { weir: site.start(), registry, servers, repository };
        place.register();
        place
    }

    fn register(&self) {
        let header = format!("X-Consul-Token: {TOKEN}\r\n");
        until("the registry", || stores::get(self.registry, "/v1/kv/?keys").ok());
        for server in &self.servers {
            let key = format!("/v1/kv/upstreams/web/{}", server.address());
            let written = stores::send(self.registry, "PUT", &key, &header, "{\"weight\":1}");
            assert_eq!(written.expect("it answers"), (200, "true".to_owned()));
        }
        until("both answer", || (self.versions() == ["old", "old"]).then_some(()));
    }

    /// Runs the lines of a pipeline as its machine does.
    fn shell(&self, script: &str, environment: &[(&str, String)]) -> Output {
        let site = &self.weir.site;
        let path = format!("{}:{}", site.file("bin").display(), std::env::var("PATH").expect("a path"));
        let mut command = Command::new("sh");
        command.args(["-eu", "-c", script]).current_dir(&self.repository).stdin(Stdio::null());
        command.env("PATH", path).env("WEIR_TOKEN_FILE", site.file("token")).env("RUNNER_TEMP", site.path());
        command.envs(environment.iter().map(|(name, value)| (name, value)));
        command.output().expect("a shell")
    }

    /// What clients get from two requests, one of each server.
    fn versions(&self) -> Vec<String> {
        let mut versions: Vec<(String, String)> = (0..2)
            .map(|_| {
                let answer = support::get(&self.weir, "/").text();
                let (port, version) = answer.split_once(' ').unwrap_or(("", &answer));
                (port.to_owned(), version.to_owned())
            })
            .collect();
        versions.dedup_by(|a, b| a.0 == b.0);
        versions.into_iter().map(|(_, version)| version).collect()
    }

    fn checks(&self, script: &str, environment: &[(&str, String)]) {
        let checked = self.shell(script, environment);
        assert!(checked.status.success(), "{}{}", text(&checked.stdout), text(&checked.stderr));
        let plan = text(&checked.stdout);
        assert!(plan.starts_with("release of web: 2 servers in 2 batches; 2 serve now"), "{plan}");
        assert_eq!(self.versions(), ["old", "old"], "nothing was changed");
    }

    fn releases(&self, script: &str, environment: &[(&str, String)], version: &str) -> String {
        let released = self.shell(script, environment);
        let said = format!("{}{}", text(&released.stdout), text(&released.stderr));
        let lines = fs::read_to_string(self.repository.join("rollout.jsonl")).unwrap_or_default();
        assert!(released.status.success(), "{said}{lines}");
        until("the new version", || (self.versions() == [version, version]).then_some(()));
        said
    }

    /// What is over can neither go on nor be given up.
    fn is_over(&self, script: &str, environment: &[(&str, String)]) {
        let refused = self.shell(script, environment);
        assert_eq!(refused.status.code(), Some(3), "{}", text(&refused.stdout));
        let why = "the last release of upstream web is over (done); there is nothing to resume";
        assert!(text(&refused.stderr).contains(why), "{}", text(&refused.stderr));
    }

    /// The artifact: one object a line, the last one tells how it ended.
    fn artifact(&self) {
        let lines = fs::read_to_string(self.repository.join("rollout.jsonl")).expect("an artifact");
        let lines: Vec<serde_json::Value> =
            lines.lines().map(|line| serde_json::from_str(line).expect(line)).collect();
        let end = lines.last().expect("a line");
        assert_eq!(
            (&end["type"], &end["outcome"], &end["exit_code"]),
            (&"end".into(), &"done".into(), &0.into())
        );
        assert!(end["text"].as_str().is_some_and(|text| text.starts_with("done | ")), "{end}");
    }
}

fn script(path: &Path, lines: &str) {
    fs::write(path, format!("#!/bin/sh\nset -eu\n{lines}\n")).expect("a script");
    fs::set_permissions(path, fs::Permissions::from_mode(0o755)).expect("chmod");
}

/// Answers with its port and its version while a file with the version is there; else it is stopped.
fn server(programs: &Path, port: u16) -> Upstream {
    let file = programs.join(port.to_string());
    fs::write(&file, "old").expect("a version");
    Upstream::on(SocketAddr::from((Ipv4Addr::LOCALHOST, port)), move |_, stream| {
        let Ok(version) = fs::read_to_string(&file) else { return Then::Close };
        let body = format!("{port} {version}");
        let head =
            format!("HTTP/1.1 200 OK\r\nX-Version: {version}\r\nContent-Length: {}\r\n\r\n", body.len());
        match stream.write_all(format!("{head}{body}").as_bytes()) {
            Ok(()) => Then::Keep,
            Err(_) => Then::Close,
        }
    })
}

fn yaml(text: &str) -> Yaml<'_> {
    Yaml::load_from_str(text).expect("YAML").into_iter().next().expect("a document")
}

/// The lines of a `script:` or `after_script:`.
fn lines(job: &Yaml<'_>, name: &str) -> String {
    let lines = job[name].as_sequence().unwrap_or_else(|| panic!("{name} is a list"));
    lines.iter().map(|line| line.as_str().expect("a line")).collect::<Vec<_>>().join("\n")
}

#[test]
fn gitlab() {
    let place = Place::new();
    let text = block("# .gitlab-ci.yml");
    let pipeline = yaml(&text);
    let environment = [("CI_COMMIT_SHORT_SHA", "6f1c0d2e".to_owned())];
    place.checks(&lines(&pipeline["rollout check"], "script"), &environment);
    place.releases(&lines(&pipeline["rollout"], "script"), &environment, "6f1c0d2e");
    place.artifact();
    let after = place.shell(&lines(&pipeline["rollout"], "after_script"), &environment);
    assert!(common::text(&after.stdout).contains("\"type\":\"end\""), "{}", common::text(&after.stdout));
    place.is_over(&lines(&pipeline["rollout resume"], "script"), &environment);
    place.is_over(&lines(&pipeline["rollout abort"], "script"), &environment);
}

#[test]
fn jenkins() {
    let place = Place::new();
    let text = block("// Jenkinsfile");
    let scripts: Vec<&str> =
        text.split("sh '''").skip(1).filter_map(|rest| rest.split("'''").next()).collect();
    let [check, release, other] = scripts[..] else { panic!("three scripts, but: {scripts:?}") };
    let environment = |action: &str| [("GIT_COMMIT", "90ab12cd".to_owned()), ("ACTION", action.to_owned())];
    place.checks(check, &environment("release"));
    let said = place.releases(release, &environment("release"), "90ab12cd");
    assert!(said.lines().last().is_some_and(|line| line.contains("] done | ")), "{said}");
    place.is_over(other, &environment("resume"));
    place.is_over(other, &environment("abort"));
}

#[test]
fn github() {
    let place = Place::new();
    let text = block("# .github/workflows/rollout.yml");
    let workflow = yaml(&text);
    let steps = workflow["jobs"]["rollout"]["steps"].as_sequence().expect("steps");
    let run = |name: &str| {
        let named = |step: &&Yaml<'_>| step.as_mapping_get("name").and_then(Yaml::as_str) == Some(name);
        let step = steps.iter().find(named).unwrap_or_else(|| panic!("a step {name}"));
        step["run"].as_str().expect("a script").to_owned()
    };
    let environment = |action: &str| {
        [
            ("GITHUB_SHA", "c0ffee77".to_owned()),
            ("WEIR_TOKEN", TOKEN.to_owned()),
            ("ACTION", action.to_owned()),
        ]
    };
    let wrote = place.shell(&run("token"), &environment(""));
    assert!(wrote.status.success(), "{}", common::text(&wrote.stderr));
    place.checks(&run("check"), &environment(""));
    place.releases(&run("release"), &environment(""), "c0ffee77");
    place.artifact();
    place.is_over(&run("resume or abort"), &environment("resume"));
    let end = place.shell(&run("end"), &environment(""));
    assert!(end.status.success() && !place.weir.site.file("weir-token").exists());
}
