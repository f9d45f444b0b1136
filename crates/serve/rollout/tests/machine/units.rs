//! Units, with a program that plays systemctl: a unit's state is a file.

use std::fs;

use crate::support::{Programs, machine};

const SYSTEMCTL: &str = r#"
echo "$*" >>"$here/orders"
case $1 in
    show) [ -e "$here/$3" ] && echo LoadState=loaded || echo LoadState=not-found;;
    start)
        [ -e "$here/broken" ] && { echo "Job for $2 failed."; exit 1; }
        [ -e "$here/crash" ] && echo activating >"$here/$2" || echo active >"$here/$2";;
    stop) [ -e "$here/stubborn" ] || echo inactive >"$here/$2";;
    is-active) cat "$here/$2"; [ "$(cat "$here/$2")" = active ] || exit 3;;
    status) echo "* $2 - an application"; seq 1 30; exit 3;;
esac
"#;

const SERVER: &str = "10.0.0.1:8080";
const PLAN: &str = "upstream = \"web\"\n[driver.systemd]\nunit = 'app@{port}.service'\nrollback = 'echo back {host} $WEIR_STAGE'";

fn systemctl() -> Programs {
    let programs = Programs::new();
    programs.add("systemctl", SYSTEMCTL);
    fs::write(programs.file("app@8080.service"), "active\n").expect("a file");
    programs
}

#[tokio::test]
async fn a_unit_is_stopped_started_and_rolled_back() {
    let programs = systemctl();
    let (machine, told) = machine(PLAN);
    let machine = machine.with_path(programs.path());
    machine.prepare(&[SERVER.to_owned()]).await.expect("it is there");
    machine.stop(SERVER, None).await.expect("it stops");
    assert_eq!(programs.read("app@8080.service"), "inactive\n");
    machine.start(SERVER, None).await.expect("it starts");
    assert_eq!(programs.read("app@8080.service"), "active\n");
    machine.rollback(SERVER, None).await.expect("it comes back");
    assert_eq!(told.after("back "), "10.0.0.1 rollback");
    let unit = "app@8080.service";
    let turn = |verb: &str| format!("{verb} {unit}\nis-active {unit}\n");
    let orders = [
        format!("show --property=LoadState {unit}\n"),
        turn("stop"),
        turn("start"),
        turn("stop"),
        turn("start"),
    ];
    assert_eq!(programs.read("orders"), orders.concat());
}

#[tokio::test]
async fn a_unit_that_fails_shows_its_status() {
    let programs = systemctl();
    let (machine, _) = machine(PLAN);
    let machine = machine.with_path(programs.path());
    let status: String = (11..=30).map(|n| format!("\n  {n}")).collect();
    fs::write(programs.file("broken"), "").expect("a file");
    let error = machine.start(SERVER, None).await.expect_err("it fails");
    let expected = "systemctl start app@8080.service ended with exit status: 1; its last lines:\n  \
                    Job for app@8080.service failed.; systemctl status:";
    assert_eq!(error, format!("{expected}{status}"));
    fs::remove_file(programs.file("broken")).expect("it was there");
    fs::write(programs.file("crash"), "").expect("a file");
    let error = machine.start(SERVER, None).await.expect_err("it fails");
    let expected = "unit app@8080.service is activating after start, expected active; systemctl status:";
    assert_eq!(error, format!("{expected}{status}"));
    fs::write(programs.file("stubborn"), "").expect("a file");
    let error = machine.stop(SERVER, None).await.expect_err("it goes on");
    let expected = "unit app@8080.service is activating after stop, expected inactive; systemctl status:";
    assert_eq!(error, format!("{expected}{status}"));
}

#[tokio::test]
async fn a_unit_on_another_machine_is_asked_there() {
    let programs = systemctl();
    programs.add("ssh", "echo \"$5\" >>\"$here/hosts\"; shift 6; exec sh -c \"$*\"");
    let plan = "upstream = \"web\"\n[driver.systemd]\nunit = 'app@{port}.service'\nhost = 'root@{host}'";
    let (machine, _) = machine(plan);
    let machine = machine.with_path(programs.path());
    machine.stop(SERVER, None).await.expect("it stops");
    assert_eq!(programs.read("app@8080.service"), "inactive\n");
    assert_eq!(programs.read("hosts"), "root@10.0.0.1\nroot@10.0.0.1\n");
}

#[tokio::test]
async fn a_unit_that_is_unknown_is_found_before_anything_begins() {
    let programs = systemctl();
    let (machine, _) = machine(PLAN);
    let error = machine.clone().with_path(programs.path()).prepare(&["10.0.0.1:9".to_owned()]).await;
    let expected =
        "10.0.0.1:9: unit app@9.service is not-found, expected loaded; look at driver.systemd.unit";
    assert_eq!(error.expect_err("unknown"), expected);
    let bare = Programs::new();
    bare.add("sh", "exit 1");
    let bare = bare.file("").into_os_string();
    let error = machine.with_path(bare).prepare(&["10.0.0.1:9".to_owned()]).await.expect_err("no systemctl");
    let expected = "10.0.0.1:9: systemctl is not here; run the release where the unit is, name driver.systemd.host, or choose another driver";
    assert_eq!(error, expected);
}
