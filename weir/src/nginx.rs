//! nginx's command line, with its texts and exit codes.

use std::io::Write;
use std::process::ExitCode;

use weir_log::Level;
use weir_net::Signal;

use crate::arguments::{self, Arguments, Command};
use crate::journal::Journal;
use crate::keeper::{self, pid_file};
use crate::load;
use crate::place::{self, Invocation};
use crate::version;

/// Does what nginx would do with these words.
pub(crate) fn run(words: &[String]) -> ExitCode {
    let arguments = match arguments::parse(words) {
        Ok(arguments) => arguments,
        Err(text) => {
            eprintln!("nginx: {text}");
            return ExitCode::FAILURE;
        }
    };
    if arguments.version || arguments.test || arguments.signal.is_some() {
        // Should it fail, the command is only less easily interrupted.
        let _ = weir_net::end_by_signals();
    }
    if arguments.version {
        show_version(&arguments);
        if !arguments.test {
            return ExitCode::SUCCESS;
        }
    }
    let invocation = Invocation::nginx_style(&arguments);
    if arguments.test {
        return test(&arguments, &invocation);
    }
    if let Some(command) = arguments.signal {
        return signal(command, &invocation);
    }
    if words.is_empty() && !std::path::Path::new(&invocation.options.conf_file()).exists() {
        eprintln!(
            "weir: there is no {}; type `weir run FILE` to serve another nginx.conf, `weir demo` to see Weir \
             work, `weir --help` for all else",
            place::CONF
        );
        return ExitCode::FAILURE;
    }
    keeper::run(invocation)
}

fn show_version(arguments: &Arguments) {
    eprintln!("nginx version: {}", version::NAME);
    if arguments.help {
        eprint!(
            "Usage: nginx [-?hvVtTq] [-s signal] [-p prefix]\n             \
             [-e filename] [-c filename] [-g directives]\n\n\
             Options:\n  \
             -?,-h         : this help\n  \
             -v            : show version and exit\n  \
             -V            : show version and configure options then exit\n  \
             -t            : test configuration and exit\n  \
             -T            : test configuration, dump it and exit\n  \
             -q            : suppress non-error messages during configuration testing\n  \
             -s signal     : send signal to a master process: stop, quit, reopen, reload\n  \
             -p prefix     : set prefix path (default: {prefix})\n  \
             -e filename   : set error log file (default: {log}/error.log)\n  \
             -c filename   : set configuration file (default: {conf})\n  \
             -g directives : set global directives out of configuration file\n\n\
             Weir's own commands: weir --help\n\n",
            prefix = place::PREFIX,
            conf = place::CONF,
            log = place::log_folder(),
        );
    }
    if arguments.configure {
        eprintln!("built by {} for Linux", env!("CARGO_PKG_NAME"));
        eprintln!("configure arguments:{}", version::configure_arguments());
    }
}

/// `-t` and `-T`.
fn test(arguments: &Arguments, invocation: &Invocation) -> ExitCode {
    let journal = Journal::starting(invocation.first_log.as_deref());
    let file = invocation.options.conf_file();
    let loaded = load::load(&invocation.options, &journal);
    if loaded.is_some() && !arguments.quiet {
        eprintln!("nginx: the configuration file {file} syntax is ok");
    }
    let tested = loaded.filter(|loaded| keeper::test(&loaded.config, &journal));
    let tested = tested.filter(|loaded| match &loaded.config.process.keepalived {
        Some(path) => load::routers(path, None, load::Moment::Reload, &journal).is_some(),
        None => true,
    });
    let Some(loaded) = tested else {
        eprintln!("nginx: configuration file {file} test failed");
        return ExitCode::FAILURE;
    };
    if !arguments.quiet {
        eprintln!("nginx: configuration file {file} test is successful");
    }
    if arguments.dump {
        let mut out = std::io::stdout().lock();
        for file in loaded.tree.files.iter().filter(|file| !file.command_line) {
            let written = writeln!(out, "# configuration file {}:", file.path)
                .and_then(|()| out.write_all(&file.bytes()))
                .and_then(|()| out.write_all(b"\n"));
            if written.is_err() {
                return ExitCode::FAILURE;
            }
        }
    }
    ExitCode::SUCCESS
}

/// `-s`.
fn signal(command: Command, invocation: &Invocation) -> ExitCode {
    let journal = Journal::starting(invocation.first_log.as_deref());
    let Some(loaded) = load::load(&invocation.options, &journal) else {
        return ExitCode::FAILURE;
    };
    journal.notice("signal process started");
    let signal = match command {
        Command::Stop => Signal::Term,
        Command::Quit => Signal::Quit,
        Command::Reopen => Signal::Usr1,
        Command::Reload => Signal::Hup,
    };
    let pid = match pid_file::read(&loaded.config.process.pid) {
        Ok(pid) => pid,
        Err(text) => {
            journal.say(Level::Error, text);
            return ExitCode::FAILURE;
        }
    };
    match weir_net::send_signal(pid, signal) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            let (number, errno) = (signal.number(), weir_log::Errno(&error));
            journal.alert(format_args!("kill({pid}, {number}) failed {errno}"));
            ExitCode::FAILURE
        }
    }
}
