//! Commands over ssh. The program that plays ssh runs them here, and as ssh does, it ends only when nobody holds the output.

use std::fs;

use crate::support::{Ends, Programs, machine, runs, until};

const SSH: &str = r#"
printf '%s\n' "$*" >>"$here/ssh.log"
for host; do case $host in deploy@*) break;; esac; done
while [ "$1" != -- ]; do shift; done
shift
case $host in *10.0.0.9) echo "ssh: connect to host 10.0.0.9 port 22: No route to host" >&2; exit 255;; esac
{ env -i PATH="$PATH" sh -c "$*"; echo $? >"$here/code.$$"; } 2>&1 | cat
exit "$(cat "$here/code.$$")"
"#;

const SERVER: &str = "10.0.0.1:8080";

fn shell(start: &str, more: &str) -> String {
    format!("upstream = \"it's\"\n[driver.shell]\nssh = 'deploy@{{host}}'\nstart = '''{start}'''\n{more}")
}

fn ssh() -> Programs {
    let programs = Programs::new();
    programs.add("ssh", SSH);
    programs
}

#[tokio::test]
async fn a_command_runs_there_with_its_environment() {
    let programs = ssh();
    let (machine, told) = machine(&shell("echo \"$WEIR_UPSTREAM $WEIR_STAGE {port}\"; printf 'no end'", ""));
    machine.with_path(programs.path()).start(SERVER, None).await.expect("it ends well");
    assert_eq!(told.lines(), [format!("{SERVER}|it's start 8080"), format!("{SERVER}|no end")]);
    let log = programs.read("ssh.log");
    assert!(log.starts_with("-o BatchMode=yes -o ConnectTimeout=10 deploy@10.0.0.1 -- sh -c "), "{log}");
}

#[tokio::test]
async fn a_failure_there_is_told_from_one_of_ssh() {
    let programs = ssh();
    let (machine, _) = machine(&shell("echo no; exit 255", ""));
    let machine = machine.with_path(programs.path());
    let error = machine.start(SERVER, None).await.expect_err("it fails");
    assert_eq!(error, "the command ended with exit status: 255; its last lines:\n  no");
    let error = machine.start("10.0.0.9:80", None).await.expect_err("no such host");
    let expected = "the command cannot be run: ssh to deploy@10.0.0.9 failed; its last lines:\n  \
                    ssh: connect to host 10.0.0.9 port 22: No route to host";
    assert_eq!(error, expected);
    let servers = [SERVER.to_owned(), "10.0.0.9:80".to_owned()];
    let error = machine.prepare(&servers).await.expect_err("one is not there");
    assert_eq!(
        error,
        "10.0.0.9:80: a first look cannot be run: ssh to deploy@10.0.0.9 failed; its last lines:\n  \
         ssh: connect to host 10.0.0.9 port 22: No route to host"
    );
}

#[tokio::test]
async fn ssh_itself_may_be_missing() {
    let (machine, _) = machine(&shell("true", ""));
    let machine = machine.with_path("/nowhere");
    let error = machine.prepare(&[SERVER.to_owned()]).await.expect_err("no ssh");
    assert_eq!(
        error,
        "10.0.0.1:8080: ssh is not here, and commands for deploy@10.0.0.1 need it; install openssh-client, or look at PATH"
    );
}

#[tokio::test]
async fn a_command_there_that_takes_too_long_is_ended_there() {
    let programs = ssh();
    let (machine, told) = machine(&shell("sleep 1000 & echo child $!; wait", "timeout = '1s'"));
    let error = machine.with_path(programs.path()).start(SERVER, None).await.expect_err("it takes too long");
    let child = told.after("child ");
    let expected = format!(
        "the command did not end within 1s: timeout ended it on deploy@10.0.0.1; its last lines:\n  child {child}"
    );
    assert_eq!(error, expected);
    until("end of the child", || !runs(&child)).await;
}

#[tokio::test]
async fn an_application_there_that_holds_the_output_does_not_hang_the_step() {
    let programs = ssh();
    let (machine, told) = machine(&shell("sleep 1000 & echo child $!", ""));
    machine.with_path(programs.path()).start(SERVER, None).await.expect("the command itself ended well");
    let child = Ends(told.after("child "));
    assert!(runs(&child.0), "it lives on");
    assert!(told.after("weir: ").contains("still holds its output"));
    assert!(!told.lines().iter().any(|line| line.contains("weir-")), "the mark is not shown");
    assert!(fs::read_to_string(programs.file("ssh.log")).expect("a log").lines().count() == 1);
}
