/** Where to find what the decoder needs. */
export interface DecoderOptions {
  /** Address of `player.wasm`; by default beside the script. The first one given in a page or process counts. */
  wasmUrl?: string | URL;
}

/** Damage in the input. Decoding goes on after it. */
export interface DecodeError {
  /** What was wrong, for people. */
  message: string;
  /** Position in the input at which it was found, bytes since the start or `reset()`. */
  offset: number;
  /** Frames of PCM lost or concealed because of it. */
  framesLost: number;
}

/** A run of PCM with one layout: a chained stream may change channels or rate between links. */
export interface Segment {
  /** First frame of the run within this result. */
  start: number;
  /** Frames in the run. */
  samplesDecoded: number;
  channels: number;
  /** Hz. */
  sampleRate: number;
}

/** What a piece of input decoded to; possibly nothing yet. */
export interface Decoded {
  /** One array per channel, each `samplesDecoded` long, ±1 full scale. */
  channelData: Float32Array[];
  /** Frames (samples per channel). */
  samplesDecoded: number;
  /** Hz; 0 before the stream's headers have been seen. */
  sampleRate: number;
  errors: DecodeError[];
  /** Layout of each run, for chained streams. */
  segments: Segment[];
}

/**
 * Decodes Ogg/Opus or MP3, recognised by its bytes. Sample-exact: pre-skip, end
 * trim and LAME delay and padding are applied, holes are concealed so that time
 * is kept. Damaged input is reported in `errors`, never thrown.
 *
 * @example
 * const decoder = await StreamDecoder.create();
 * for await (const bytes of response.body) use(decoder.decode(bytes).channelData);
 * use(decoder.flush().channelData);
 * decoder.free();
 */
export class StreamDecoder {
  /** In Node the module is compiled here and `decode()` works at once; elsewhere await `ready` first. */
  constructor(options?: DecoderOptions);
  /** A decoder that is ready. */
  static create(options?: DecoderOptions): Promise<StreamDecoder>;
  /** Resolved when `decode()` may be called; rejected with a `PlayerError` when the module cannot be loaded. */
  readonly ready: Promise<void>;
  /**
   * Decodes the next bytes, cut anywhere. A stream keeps its container: MP3 after Ogg, or Ogg after MP3, is passed
   * over and told in `errors`, unless `flush()` or `reset()` came between.
   * @throws InvalidStateError before `ready` and after `free()`; TypeError for anything but bytes.
   */
  decode(bytes: AllowSharedBufferSource): Decoded;
  /** End of input: what was held back. Bytes that follow begin another stream. */
  flush(): Decoded;
  /** Forgets everything; the next byte is the first of another stream. */
  reset(): void;
  /** Gives the memory back. The decoder cannot be used afterwards. */
  free(): void;
}
