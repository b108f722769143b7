//! `udp` and `rtp` inputs: one socket, one talk after the other. A talk begins
//! with its first packet and ends after a silence or with RTCP BYE.

mod rtp;

use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::{Duration, Instant};

use seamcast_media::demux::{Event, Fault};
use seamcast_media::pcm::SampleFormat;
use seamcast_media::rtp::{Format, Media, Packet, bye_sources, is_rtcp};
use seamcast_media::units::Frames;
use seamcast_media::wav;
use tokio::net::UdpSocket;

use super::{Backoff, Status};
use crate::config::{ForwardKind, Input, InputKind, rtcp_of};
use crate::forward::Fan;
use crate::ingest::feed::{Feed, Refusal};
use crate::ingest::media_type::Declared;
use crate::server::Relay;
use rtp::{Rtp, formats, opus_config};

/// Room for a talker who sends much faster than real time while this task
/// waits for the processor.
const SOCKET_BUFFER: usize = 4 << 20;
/// A second sender is not let in while the first was heard so recently.
const HOLDS_THE_FLOOR: Duration = Duration::from_millis(500);
/// Datagrams taken per wake-up.
const BATCH: usize = 64;

/// A socket for `address`, with a large buffer where the system allows one.
fn bind(address: SocketAddr) -> io::Result<UdpSocket> {
    let socket = socket2::Socket::new(
        socket2::Domain::for_address(address),
        socket2::Type::DGRAM,
        None,
    )?;
    socket.set_nonblocking(true)?;
    if rustix::net::sockopt::set_socket_recv_buffer_size_force(&socket, SOCKET_BUFFER).is_err() {
        socket.set_recv_buffer_size(SOCKET_BUFFER)?;
    }
    socket.bind(&address.into())?;
    UdpSocket::from_std(socket.into())
}

/// Receives until the relay drains.
pub(super) async fn run(relay: &Arc<Relay>, input: &Input, status: &Arc<Status>) {
    let mut backoff = Backoff::default();
    let Some(address) = input.listen else {
        return status.failed("no address to listen at");
    };
    let formats = loop {
        match formats(input).await {
            Ok(formats) => break formats,
            Err(why) => status.failed(&why),
        }
        if pause(relay, backoff.failed(rand::random())).await {
            return;
        }
    };
    let kind = match input.kind {
        InputKind::Rtp => ForwardKind::Rtp,
        _ => ForwardKind::Udp,
    };
    let fan = Fan::of(relay, &input.mount, kind);
    let socket = loop {
        match bind(address) {
            Ok(socket) => break socket,
            Err(error) => status.failed(&format!("cannot listen at {address}/udp: {error}")),
        }
        if pause(relay, backoff.failed(rand::random())).await {
            return;
        }
    };
    // RTCP comes one port above or on the same (RFC 5761).
    let control = rtcp_of(address).filter(|_| input.kind == InputKind::Rtp);
    let control = control.and_then(|control| {
        let bound = bind(control).inspect_err(|error| {
            tracing::warn!(mount = %input.mount, %error, "no RTCP is received: cannot listen at port {}; goodbyes count when they come to port {}", control.port(), address.port());
        });
        bound.ok()
    });
    tracing::info!(mount = %input.mount, %address, input = input.kind.name(), "waiting for packets");
    let talk = Talk {
        relay,
        input,
        status,
        fan,
        origin: Instant::now(),
        feed: None,
        before: None,
        rtp: (input.kind == InputKind::Rtp).then(|| Rtp::new(input, &formats)),
        formats,
        format: None,
        peer: None,
        heard: Instant::now(),
        flushed: true,
        goodbye: None,
        barred: None,
    };
    talk.receive(&socket, control.as_ref()).await;
}

/// True when the relay drains meanwhile.
pub(super) async fn pause(relay: &Relay, wait: Duration) -> bool {
    tokio::select! {
        () = relay.drained() => true,
        () = tokio::time::sleep(wait) => false,
    }
}

/// Why packets are not taken for now.
enum Barred {
    /// Another source has the mount.
    WhileTaken(Instant),
    /// An administrator ended the talk: until its sender pauses.
    UntilSilence,
}

struct Talk<'r> {
    relay: &'r Arc<Relay>,
    input: &'r Input,
    status: &'r Arc<Status>,
    fan: Fan,
    /// Zero of the receiver's clock.
    origin: Instant,
    feed: Option<Feed>,
    /// The feed of the format before, until the new one is on air.
    before: Option<Feed>,
    formats: Vec<(u8, Format)>,
    /// What the talk is in now.
    format: Option<Format>,
    rtp: Option<Rtp>,
    peer: Option<SocketAddr>,
    heard: Instant,
    flushed: bool,
    /// The SSRC that has said goodbye.
    goodbye: Option<u32>,
    barred: Option<Barred>,
}

