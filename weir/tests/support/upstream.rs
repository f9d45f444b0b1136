//! An upstream server that does what a test says, and remembers what it was asked.

use std::io::{BufRead, BufReader, Read, Write};
use std::net::{Ipv4Addr, Shutdown, SocketAddr, TcpListener, TcpStream};
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::thread::JoinHandle;

/// One request as it reached the upstream.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Request {
    /// Which connection it came on, from 0.
    pub connection: usize,
    pub method: String,
    pub target: String,
    pub version: String,
    /// Names as they were sent.
    pub headers: Vec<(String, String)>,
    /// Without its framing.
    pub body: Vec<u8>,
    pub trailers: Vec<String>,
}

impl Request {
    pub fn header(&self, name: &str) -> Option<&str> {
        self.headers.iter().find(|(n, _)| n.eq_ignore_ascii_case(name)).map(|(_, value)| value.as_str())
    }
}

/// What becomes of the connection after an answer.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Then {
    Keep,
    Close,
}

type Script = dyn Fn(&Request, &mut TcpStream) -> Then + Send + Sync;

struct Shared {
    script: Box<Script>,
    requests: Mutex<Vec<Request>>,
    accepted: AtomicUsize,
    streams: Mutex<Vec<TcpStream>>,
    stopped: AtomicBool,
}

pub struct Upstream {
    address: SocketAddr,
    shared: Arc<Shared>,
    acceptor: Option<JoinHandle<()>>,
}

impl Upstream {
    /// Answers each request by a script, which writes to the connection.
    pub fn new(script: impl Fn(&Request, &mut TcpStream) -> Then + Send + Sync + 'static) -> Upstream {
        Upstream::on(SocketAddr::from((Ipv4Addr::LOCALHOST, 0)), script)
    }

    /// The same on an address that is known before.
    pub fn on(
        address: SocketAddr,
        script: impl Fn(&Request, &mut TcpStream) -> Then + Send + Sync + 'static,
    ) -> Upstream {
        let listener = TcpListener::bind(address).expect("the address is free");
        let address = listener.local_addr().expect("bound");
        let shared = Arc::new(Shared {
            script: Box::new(script),
            requests: Mutex::default(),
            accepted: AtomicUsize::new(0),
            streams: Mutex::default(),
            stopped: AtomicBool::new(false),
        });
        let acceptor = {
            let shared = Arc::clone(&shared);
            std::thread::spawn(move || accept(&listener, &shared))
        };
        Upstream { address, shared, acceptor: Some(acceptor) }
    }

    /// Answers everything with 200 and a word, and keeps connections.
    pub fn saying(word: &str) -> Upstream {
        let answer = ok(word);
        Upstream::new(move |_, stream| reply(stream, &answer))
    }

    /// Answers everything with the same bytes and closes.
    pub fn raw(bytes: impl Into<Vec<u8>>) -> Upstream {
        let bytes = bytes.into();
        Upstream::new(move |_, stream| {
            reply(stream, &bytes);
            Then::Close
        })
    }

    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// Requests whose head and body were whole, in the order in which they were.
    pub fn requests(&self) -> Vec<Request> {
        self.shared.requests.lock().expect("no thread panics in here").clone()
    }

    /// The only request.
    pub fn request(&self) -> Request {
        let requests = self.requests();
        assert_eq!(requests.len(), 1, "{requests:?}");
        requests.into_iter().next().expect("one")
    }

    pub fn count(&self) -> usize {
        self.shared.requests.lock().expect("no thread panics in here").len()
    }

    /// Connections that were accepted.
    pub fn connections(&self) -> usize {
        self.shared.accepted.load(Ordering::SeqCst)
    }

    /// Closes what is open now and goes on accepting.
    pub fn cut(&self) {
        for stream in self.shared.streams.lock().expect("no thread panics in here").drain(..) {
            let _ = stream.shutdown(Shutdown::Both);
        }
    }

    /// Closes everything; further connections are refused.
    pub fn stop(&mut self) {
        let Some(acceptor) = self.acceptor.take() else { return };
        self.shared.stopped.store(true, Ordering::SeqCst);
        let _ = TcpStream::connect(self.address);
        acceptor.join().expect("it accepts and nothing else");
        self.cut();
    }
}

impl Drop for Upstream {
    fn drop(&mut self) {
        self.stop();
    }
}

/// A whole answer with a text.
pub fn ok(word: &str) -> Vec<u8> {
    format!("HTTP/1.1 200 OK\r\nContent-Length: {}\r\n\r\n{word}", word.len()).into_bytes()
}

/// Writes an answer and keeps the connection; that nobody takes it is the proxy's affair.
pub fn reply(stream: &mut TcpStream, bytes: &[u8]) -> Then {
    match stream.write_all(bytes) {
        Ok(()) => Then::Keep,
        Err(_) => Then::Close,
    }
}

fn accept(listener: &TcpListener, shared: &Arc<Shared>) {
    loop {
        let Ok((stream, _)) = listener.accept() else { return };
        if shared.stopped.load(Ordering::SeqCst) {
            return;
        }
        // Answers go out piece by piece.
        let _ = stream.set_nodelay(true);
        let connection = shared.accepted.fetch_add(1, Ordering::SeqCst);
        if let Ok(copy) = stream.try_clone() {
            shared.streams.lock().expect("no thread panics in here").push(copy);
        }
        let shared = Arc::clone(shared);
        std::thread::spawn(move || talk(connection, stream, &shared));
    }
}

fn talk(connection: usize, mut stream: TcpStream, shared: &Shared) {
    let Ok(copy) = stream.try_clone() else { return };
    let mut reader = BufReader::new(copy);
    while let Some(request) = read(connection, &mut reader) {
        shared.requests.lock().expect("no thread panics in here").push(request.clone());
        if (shared.script)(&request, &mut stream) == Then::Close {
            break;
        }
    }
    let _ = stream.shutdown(Shutdown::Both);
}

/// Reads one request; nothing at the end of the connection, or if it is not whole.
fn read(connection: usize, reader: &mut BufReader<TcpStream>) -> Option<Request> {
    let first = line(reader)?;
    let mut words = first.split(' ');
    let (method, target, version) = (words.next()?, words.next()?, words.next()?);
    let mut request = Request {
        connection,
        method: method.to_owned(),
        target: target.to_owned(),
        version: version.to_owned(),
        headers: Vec::new(),
        body: Vec::new(),
        trailers: Vec::new(),
    };
    loop {
        let field = line(reader)?;
        if field.is_empty() {
            break;
        }
        let (name, value) = field.split_once(':')?;
        request.headers.push((name.to_owned(), value.trim().to_owned()));
    }
    if request.header("transfer-encoding") == Some("chunked") {
        loop {
            let size = usize::from_str_radix(&line(reader)?, 16).ok()?;
            if size == 0 {
                break;
            }
            let start = request.body.len();
            request.body.resize(start + size, 0);
            reader.read_exact(&mut request.body[start..]).ok()?;
            line(reader)?;
        }
        loop {
            match line(reader)? {
                trailer if trailer.is_empty() => break,
                trailer => request.trailers.push(trailer),
            }
        }
    } else if let Some(length) = request.header("content-length") {
        request.body = vec![0; length.parse().ok()?];
        reader.read_exact(&mut request.body).ok()?;
    }
    Some(request)
}

fn line(reader: &mut BufReader<TcpStream>) -> Option<String> {
    let mut line = Vec::new();
    reader.read_until(b'\n', &mut line).ok()?;
    let line = line.strip_suffix(b"\r\n")?;
    Some(String::from_utf8_lossy(line).into_owned())
}
