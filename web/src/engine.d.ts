/** One of the engine's events; the fields depend on the type (`player-wasm/src/shell/engine.rs` lists them). */
export interface EngineEvent { type: string; [field: string]: any }

/** Those of the statistics that the engine counts. */
export type EngineStats = Omit<import('./index.js').PlayerStats, 'bytesReceived' | 'outputLatency' | 'bufferDepth' | 'output' | 'thread'>;

/** A chunk's number, its end in media seconds, and when the relay had it, ms since the Unix epoch on its clock. */
export type Header = [seq: number, end: number, ingest: number];

/**
 * The player without its output (`player-wasm/src/shell/engine.rs` says what each does). `now` is
 * `performance.now()`, media times are seconds, frames are whole ones of the context's clock.
 */
export interface Engine {
  setStretch(fraction: number): void;
  setOutput(sampleRate: number, channels: number, lead: number, horizon: number): void;
  pushBytes(now: number, bytes: Uint8Array): void;
  header(message: Uint8Array): Header | string | undefined;
  pushChunk(now: number, message: Uint8Array): void;
  config(generation: number, mpeg: boolean, headers: Uint8Array): void;
  gap(): void;
  metadata(at: number, json: Uint8Array): void;
  setDuration(seconds: number): void;
  endOfStream(now: number): void;
  full(): number;
  play(now: number): void;
  pause(now: number, frame: number): void;
  flush(now: number, frame: number): number;
  seek(now: number, seconds: number, exact?: boolean): void;
  poll(now: number, frame: number, reached: number): EngineEvent[];
  nextBlock(frame: number): [frame: number, ...planes: Float32Array<ArrayBuffer>[]] | undefined;
  finished(): number;
  noteStarved(frames: number): void;
  currentTime(frame: number): number;
  buffered(frame: number): number;
  stats(frame: number): EngineStats;
  free(): void;
}

/** What one call decoded; one plane per channel, in one stage after another. */
export interface Stages {
  stages: Float32Array[][];
  samplesDecoded: number;
  sampleRate: number;
  errors: import('./decoder.js').DecodeError[];
  segments: import('./decoder.js').Segment[];
}

/** The decoder alone (`player-wasm/src/shell/decoder.rs`). */
export interface Decoder {
  decode(bytes: Uint8Array): Stages;
  flush(): Stages;
  reset(): void;
  free(): void;
}
