// A relay of the suite's own, and ffmpeg publishing to it.

import { existsSync } from 'node:fs';
import { join } from 'node:path';
import { Program, freePort, output, until } from './process.mjs';
import { interleave } from './reference.mjs';

const PASSWORD = 'source-of-the-tests';

/** The binary: `SEAMCAST_RELAY`, or else built now, so that it is never older than the sources. */
export function relayBinary(root) {
  if (process.env.SEAMCAST_RELAY) return process.env.SEAMCAST_RELAY;
  const target = process.env.CARGO_TARGET_DIR ?? join(root, 'target');
  const cargo = process.env.CARGO ?? 'cargo';
  output(cargo, ['build', '--quiet', '--manifest-path', join(root, 'Cargo.toml'), '-p', 'relay-server', '--bin', 'relay-server'], { ms: 1_800_000 });
  return join(target, 'debug', 'relay-server');
}

export class Relay {
  constructor(binary, folder) {
    this.binary = binary;
    this.folder = folder;
  }

  /** Starts it, and again at the same address after `stop` or `kill`. */
  async start(args = []) {
    this.port ??= await freePort();
    this.program = new Program(this.binary,
      ['serve', '--listen', `127.0.0.1:${this.port}`, '--data-dir', this.folder, ...args],
      { env: { SEAMCAST_SOURCE_PASSWORD: PASSWORD, SEAMCAST_ADMIN_TOKEN: 'token-of-the-tests' } });
    await until(() => {
      if (this.program.exit) throw new Error(`the relay ended: ${this.program.output}`);
      return fetch(this.url('/healthz')).then((answer) => answer.ok, () => false);
    }, 30_000, 'the relay answering /healthz');
    return this;
  }

  get password() { return PASSWORD; }
  url(path) { return `http://127.0.0.1:${this.port}${path}`; }
  ws(path) { return `ws://127.0.0.1:${this.port}${path}`; }

  /**
   * ffmpeg encodes `pcm` in real time and publishes it to `mount`, keeping the very
   * packets it sends in `copy`, whose decode by a reference program is the oracle.
   */
  publish(mount, pcm, codec, copy, { paced = true } = {}) {
    const encoder = codec === 'opus'
      ? ['-c:a', 'libopus', '-b:a', '160k'] : ['-c:a', 'libmp3lame', '-b:a', '192k'];
    const format = codec === 'opus' ? 'f=ogg:page_duration=100000' : 'f=mp3:write_xing=0:id3v2_version=0';
    const type = codec === 'opus' ? 'audio/ogg' : 'audio/mpeg';
    const target = `icecast\\://source\\:${PASSWORD}@127.0.0.1\\:${this.port}${mount}`;
    return new Program('ffmpeg', ['-v', 'error', ...(paced ? ['-re'] : []),
      '-f', 'f32le', '-ar', pcm.rate, '-ac', pcm.channels.length, '-i', 'pipe:0', ...encoder, '-flush_packets', '1', '-map', '0:a',
      '-f', 'tee', `[${format}]${copy}|[${format}:content_type=${type}]${target}`], { input: interleave(pcm) });
  }

  /** Publishes a file's bytes as they are, by curl. */
  upload(mount, path, { rate } = {}) {
    return new Program('curl', ['-sS', '--fail', '-u', `source:${PASSWORD}`, ...(rate ? ['--limit-rate', rate] : []),
      '-T', path, this.url(mount)]);
  }

  /** Waits until the mount is in the list. */
  async mounted(mount, ms = 20_000) {
    await until(() => fetch(this.url('/api/mounts')).then((answer) => answer.text(), () => '').then((text) => text.includes(mount.slice(1))),
      ms, `${mount} appearing in /api/mounts; the relay said\n${this.program.output.slice(-2000)}\n: that`);
  }

  async stop() { await this.program?.stop(); }
  async kill() { this.program.kill(); await this.program.ended; }
}
