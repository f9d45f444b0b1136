//! A store that answers as it is told, byte for byte.

use std::sync::{Arc, Mutex};

use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::mpsc::{UnboundedReceiver, UnboundedSender, unbounded_channel};

/// What becomes of one question.
#[derive(Clone)]
pub enum Act {
    /// These bytes, and the connection stays.
    Say(Vec<u8>),
    /// These bytes, and the connection ends.
    SayAndClose(Vec<u8>),
    /// So many bytes of a body without end of the same line.
    Flood(usize),
}

/// Answers one question after the other, whichever connection it comes over. A question without an answer waits.
pub struct Fake {
    pub port: u16,
    answers: UnboundedSender<Act>,
    pub questions: UnboundedReceiver<String>,
    pub connections: Arc<Mutex<usize>>,
}

impl Fake {
    pub async fn start() -> Self {
        let listener = TcpListener::bind(("127.0.0.1", 0)).await.expect("a free port");
        let port = listener.local_addr().expect("its address").port();
        let (answers, acts) = unbounded_channel();
        let (asked, questions) = unbounded_channel();
        let connections = Arc::new(Mutex::new(0));
        let acts = Arc::new(tokio::sync::Mutex::new(acts));
        let counter = Arc::clone(&connections);
        tokio::spawn(async move {
            while let Ok((stream, _)) = listener.accept().await {
                *counter.lock().expect("no panic") += 1;
                tokio::spawn(serve(stream, Arc::clone(&acts), asked.clone()));
            }
        });
        Self { port, answers, questions, connections }
    }

    pub fn act(&self, act: Act) {
        self.answers.send(act).expect("the fake lives");
    }

    /// A complete answer with Consul's index.
    pub fn say(&self, status: &str, index: Option<u64>, body: &str) {
        self.act(Act::Say(answer(status, index, body)));
    }

    /// The next question: its first line and its headers.
    pub async fn question(&mut self) -> String {
        super::soon("question", self.questions.recv()).await.expect("the fake lives")
    }

    /// The request target of the next question.
    pub async fn target(&mut self) -> String {
        let question = self.question().await;
        question.split(' ').nth(1).expect("a request line").to_owned()
    }
}

pub fn answer(status: &str, index: Option<u64>, body: &str) -> Vec<u8> {
    let index = index.map_or_else(String::new, |index| format!("X-Consul-Index: {index}\r\n"));
    format!("HTTP/1.1 {status}\r\n{index}Content-Length: {}\r\n\r\n{body}", body.len()).into_bytes()
}

/// Keys of an upstream `app` without values.
pub fn keys(addresses: &[&str]) -> String {
    let keys: Vec<_> = addresses
        .iter()
        .map(|address| serde_json::json!({ "Key": format!("upstreams/app/{address}"), "Value": null }))
        .collect();
    serde_json::to_string(&keys).expect("JSON")
}

async fn serve(
    mut stream: TcpStream,
    acts: Arc<tokio::sync::Mutex<UnboundedReceiver<Act>>>,
    asked: UnboundedSender<String>,
) {
    let mut head = Vec::new();
    loop {
        while !head.ends_with(b"\r\n\r\n") {
            match stream.read_u8().await {
                Ok(byte) => head.push(byte),
                Err(_) => return,
            }
        }
        let text = String::from_utf8_lossy(&head).into_owned();
        head.clear();
        let length = text
            .lines()
            .find_map(|line| line.to_ascii_lowercase().strip_prefix("content-length: ")?.parse().ok());
        let mut body = vec![0; length.unwrap_or(0)];
        if stream.read_exact(&mut body).await.is_err() {
            return;
        }
        let _ = asked.send(text);
        // The client going away takes no answer from the next question.
        let mut byte = [0];
        let act = tokio::select! {
            act = async { acts.lock().await.recv().await } => act,
            _ = stream.peek(&mut byte) => return,
        };
        match act {
            Some(Act::Say(bytes)) => {
                if stream.write_all(&bytes).await.is_err() {
                    return;
                }
            }
            Some(Act::SayAndClose(bytes)) => {
                let _ = stream.write_all(&bytes).await;
                return;
            }
            Some(Act::Flood(length)) => {
                let _ = stream.write_all(b"HTTP/1.1 200 OK\r\nX-Consul-Index: 99\r\n\r\n").await;
                let piece = vec![b'['; 1 << 20];
                for _ in 0..length >> 20 {
                    if stream.write_all(&piece).await.is_err() {
                        return;
                    }
                }
                return;
            }
            None => return,
        }
    }
}
