//! A running server, and how to talk to it.

use std::io::{BufRead, BufReader, Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::path::Path;
use std::process::{Child, Command, Output, Stdio};
use std::time::{Duration, Instant};

use serde_json::{Value, json};

/// Where segments are, on Auth0's paths.
pub const SEGMENTS: &str = "/api/v2/experimentation/segments";

/// A server on a free port, killed if a test does not end it.
pub struct Server {
    child: Child,
    stdout: BufReader<std::process::ChildStdout>,
    pub address: SocketAddr,
}

impl Server {
    pub fn start(options: &[&str]) -> Self {
        Self::running(serve(options))
    }

    /// What this command serves.
    pub fn running(mut command: Command) -> Self {
        let mut child = command.stdout(Stdio::piped()).spawn().unwrap();
        let mut stdout = BufReader::new(child.stdout.take().unwrap());
        let mut line = String::new();
        stdout.read_line(&mut line).unwrap();
        let address = line.trim().strip_prefix("listening on http://");
        let address = address.unwrap_or_else(|| panic!("{line:?}")).parse().unwrap();
        Self { child, stdout, address }
    }

    pub fn with(file: &Path) -> Self {
        Self::start(&["--config", file.to_str().unwrap()])
    }

    pub fn connect(&self) -> TcpStream {
        let stream = TcpStream::connect(self.address).unwrap();
        stream.set_read_timeout(Some(Duration::from_secs(20))).unwrap();
        stream
    }

    /// Status and body of the answer; the headers are given as they are sent.
    pub fn send(&self, method: &str, path: &str, headers: &str, body: &[u8]) -> (u16, Value) {
        let mut stream = self.connect();
        let length = body.len();
        write!(
            stream,
            "{method} {path} HTTP/1.1\r\nhost: localhost\r\nconnection: close\r\n\
             content-length: {length}\r\n{headers}\r\n"
        )
        .unwrap();
        stream.write_all(body).unwrap();
        let mut answer = String::new();
        stream.read_to_string(&mut answer).unwrap();
        let (head, body) = answer.split_once("\r\n\r\n").unwrap();
        let status = head.split(' ').nth(1).unwrap().parse().unwrap();
        (status, serde_json::from_str(body).unwrap_or(Value::Null))
    }

    pub fn post(&self, path: &str, body: &Value) -> (u16, Value) {
        let json = "content-type: application/json\r\n";
        self.send("POST", path, json, body.to_string().as_bytes())
    }

    pub fn create_segment(&self, name: &str) -> (u16, Value) {
        self.post(SEGMENTS, &json!({"name": name, "rules": [{"match": {"country": ["DE"]}}]}))
    }

    /// Sends a signal and waits for the end: the exit code and how long it took.
    pub fn end(mut self, signal: &str) -> (Option<i32>, Duration) {
        let begin = Instant::now();
        let id = self.child.id().to_string();
        assert!(Command::new("kill").args(["-s", signal, &id]).status().unwrap().success());
        let mut rest = String::new();
        self.stdout.read_to_string(&mut rest).unwrap();
        assert_eq!(rest, "stopped\n");
        (self.child.wait().unwrap().code(), begin.elapsed())
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

fn serve(options: &[&str]) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_variate"));
    command.args(["serve", "--port", "0"]).args(options);
    command
}

/// The message of a server that does not start.
pub fn refused(options: &[&str]) -> String {
    let Output { status, stdout, stderr } = serve(options).output().unwrap();
    assert_eq!(status.code(), Some(1));
    assert!(stdout.is_empty());
    String::from_utf8(stderr).unwrap()
}
