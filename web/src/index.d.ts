/** Why something failed; stable identifiers. */
export type PlayerErrorReason =
  | 'aborted' | 'unreachable' | 'connection_lost' | 'refused' | 'mount_not_found' | 'http_status'
  | 'bad_message' | 'unsupported_media' | 'decode' | 'wasm' | 'no_audio';

/** What `player.error` holds and what promises are rejected with. */
export class PlayerError extends Error {
  constructor(reason: PlayerErrorReason, detail: string, more?: { cause?: unknown });
  readonly name: 'PlayerError';
  /** As in `MediaError`: 1 aborted, 2 network, 3 decode, 4 source not supported. */
  readonly code: 1 | 2 | 3 | 4;
  readonly reason: PlayerErrorReason;
  /** What happened. `message` is this and the remedy. */
  readonly detail: string;
  /** What to do about it. */
  readonly remedy: string;
}

/** Retries after a lost connection: exponential, capped, half of each delay random. */
export interface ReconnectOptions {
  /** First delay, milliseconds. Default 500. */
  baseDelay?: number;
  /** Longest delay, milliseconds. Default 15 000. */
  maxDelay?: number;
  /** Attempts in a row before giving up. Default: no limit, except 3 for a source from which nothing has come yet. */
  maxAttempts?: number;
}

export interface PlayerOptions {
  /**
   * Audio held before playback starts, seconds. `'auto'` (default) measures what the network needs. A live mount is joined with
   * no more of its backlog than a bound below 2 s.
   */
  latency?: 'auto' | number | { min?: number; max?: number };
  /** `'live'` (default) may skip to stay near the live edge and tells; `'complete'` plays every sample. */
  mode?: 'live' | 'complete';
  /**
   * Largest change of tempo, at unchanged pitch, that may buy time when a stream is short of margin: a fraction from 0 to
   * 0.05. Default 0, as music deserves; 0.05 suits speech.
   */
  stretch?: number;
  /** Use this context rather than an own one. The host then resumes and closes it. */
  context?: AudioContext;
  /**
   * How PCM reaches the context. `'buffers'`: decoded and scheduled, seconds ahead, on the main thread. `'worklet'`: decoded in a
   * worker and handed straight to the audio thread, through shared memory in a cross-origin isolated page and a port elsewhere, so
   * that a blocked main thread is inaudible; where the page allows no worker or worklet, and for `srcObject`, as `'buffers'`.
   * `'auto'` (default) is `'worklet'`, but in WebKit only where memory can be shared: its port stalls with the main thread.
   * `getStats().output` tells which it is.
   */
  output?: 'auto' | 'worklet' | 'buffers';
  /** Where network and decoding run; follows `output`. `'main'` keeps a worker, and with it the worklet, from being used. */
  thread?: 'auto' | 'worker' | 'main';
  /** Address of `player.wasm`; by default beside the script. */
  wasmUrl?: string | URL;
  /** Address of `worker.js`, which has to be of the page's origin; by default beside the script. */
  workerUrl?: string | URL;
  /** Address of `worklet.js`; by default beside the script. */
  workletUrl?: string | URL;
  reconnect?: ReconnectOptions | false;
  /** `'auto'` connects as soon as `src` is set, `'none'` (default) on `play()`. */
  preload?: 'none' | 'auto';
}

/** What this browser brings. */
export interface SupportReport {
  /** Whether the player can play at all. */
  supported: boolean;
  webAudio: boolean;
  webAssembly: boolean;
  /** Fixed-width SIMD; without it `player-nosimd.wasm` is used. */
  simd: boolean;
  webSocket: boolean;
  fetchStreams: boolean;
  /** AudioWorklet in a secure context. */
  audioWorklet: boolean;
  /** SharedArrayBuffer in a cross-origin isolated page. */
  sharedMemory: boolean;
}