impl Talk<'_> {
    async fn receive(mut self, socket: &UdpSocket, control: Option<&UdpSocket>) {
        let mut buffer = vec![0; 1 << 16];
        let mut rtcp = vec![0; 1 << 11];
        let relay = self.relay.clone();
        let drained = relay.drained();
        tokio::pin!(drained);
        loop {
            let wake = self.wake();
            let asleep = async {
                match wake {
                    Some(wake) => tokio::time::sleep_until(wake.into()).await,
                    None => std::future::pending().await,
                }
            };
            let more = async {
                match control {
                    Some(control) => control.recv_from(&mut rtcp).await,
                    None => std::future::pending().await,
                }
            };
            tokio::select! {
                received = socket.recv_from(&mut buffer) => {
                    let mut received = received;
                    for _ in 0..BATCH {
                        match received {
                            Ok((len, peer)) => self.datagram(&buffer[..len], peer),
                            Err(error) if error.kind() == io::ErrorKind::WouldBlock => break,
                            // An ICMP error of something sent from this port.
                            Err(error) => {
                                self.status.failed(&format!("receiving failed: {error}"));
                                break;
                            }
                        }
                        received = socket.try_recv_from(&mut buffer);
                    }
                }
                received = more => {
                    if let Ok((len, peer)) = received && self.may_send(peer) {
                        self.rtcp(&rtcp[..len]);
                    }
                }
                () = asleep => {}
                () = &mut drained => {
                    self.end("the relay is shutting down");
                    return;
                }
            }
            self.due(Instant::now());
        }
    }

    /// When something is due although no packet comes.
    fn wake(&self) -> Option<Instant> {
        let held = self
            .rtp
            .as_ref()
            .and_then(|rtp| rtp.receiver.poll_timeout());
        let held = held.map(|at| self.origin + at);
        let Some(feed) = &self.feed else {
            let barred = self.barred.is_some();
            return held.or(barred.then(|| self.heard + self.input.timeout));
        };
        let silence = self.heard + self.input.timeout;
        let flush = (!self.flushed).then(|| self.heard + feed.flush_after());
        [held, flush, Some(silence)].into_iter().flatten().min()
    }

    fn due(&mut self, now: Instant) {
        self.pump(now);
        let quiet = now.saturating_duration_since(self.heard);
        if quiet >= self.input.timeout {
            if self.feed.is_some() {
                self.end("nothing came any more");
            }
            self.barred = None;
            self.goodbye = None;
            self.peer = None;
        } else if !self.flushed
            && let Some(feed) = &mut self.feed
            && quiet >= feed.flush_after()
        {
            feed.flush();
            self.flushed = true;
        }
    }

    fn may_send(&self, peer: SocketAddr) -> bool {
        let allow = &self.input.allow;
        allow.is_empty() || allow.iter().any(|network| network.contains(peer.ip()))
    }

    fn datagram(&mut self, datagram: &[u8], peer: SocketAddr) {
        let now = Instant::now();
        let status = self.status;
        if !self.may_send(peer) {
            let why = || format!("packets from {} are not allowed here (allow)", peer.ip());
            return status.rejected(&status.refused, why);
        }
        if self.peer.is_some_and(|before| before != peer) {
            if now.saturating_duration_since(self.heard) < HOLDS_THE_FLOOR {
                let why = || format!("packets from {peer} are ignored while another sends");
                return status.rejected(&status.refused, why);
            }
            // Bytes of two senders must not make one sample.
            if self.rtp.is_none() {
                self.before = self.feed.take();
            }
        }
        self.fan.send(datagram);
        self.status.packets.fetch_add(1, Ordering::Relaxed);
        let len = datagram.len() as u64;
        self.status.bytes.fetch_add(len, Ordering::Relaxed);
        if self.rtp.is_some() && is_rtcp(datagram) {
            return self.rtcp(datagram);
        }
        let parsed = self.rtp.as_ref().map(|_| Packet::parse(datagram));
        if let Some(Err(error)) = &parsed {
            let why = || format!("packet from {peer}: {error}");
            return status.rejected(&status.malformed, why);
        }
        if let Some(Ok(packet)) = &parsed
            && self.goodbye == Some(packet.ssrc)
        {
            return;
        }
        self.peer = Some(peer);
        self.heard = now;
        self.flushed = false;
        match &self.barred {
            Some(Barred::WhileTaken(since)) => {
                let mount = self.relay.mounts.find(&self.input.mount);
                let taken = mount.is_some_and(|mount| mount.has_source());
                if taken || since.elapsed() < Duration::from_secs(1) {
                    return;
                }
                self.barred = None;
            }
            Some(Barred::UntilSilence) => return,
            None => {}
        }
        match parsed {
            Some(Ok(packet)) => {
                let at = now.saturating_duration_since(self.origin);
                if let Some(rtp) = &mut self.rtp {
                    rtp.receiver.push(at, &packet);
                }
                self.pump(now);
            }
            _ => self.raw(datagram, peer),
        }
    }

    fn raw(&mut self, datagram: &[u8], peer: SocketAddr) {
        if self.feed.is_none() {
            let Some(sample) = self.input.format else {
                return;
            };
            let format = wav::Format {
                sample,
                sample_rate: self.input.rate,
                channels: self.input.channels,
            };
            self.open(Declared::Pcm(format), peer.to_string());
        }
        if let Some(feed) = &mut self.feed {
            let outcome = feed.push(datagram);
            self.pushed(outcome);
        }
    }

    fn rtcp(&mut self, message: &[u8]) {
        let Some(ssrc) = self.rtp.as_ref().and_then(|rtp| rtp.receiver.ssrc()) else {
            return;
        };
        if bye_sources(message).contains(&ssrc) && self.goodbye != Some(ssrc) {
            self.end("the sender said goodbye");
            self.goodbye = Some(ssrc);
        }
    }

    fn pump(&mut self, now: Instant) {
        let at = now.saturating_duration_since(self.origin);
        loop {
            let Some(rtp) = &mut self.rtp else { return };
            if let Some(media) = rtp.depacketizer.poll() {
                self.media(media);
                continue;
            }
            let Some(event) = rtp.receiver.poll(at) else {
                return;
            };
            rtp.depacketizer.push(event);
            self.status
                .saw_rtp(rtp.receiver.stats(), rtp.depacketizer.filled());
        }
    }

    fn media(&mut self, media: Media) {
        let event = match media {
            Media::Format(format) => return self.start(format),
            Media::Pcm(frames) => {
                let Some(feed) = &mut self.feed else { return };
                let bytes: Vec<u8> = frames.iter().flat_map(|s| s.to_le_bytes()).collect();
                let outcome = feed.push(&bytes);
                return self.pushed(outcome);
            }
            Media::Opus(event) => event,
            // PCM begins a new link: its encoder's past is another's voice.
            Media::Discontinuity => match self.format {
                Some(format @ Format::Pcm { .. }) if self.feed.is_some() => {
                    return self.start(format);
                }
                _ => Event::Hole(Frames(0)),
            },
            Media::Fault(message) => {
                self.status.failed(&message);
                let offset = self.status.bytes.load(Ordering::Relaxed);
                Event::Fault(Fault { offset, message })
            }
        };
        let bytes = match &event {
            Event::Packet(packet) => packet.payload.len() as u64,
            _ => 0,
        };
        if let Some(feed) = &mut self.feed {
            let outcome = feed.push_events(bytes, [event]);
            self.pushed(outcome);
        }
    }

    fn start(&mut self, format: Format) {
        let peer = self.peer.map_or_else(String::new, |peer| peer.to_string());
        self.format = Some(format);
        match format {
            Format::Pcm { rate, channels, .. } => self.open(
                Declared::Pcm(wav::Format {
                    sample: SampleFormat::F32le,
                    sample_rate: rate,
                    channels: u16::from(channels),
                }),
                peer,
            ),
            Format::Opus { channels } => {
                self.open(Declared::Packets, peer);
                if let Some(feed) = &mut self.feed {
                    let outcome = feed.push_events(0, [Event::Config(opus_config(channels))]);
                    self.pushed(outcome);
                }
            }
        }
    }

    fn open(&mut self, declared: Declared, peer: String) {
        if let Some(feed) = self.feed.take() {
            self.before = Some(feed);
        }
        let settings = super::mount_settings(&self.relay.config(), self.input);
        if !settings.takeover {
            self.before = None;
        }
        let info = super::info(self.input, peer);
        match Feed::with_settings(self.relay, &self.input.mount, settings, declared, info) {
            Ok(feed) => {
                self.feed = Some(feed);
                self.status.is("live");
                self.status.starts.fetch_add(1, Ordering::Relaxed);
            }
            Err(refusal) => self.refused(&refusal),
        }
    }

    fn pushed(&mut self, outcome: Result<(), Refusal>) {
        match outcome {
            // The new feed is on air from its first audio on.
            Ok(()) => self.before = None,
            Err(refusal) => self.refused(&refusal),
        }
    }

    fn refused(&mut self, refusal: &Refusal) {
        self.status.failed(&refusal.message);
        self.status.is("barred");
        self.feed = None;
        self.forget();
        self.barred = Some(match refusal.status {
            409 | 410 | 503 => Barred::WhileTaken(Instant::now()),
            _ => Barred::UntilSilence,
        });
    }

    /// The next packet begins anew.
    fn forget(&mut self) {
        if self.rtp.is_some() {
            self.rtp = Some(Rtp::new(self.input, &self.formats));
        }
    }

    fn end(&mut self, why: &str) {
        if let Some(rtp) = &mut self.rtp {
            rtp.receiver.flush();
        }
        self.pump(Instant::now());
        self.forget();
        self.before = None;
        if let Some(feed) = self.feed.take() {
            tracing::info!(mount = %self.input.mount, input = self.input.kind.name(), "talk ends: {why}");
            if let Err(refusal) = feed.finish() {
                self.status.failed(&refusal.message);
            }
        }
        self.status.is("waiting");
    }
}
