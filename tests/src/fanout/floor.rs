//! The bare floor: one thread, one `send(2)` per listener and chunk, nothing else.

use std::io::{Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::sync::mpsc;

use anyhow::Result;

use super::stream::Pacer;

/// Serves `frames` frames per chunk to whoever connects, forever.
///
/// # Errors
/// When the address cannot be had.
pub fn run(listen: SocketAddr, frames: usize) -> Result<()> {
    let socket = socket2::Socket::new(socket2::Domain::IPV4, socket2::Type::STREAM, None)?;
    socket.set_reuse_address(true)?;
    socket.bind(&listen.into())?;
    socket.listen(8192)?;
    let listener: TcpListener = socket.into();
    let (joined, joining) = mpsc::channel::<TcpStream>();
    std::thread::spawn(move || {
        for socket in listener.incoming().flatten() {
            if greet(&socket).is_ok() && joined.send(socket).is_err() {
                return;
            }
        }
    });
    let mut listeners: Vec<TcpStream> = Vec::new();
    let mut pacer = Pacer::new();
    let mut chunk = Vec::new();
    loop {
        chunk.clear();
        for _ in 0..frames {
            chunk.extend_from_slice(&pacer.next_frame());
        }
        listeners.extend(joining.try_iter());
        listeners.retain_mut(|socket| match socket.write(&chunk) {
            Ok(n) => n == chunk.len(),
            Err(_) => false,
        });
    }
}

fn greet(mut socket: &TcpStream) -> std::io::Result<()> {
    let mut request = [0; 1024];
    let _ = socket.read(&mut request)?;
    socket.set_nodelay(true)?;
    socket.write_all(b"HTTP/1.0 200 OK\r\nContent-Type: audio/mpeg\r\n\r\n")?;
    socket.set_nonblocking(true)
}