/** Counted since the source was set. Durations are seconds unless the name ends in `Ms`. */
export interface PlayerStats {
  /** Times the playhead reached the end of what had arrived. */
  underrunEvents: number;
  /** Silence caused by underruns, seconds. */
  underrunDuration: number;
  /** Media played, seconds. */
  totalDuration: number;
  /** Mean depth of the buffer while playing, seconds. */
  averageLatency: number;
  /** Depth of the buffer now: received and not yet heard, seconds. */
  jitterBufferDelay: number;
  /** Depth aimed at, seconds. */
  jitterBufferTargetDelay: number;
  /** Media seconds received per second; 1 is real time. */
  arrivalRate: number;
  /** 95th percentile of lateness against the earliest arrival, seconds. */
  arrivalSpreadP95: number;
  /** `play()` to the first frame out, seconds; NaN before. */
  startupDelay: number;
  /** When a start will be safe, seconds on the clock of `performance.now()`. */
  predictedSafeStart: number;
  /** Audio required before a start, as measured now, seconds. */
  prebuffer: number;
  /** Input consumed per output, beyond the change of rate; 1 is no correction. */
  resampleRatio: number;
  /** Source clock against output clock, parts per million. */
  driftPpm: number;
  /** Frames made up for lost ones. */
  concealedFrames: number;
  /** Frames skipped to return to the live edge. */
  droppedFrames: number;
  /** Frames repeated or left out by stretching time (option `stretch`). */
  stretchedFrames: number;
  bytesReceived: number;
  /** Time spent in the engine, milliseconds. */
  decodeTimeMs: number;
  /**
   * From the context's clock to the ear, seconds, Bluetooth's delay included, as far as the browser tells: in Firefox the
   * context's own part alone, since reading `outputLatency` there can lock up the page.
   */
  outputLatency: number;
  /** Audio held ahead of the playhead, seconds. */
  bufferDepth: number;
  /** The output in use. */
  output: 'worklet' | 'buffers';
  /** Where decoding runs. */
  thread: 'worker' | 'main';
}

/** Event fields are on the event itself and in `detail`. */
export type PlayerEvent<T> = CustomEvent<T> & Readonly<T>;

export interface CodecInfo { codec: string; sampleRate: number; channels: number }

export interface PlayerEventMap {
  loadedmetadata: PlayerEvent<CodecInfo>;
  durationchange: Event;
  canplay: Event;
  play: Event;
  playing: Event;
  pause: Event;
  /** Playback waits for audio; `playing` follows. */
  waiting: Event;
  /** Nothing has arrived for 3 s although more is expected. */
  stalled: Event;
  timeupdate: Event;
  seeking: Event;
  seeked: Event;
  ended: Event;
  error: PlayerEvent<{ error: PlayerError }>;
  volumechange: Event;
  ratechange: Event;
  emptied: Event;
  /** After an underrun, when sound is back. */
  underrun: PlayerEvent<{ mediaTime: number; silenceMs: number }>;
  targetlatencychange: PlayerEvent<{ seconds: number }>;
  /** Tags, when they become audible. Names are upper case. */
  metadata: PlayerEvent<{ at: number; tags: Record<string, string> }>;
  /** The connection was lost and will be tried again; the buffer plays on. */
  reconnecting: PlayerEvent<{ attempt: number; delayMs: number; cause: PlayerError }>;
  /** Media flows again. `recovered`: without a missing byte. */
  reconnected: PlayerEvent<{ recovered: boolean }>;
  /** The system took the audio output (a call, sleep, a device gone). */
  interrupted: Event;
  /** The browser wants a user gesture: call `unlock()` in one, then `play()`. */
  unlockrequired: Event;
  codecchange: PlayerEvent<CodecInfo>;
  /** `live` mode jumped forward, media seconds. */
  skip: PlayerEvent<{ from: number; to: number }>;
  /** Damage in the stream; playback goes on. */
  decodeerror: PlayerEvent<{ message: string; offset: number; framesLost: number }>;
  /** The mount lost its source and waits for it. */
  sourceoffline: PlayerEvent<{ graceMs: number }>;
  sourceonline: Event;
}

/**
 * Plays live and generated audio without a gap. Properties, methods and events
 * have `HTMLMediaElement`'s names and meaning wherever it has them.
 *
 * @example
 * const player = new Player();
 * button.onclick = async () => {
 *   player.src = 'wss://radio.example/live.opus';
 *   await player.play();
 * };
 */
