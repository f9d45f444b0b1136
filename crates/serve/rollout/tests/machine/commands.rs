//! Commands and hooks on this machine.

use weir_rollout::Stage;

use crate::support::{Ends, Programs, machine, runs, until};

fn shell(start: &str, more: &str) -> String {
    format!(
        "upstream = \"web\"\nversion = {{ old = \"6\", new = \"7\" }}\n[driver.shell]\nstart = '''{start}'''\n{more}"
    )
}

const SERVER: &str = "10.0.0.1:8080";

#[tokio::test]
async fn a_command_gets_parts_of_the_address_and_its_environment() {
    let (machine, told) = machine(&shell(
        "echo {server} {host} {port}; env | grep ^WEIR_ | sort; echo oops >&2; printf end; read line || echo '; no input'",
        "",
    ));
    machine.start(SERVER, Some(2)).await.expect("it ends well");
    let expected = [
        "10.0.0.1:8080 10.0.0.1 8080",
        "WEIR_BATCH=2",
        "WEIR_NEW_VERSION=7",
        "WEIR_OLD_VERSION=6",
        "WEIR_RESULT=",
        "WEIR_SERVER=10.0.0.1:8080",
        "WEIR_STAGE=start",
        "WEIR_UPSTREAM=web",
        "oops",
        "end; no input",
    ];
    assert_eq!(told.lines(), expected.map(|line| format!("{SERVER}|{line}")));
}

#[tokio::test]
async fn a_plan_without_a_command_to_stop_has_nothing_to_do() {
    let (machine, told) = machine(&shell("true", ""));
    machine.stop(SERVER, None).await.expect("nothing to do");
    assert!(told.lines().is_empty());
    let error = machine.rollback(SERVER, None).await.expect_err("nothing brings the old version back");
    assert_eq!(error, "the old version cannot be brought back: driver.shell has no rollback");
}

#[tokio::test]
async fn a_failure_says_how_it_ended_with_its_last_lines() {
    let (machine, _) = machine(&shell("seq 1 30; exit 3", "stop = 'kill -9 $$'\nrollback = 'exit 4'"));
    let error = machine.start(SERVER, None).await.expect_err("it fails");
    let lines: String = (11..=30).map(|n| format!("\n  {n}")).collect();
    assert_eq!(error, format!("the command ended with exit status: 3; its last lines:{lines}"));
    let error = machine.stop(SERVER, None).await.expect_err("it fails");
    assert_eq!(error, "the command ended with signal: 9 (SIGKILL); it printed nothing");
    let error = machine.rollback(SERVER, None).await.expect_err("it fails");
    assert_eq!(error, "the command ended with exit status: 4; it printed nothing");
}

#[tokio::test]
async fn a_command_that_takes_too_long_is_ended_with_all_that_it_started() {
    let (machine, told) = machine(&shell("sleep 1000 & echo child $!; wait", "timeout = '500ms'"));
    let error = machine.start(SERVER, None).await.expect_err("it takes too long");
    let child = told.after("child ");
    assert_eq!(
        error,
        format!(
            "the command did not end within 500ms: it was ended by SIGTERM; its last lines:\n  child {child}"
        )
    );
    until("end of the child", || !runs(&child)).await;
}

#[tokio::test]
async fn a_command_that_does_not_want_to_end_is_killed() {
    let (machine, told) =
        machine(&shell("trap '' TERM; echo pid $$; while :; do sleep 0.1; done", "timeout = '500ms'"));
    let error = machine.start(SERVER, None).await.expect_err("it takes too long");
    let pid = told.after("pid ");
    assert_eq!(
        error,
        format!(
            "the command did not end within 500ms: it was ended by SIGKILL; its last lines:\n  pid {pid}"
        )
    );
    until("end of the shell", || !runs(&pid)).await;
}

#[tokio::test]
async fn what_a_shell_left_behind_is_killed_too() {
    let (machine, told) = machine(&shell(
        "(trap '' TERM; while :; do sleep 0.1; done) & echo child $!; wait",
        "timeout = '500ms'",
    ));
    let error = machine.start(SERVER, None).await.expect_err("it takes too long");
    assert!(error.contains("it was ended by SIGKILL"), "{error}");
    let child = told.after("child ");
    until("end of the child", || !runs(&child)).await;
}

#[tokio::test]
async fn an_application_that_holds_the_output_does_not_hang_the_step() {
    let (machine, told) = machine(&shell("sleep 1000 & echo child $!", ""));
    machine.start(SERVER, None).await.expect("the shell itself ended well");
    let child = Ends(told.after("child "));
    assert!(runs(&child.0), "it lives on");
    let warning = "weir: what this command started still holds its output, and ends when it writes there; \
                   send its output to a file, as in: app >>app.log 2>&1 &";
    assert_eq!(told.lines().last().map(String::as_str), Some(format!("{SERVER}|{warning}").as_str()));
}

#[tokio::test]
async fn a_command_is_out_of_reach_of_the_terminal() {
    let (machine, told) = machine(&shell("echo pid $$; echo group $(cut -d' ' -f5 /proc/$$/stat)", ""));
    machine.start(SERVER, None).await.expect("it ends well");
    assert_eq!(told.after("pid "), told.after("group "));
}

#[tokio::test]
async fn an_address_with_words_for_the_shell_is_refused() {
    let (machine, told) = machine(&shell("echo {server}", ""));
    let error = machine.start("a;reboot:80", None).await.expect_err("no address");
    assert_eq!(
        error,
        "\"a;reboot:80\" is no address of a server; expected HOST:PORT of letters, digits and .-_ as 10.0.0.1:8080"
    );
    assert!(told.lines().is_empty());
}

#[tokio::test]
async fn a_hook_runs_with_the_result() {
    let (machine, told) = machine(
        "upstream = \"web\"\n[hooks]\non_fail = 'echo \"$WEIR_STAGE $WEIR_SERVER ($WEIR_RESULT)\"'\npost_plan = 'exit 1'",
    );
    let result = Some("failed: it's \"gone\"");
    machine.hook(Stage::OnFail, Some(SERVER), Some(1), result).await.expect("it ends well");
    assert_eq!(told.lines(), [format!("{SERVER}|on_fail {SERVER} (failed: it's \"gone\")")]);
    machine.hook(Stage::PreDrain, Some(SERVER), Some(1), None).await.expect("there is none");
    let error = machine.hook(Stage::PostPlan, None, None, Some("done")).await.expect_err("it fails");
    assert_eq!(error, "the command ended with exit status: 1; it printed nothing");
}

#[tokio::test]
async fn a_machine_without_a_shell_is_found_before_anything_begins() {
    let programs = Programs::new();
    let nowhere = programs.file("nothing").into_os_string();
    let servers = [SERVER.to_owned(), "a b:1".to_owned()];
    let (machine, _) = machine(&shell("true", "[hooks]\npre_plan = 'true'"));
    let error = machine.clone().with_path(nowhere).prepare(&servers).await.expect_err("no sh");
    assert_eq!(
        error,
        "\"a b:1\" is no address of a server; expected HOST:PORT of letters, digits and .-_ as 10.0.0.1:8080\n\
         10.0.0.1:8080: sh is not here, and commands need it; look at PATH\n\
         sh is not here, and commands need it; look at PATH"
    );
    machine.prepare(&servers[..1]).await.expect("all is there");
}
