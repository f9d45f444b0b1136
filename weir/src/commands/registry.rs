//! `weir registry`: the embedded registry by itself.

use std::net::{IpAddr, SocketAddr, TcpListener, UdpSocket};
use std::os::unix::fs::DirBuilderExt;
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::sync::Arc;

use clap::Args;
use weir_model::{Level, ListenAddress};
use weir_net::{ListenSpec, Signal, Signals};
use weir_serve_registry::{Options, Running};

use crate::control::registry::again;
use crate::{load, place};

/// What `weir registry` is told.
#[derive(Args, Debug)]
pub(super) struct Words {
    /// Where Consul's HTTP API is served; may be given several times
    #[arg(long, value_name = "ADDRESS:PORT", default_value = "127.0.0.1:8500")]
    listen: Vec<SocketAddr>,
    /// Where DNS is served, over UDP and TCP; without it not at all
    #[arg(long, value_name = "ADDRESS:PORT")]
    dns: Vec<SocketAddr>,
    /// The folder of the database; without it registry/ below the state folder of this user
    #[arg(long, value_name = "FOLDER")]
    data: Option<PathBuf>,
    /// The node's name in the catalog; without it the machine's
    #[arg(long)]
    node: Option<String>,
    /// The node's address in the catalog
    #[arg(long, default_value = "127.0.0.1")]
    address: IpAddr,
    /// The name of the datacenter
    #[arg(long, default_value = "dc1")]
    datacenter: String,
    /// A file with the token that whoever writes has to have
    #[arg(long, value_name = "FILE")]
    write_token_file: Option<PathBuf>,
    /// A file with the token that whoever reads has to have
    #[arg(long, value_name = "FILE")]
    read_token_file: Option<PathBuf>,
    /// A PEM file: serve TLS
    #[arg(long, value_name = "FILE", requires = "certificate_key")]
    certificate: Option<String>,
    /// The PEM file of the certificate's key
    #[arg(long, value_name = "FILE", requires = "certificate")]
    certificate_key: Option<String>,
    /// Started as root: the user that it runs as
    #[arg(long, default_value = "nobody")]
    user: String,
}

/// Runs until a signal ends it.
pub(super) fn run(words: &Words) -> ExitCode {
    match serve(words) {
        Ok(()) => ExitCode::SUCCESS,
        Err(text) => {
            eprintln!("weir: {text}");
            ExitCode::FAILURE
        }
    }
}

fn serve(words: &Words) -> Result<(), String> {
    // Before there is a second thread, so that signals come here alone.
    let signals = Signals::new().map_err(|error| error.to_string())?;
    let options = options(words)?;
    if let Err(error) = weir_net::raise_nofile() {
        eprintln!("weir: the limit of open files stays as it is: {error}");
    }
    become_user(words, Path::new(&options.registry.data))?;
    let (listen, data) = (options.registry.listen.clone(), options.registry.data.clone());
    let kept = again(&options).map_err(|error| error.to_string())?;
    let running = Running::start(options).map_err(|error| error.to_string())?;
    let addresses: Vec<String> = listen.iter().map(ToString::to_string).collect();
    eprintln!("weir registry serves {}; data in {data}; Ctrl-C ends it", addresses.join(", "));
    loop {
        let received = signals.wait(None).map_err(|error| error.to_string())?;
        match received.map(|received| received.signal) {
            Some(Signal::Int | Signal::Term | Signal::Quit) => break,
            // Tokens and certificates may be others by now; the sockets stay.
            Some(Signal::Hup) => match registry(words) {
                Ok(registry) => reload(&running, &kept, registry),
                Err(text) => Err(text),
            }
            .unwrap_or_else(|text| eprintln!("weir: reload refused, nothing has changed: {text}")),
            _ => {}
        }
    }
    running.stop();
    Ok(())
}

fn reload(running: &Running, kept: &Options, registry: weir_model::Registry) -> Result<(), String> {
    let sockets = again(kept).map_err(|error| error.to_string())?;
    running.reconfigure(Options { registry, ..sockets }).map_err(|error| error.to_string())
}

fn registry(words: &Words) -> Result<weir_model::Registry, String> {
    let data = match &words.data {
        Some(data) => std::path::absolute(data).map_err(|error| error.to_string())?,
        None => Path::new(&place::state_folder()).join("registry"),
    };
    let write_token = words.write_token_file.as_deref().map(super::token).transpose()?;
    let open = words.listen.iter().find(|address| !address.ip().is_loopback());
    if let (Some(address), None) = (open, &write_token) {
        return Err(format!(
            "{address} can be reached from other machines, and without a token everybody could write; give \
             --write-token-file FILE, or listen on 127.0.0.1"
        ));
    }
    Ok(weir_model::Registry {
        listen: words.listen.iter().map(|address| ListenAddress::Inet(*address)).collect(),
        dns: words.dns.clone(),
        data: data.display().to_string(),
        datacenter: words.datacenter.clone(),
        node: words.node.clone(),
        address: words.address,
        write_token,
        read_token: words.read_token_file.as_deref().map(super::token).transpose()?,
        tls: words.certificate.clone().zip(words.certificate_key.clone()),
        ..weir_model::Registry::default()
    })
}

fn options(words: &Words) -> Result<Options, String> {
    let registry = registry(words)?;
    let listen = |address: &SocketAddr| {
        let spec = ListenSpec::new(ListenAddress::Inet(*address));
        let mut sockets = weir_net::listen(&spec, 1).map_err(|error| error.to_string())?;
        Ok::<_, String>(TcpListener::from(sockets.remove(0)))
    };
    let listeners = words.listen.iter().map(listen).collect::<Result<_, _>>()?;
    let dns = words.dns.iter().map(|address| {
        let datagrams = weir_net::bind_datagram(*address).map_err(|error| error.to_string())?;
        Ok::<_, String>((UdpSocket::from(datagrams), listen(address)?))
    });
    let dns = dns.collect::<Result<_, _>>()?;
    let host = || rustix::system::uname().nodename().to_string_lossy().into_owned();
    let node = registry.node.clone().unwrap_or_else(host);
    let log = Arc::new(|level: Level, text: String| {
        if level <= Level::Notice {
            eprintln!("weir registry: {text}");
        }
    });
    Ok(Options { registry, node, listeners, unix: Vec::new(), dns, log, mount: None })
}

/// Nothing that reads bytes from the network runs as root.
fn become_user(words: &Words, data: &Path) -> Result<(), String> {
    let failed = |error: std::io::Error| format!("{}: {error}", data.display());
    std::fs::DirBuilder::new().recursive(true).mode(0o700).create(data).map_err(failed)?;
    if !weir_net::is_root() {
        return Ok(());
    }
    let user = load::known_user(&words.user)?;
    if user.uid == 0 {
        return Ok(());
    }
    std::os::unix::fs::chown(data, Some(user.uid), Some(user.gid)).map_err(failed)?;
    for entry in std::fs::read_dir(data).map_err(failed)? {
        let path = entry.map_err(failed)?.path();
        std::os::unix::fs::chown(&path, Some(user.uid), Some(user.gid)).map_err(failed)?;
    }
    weir_net::drop_privileges(&user, user.gid).map_err(|error| format!("user {}: {error}", user.name))
}
