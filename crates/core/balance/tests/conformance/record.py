#!/usr/bin/env python3
"""Records which peers nginx tries, request by request, for the groups below. Writes nginx.txt beside itself.

Needs an nginx binary with the realip module, and ports 18080 to 18086 of loopback. 18084 and 18085 answer nothing,
so that a request moves on. Once run, the record changes only with nginx itself.
"""
import http.client, os, re, shutil, signal, subprocess, sys, tempfile, time

A, B, C, D, DEAD, DEAD2 = (f"127.0.0.1:{p}" for p in (18081, 18082, 18083, 18086, 18084, 18085))
LONG = "fail_timeout=3600"
NEVER = "max_fails=0"
KEYS = [f"key{i}" for i in range(40)]
IPS = [f"10.{i * 7 % 256}.{i * 31 % 256}.{i}" for i in range(30)] + [f"2001:db8::{i:x}:1" for i in range(20)]
SERIES = [""] * 40
GROUPS = [
    ("rr_511", "", SERIES, [f"{A} weight=5", B, C]),
    ("rr_321", "", SERIES, [f"{A} weight=3", f"{B} weight=2", C]),
    ("rr_equal", "", SERIES, [A, B, C, D]),
    ("rr_down", "", SERIES, [A, f"{B} down weight=4", f"{C} weight=2"]),
    ("rr_dead", "", SERIES, [f"{A} weight=2", f"{DEAD} weight=3 {NEVER}", C]),
    ("rr_failing", "", SERIES, [f"{A} weight=4", f"{DEAD} weight=10 max_fails=5 {LONG}", f"{C} weight=3"]),
    ("rr_disabled", "", SERIES, [A, f"{DEAD} {LONG}", C]),
    ("rr_backup", "", SERIES, [f"{DEAD} {LONG}", f"{DEAD2} {LONG} max_fails=2", f"{A} backup weight=2", f"{B} backup"]),
    ("rr_all_dead", "", SERIES[:5], [f"{DEAD} {LONG}", f"{DEAD2} {LONG} max_fails=2"]),
    ("rr_single_dead", "", SERIES[:5], [f"{DEAD} {LONG}"]),
    ("rr_single_and_down", "", SERIES[:5], [f"{DEAD} {LONG}", f"{A} down"]),
    ("rr_single_down", "", SERIES[:2], [f"{A} down"]),
    ("lc_weights", "least_conn", SERIES, [f"{A} weight=3", f"{B} weight=2", C]),
    ("lc_failing", "least_conn", SERIES, [f"{A} weight=4", f"{DEAD} weight=10 max_fails=5 {LONG}", f"{C} weight=3"]),
    ("lc_backup", "least_conn", SERIES, [f"{DEAD} {LONG}", f"{A} backup weight=2", f"{B} backup"]),
    ("ip", "ip_hash", IPS, [f"{A} weight=3", f"{B} weight=2", C]),
    ("ip_dead", "ip_hash", IPS, [A, f"{DEAD} weight=3 {NEVER}", f"{DEAD2} weight=3 {NEVER}", D]),
    ("ip_down", "ip_hash", IPS, [A, f"{B} down weight=7", C]),
    ("ip_mostly_down", "ip_hash", IPS, [A, f"{B} down weight=90", f"{C} weight=2"]),
    ("plain", "hash $arg_k", KEYS, [f"{A} weight=3", f"{B} weight=2", C]),
    ("plain_dead", "hash $arg_k", KEYS, [A, f"{DEAD} weight=3 {NEVER}", f"{DEAD2} weight=3 {NEVER}", D]),
    ("plain_empty", "hash $arg_k", SERIES, [f"{A} weight=3", f"{B} weight=2", C]),
    ("plain_mostly_down", "hash $arg_k", KEYS, [A, f"{B} down weight=90", f"{C} weight=2"]),
    ("ring", "hash $arg_k consistent", KEYS, [f"{A} weight=3", f"{B} weight=2", C]),
    ("ring_dead", "hash $arg_k consistent", KEYS, [A, f"{DEAD} weight=3 {NEVER}", f"{DEAD2} weight=3 {NEVER}", D]),
    ("ring_mostly_down", "hash $arg_k consistent", KEYS, [A, f"{B} down weight=60", f"{C} weight=2"]),
    ("ring_shared", "hash $arg_k consistent", KEYS, [f"{A} weight=2", A, C, f"{A} weight=3"]),
]


def configuration():
    yield "daemon off; master_process off; pid nginx.pid; error_log error.log; events {}\nhttp { access_log off;"
    for temp in ("client_body", "proxy", "fastcgi", "uwsgi", "scgi"):
        yield f"{temp}_temp_path {temp};"
    for name, method, _, servers in GROUPS:
        lines = "".join(f" server {server};" for server in servers)
        yield f"upstream {name} {{ {method + ';' if method else ''}{lines} }}"
    yield "server { listen 127.0.0.1:18080; set_real_ip_from 127.0.0.1; add_header X-Tried $upstream_addr always;"
    for name, _, _, _ in GROUPS:
        yield f"location /{name} {{ proxy_pass http://{name}; }}"
    yield "}"
    live = "".join(f" listen {peer};" for peer in (A, B, C, D))
    yield f"server {{{live} return 204; }}"
    yield f"server {{ listen {DEAD}; listen {DEAD2}; return 444; }}\n}}"


def main():
    nginx = sys.argv[1] if len(sys.argv) > 1 else "nginx"
    version = re.search(r"nginx/\S+", subprocess.run([nginx, "-v"], capture_output=True, text=True).stderr)[0]
    folder = tempfile.mkdtemp()
    with open(f"{folder}/nginx.conf", "w") as file:
        file.write("\n".join(configuration()))
    server = subprocess.Popen([nginx, "-p", folder, "-c", "nginx.conf", "-e", "error.log"])
    try:
        while not os.path.exists(f"{folder}/nginx.pid"):
            if server.poll() is not None:
                sys.exit(f"nginx ended: see {folder}/error.log")
            time.sleep(0.05)
        with open(os.path.join(os.path.dirname(__file__), "nginx.txt"), "w") as out:
            out.write(f"# {version}. Recorded by record.py; a line: key -> peers tried, or the group's name for none.\n")
            for name, method, keys, servers in GROUPS:
                out.write(f"\ngroup {name} {method}".rstrip() + "\n")
                out.writelines(f"server {line}\n" for line in servers)
                for key in keys:
                    client = http.client.HTTPConnection("127.0.0.1", 18080)
                    client.request("GET", f"/{name}?k={key}", headers={"X-Real-IP": key or "10.0.0.1"})
                    out.write(f"{key} -> {client.getresponse().getheader('X-Tried')}\n")
                    client.close()
    finally:
        server.send_signal(signal.SIGTERM)
        server.wait()
    shutil.rmtree(folder)


main()