export class Player extends EventTarget {
  /** @throws TypeError for an option that is none, saying which values it takes. */
  constructor(options?: PlayerOptions);

  /** Whether a media type can be played, answered like `HTMLMediaElement.canPlayType`. */
  static canPlayType(type: string): '' | 'maybe' | 'probably';
  static isSupported(): SupportReport;

  /**
   * Lets the browser play sound: first await in a click or key handler.
   * @throws NotAllowedError when the browser still refuses.
   */
  unlock(): Promise<void>;

  /** ws, wss, http or https address; relative ones are resolved against the page. Setting it ends what was playing. */
  get src(): string | null;
  set src(url: string | null);
  /** A WebSocket (also one of a server that knows nothing of Seamcast) or a stream of bytes. */
  get srcObject(): WebSocket | ReadableStream<Uint8Array> | null;
  set srcObject(source: WebSocket | ReadableStream<Uint8Array> | null);

  /**
   * Adds bytes of a stream cut anywhere. Resolves when there is room for more: await it before the next.
   * @throws InvalidStateError while a source is set; QuotaExceededError when 64 MiB wait.
   */
  append(chunk: AllowSharedBufferSource): Promise<void>;
  /**
   * A stream is complete: the rest is played, then `ended`. What is appended before that is another stream, which
   * follows without a seam; what is appended after it begins at 0, and plays when `play()` is called.
   */
  endOfStream(): void;

  /**
   * Starts as soon as the prebuffer allows; resolves when sound begins.
   * @throws NotAllowedError when the browser wants a gesture; AbortError when paused first; PlayerError.
   */
  play(): Promise<void>;
  pause(): void;
  /** Stops, disconnects and frees everything. */
  close(): Promise<void>;
  /**
   * Goes to a programme position in seconds, exact to the frame, or to the live edge. Before the beginning is the beginning, and
   * beyond the end the end.
   * @throws NotSupportedError unless the source is a Seamcast mount over WebSocket; AbortError when another seek replaces it; TypeError
   *   for what is no finite number.
   */
  seek(to: number | 'live'): Promise<void>;
  /** Barge-in: silence now, everything held is dropped. Says how much was heard since the last `flush()`. */
  flush(): { playedSeconds: number };

  /** Programme position now audible, seconds. Setting it seeks; TypeError for what is no finite number. */
  currentTime: number;
  /** Seconds; `Infinity` for a programme in progress, `NaN` before `loadedmetadata`. */
  readonly duration: number;
  readonly buffered: TimeRanges;
  readonly seekable: TimeRanges;
  readonly paused: boolean;
  readonly ended: boolean;
  /** 0 nothing, 1 metadata, 2 current, 3 future, 4 enough data, as in `HTMLMediaElement`. */
  readonly readyState: number;
  readonly error: PlayerError | null;
  /** 0 to 1; anything else throws IndexSizeError, and what is no number TypeError. */
  volume: number;
  muted: boolean;
  /** Always 1; setting anything else throws NotSupportedError. */
  playbackRate: number;
  readonly sinkId: string;
  /** @throws NotSupportedError where the browser cannot choose an output device. */
  setSinkId(id: string): Promise<void>;

  /** Time from the relay's receipt of what is audible to the ear, seconds; without `seamcast.v1`, the part the player causes. */
  readonly latency: number;
  /** The prebuffer aimed at, seconds. */
  readonly targetLatency: number;
  readonly context: AudioContext;
  /** The last node before the context's destination: connect analysers and recorders here. */
  readonly node: GainNode;
  getStats(): PlayerStats;

  addEventListener<K extends keyof PlayerEventMap>(type: K, listener: (this: Player, event: PlayerEventMap[K]) => unknown, options?: boolean | AddEventListenerOptions): void;
  addEventListener(type: string, listener: EventListenerOrEventListenerObject | null, options?: boolean | AddEventListenerOptions): void;
  removeEventListener<K extends keyof PlayerEventMap>(type: K, listener: (this: Player, event: PlayerEventMap[K]) => unknown, options?: boolean | EventListenerOptions): void;
  removeEventListener(type: string, listener: EventListenerOrEventListenerObject | null, options?: boolean | EventListenerOptions): void;
}
