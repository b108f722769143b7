// What browsers need around them, on a machine with neither sound card, screen
// nor session: PulseAudio with a null sink, an X server, a message bus. Nothing
// is expected to run already, and root is fine.

import { chmodSync, existsSync, mkdirSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { spawnSync } from 'node:child_process';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { Program, descendants, sleep, until } from './process.mjs';

export class Machine {
  #programs = [];
  #pulse;
  #display;
  #bus;

  constructor() {
    this.folder = mkdtempSync(join(tmpdir(), 'seamcast-browser-'));
    chmodSync(this.folder, 0o700);
    this.runtime = join(this.folder, 'run');
    this.home = join(this.folder, 'home');
    for (const folder of [this.runtime, this.home]) mkdirSync(folder, { mode: 0o700 });
    // Browsers started by the suite find the rest through this.
    this.env = { HOME: this.home, XDG_RUNTIME_DIR: this.runtime, XDG_CONFIG_HOME: join(this.home, '.config') };
    process.on('exit', () => rmSync(this.folder, { recursive: true, force: true }));
  }

  /** PulseAudio with a null sink at 48 kHz float: sample-exact to record. */
  async pulse() {
    return this.#pulse ??= this.#startPulse();
  }

  async #startPulse() {
    const config = join(this.folder, 'daemon.conf');
    const script = join(this.folder, 'default.pa');
    const socket = join(this.runtime, `pulse-${Date.now()}.sock`);
    writeFileSync(config, [
      'realtime-scheduling = yes', 'realtime-priority = 9', 'high-priority = yes', 'nice-level = -15',
      'default-sample-rate = 48000', 'default-sample-format = float32le', 'default-sample-channels = 2',
      'avoid-resampling = yes', 'exit-idle-time = -1', 'flat-volumes = no', '',
    ].join('\n'));
    writeFileSync(script, [
      `load-module module-native-protocol-unix auth-anonymous=1 socket=${socket}`,
      'load-module module-null-sink sink_name=null rate=48000 format=float32le channels=2',
      'set-default-sink null', 'set-default-source null.monitor', '',
    ].join('\n'));
    const pulse = new Program('pulseaudio',
      ['-n', '--daemonize=no', '--use-pid-file=no', '--disable-shm=yes', '--log-target=stderr', '-F', script],
      { env: { ...this.env, PULSE_CONFIG: config, PULSE_RUNTIME_PATH: this.runtime, PULSE_STATE_PATH: this.runtime } });
    this.#programs.push(pulse);
    this.env.PULSE_SERVER = `unix:${socket}`;
    await until(() => {
      if (pulse.exit) throw new Error(`pulseaudio ended: ${pulse.output}`);
      return existsSync(socket) && spawnSync('pactl', ['info'], { env: { ...process.env, ...this.env } }).status === 0;
    }, 15_000, 'pulseaudio answering');
    return pulse;
  }

  /** An X server on a display number that it chooses itself. */
  async display() {
    return this.#display ??= (async () => {
      // The number goes to a file descriptor; 1 is the output that is read.
      const server = new Program('Xvfb', ['-displayfd', '1', '-screen', '0', '1280x900x24', '-nolisten', 'tcp'], { env: this.env });
      this.#programs.push(server);
      this.env.DISPLAY = `:${(await server.said(/^(\d+)\s/m))[1]}`;
    })();
  }

  /** A session bus. */
  async bus() {
    return this.#bus ??= (async () => {
      const bus = new Program('dbus-daemon',
        ['--session', '--nofork', '--print-address=1', `--address=unix:path=${join(this.runtime, 'bus')}`], { env: this.env });
      this.#programs.push(bus);
      this.env.DBUS_SESSION_BUS_ADDRESS = (await bus.said(/^(unix:\S+)/m))[1];
    })();
  }

  /** Records what reaches the null sink. Returns `stop()`, which gives two channels at 48 kHz. */
  async recordSink() {
    await this.pulse();
    const { spawn } = await import('node:child_process');
    const parec = spawn('parec', ['-d', 'null.monitor', '--format=float32le', '--rate=48000', '--channels=2', '--raw', '--latency-msec=50'],
      { env: { ...process.env, ...this.env }, stdio: ['ignore', 'pipe', 'ignore'] });
    const blocks = [];
    parec.stdout.on('data', (block) => blocks.push(block));
    await until(() => blocks.length > 0, 10_000, 'parec recording');
    return async () => {
      await sleep(300);
      parec.kill('SIGTERM');
      const bytes = Buffer.concat(blocks);
      const frames = bytes.length >> 3;
      const channels = [new Float32Array(frames), new Float32Array(frames)];
      for (let i = 0; i < frames; i++) {
        channels[0][i] = bytes.readFloatLE(i * 8);
        channels[1][i] = bytes.readFloatLE(i * 8 + 4);
      }
      return { rate: 48000, firstFrame: 0, channels };
    };
  }

  /** Ends what was started; who wants it again gets a new one. */
  async close() {
    const programs = this.#programs.splice(0).reverse();
    this.#pulse = this.#display = this.#bus = undefined;
    for (const program of programs) await program.stop(1000);
  }
}

/**
 * Lets the audio of our browsers go first on a busy machine: a better nice value
 * for the scheduler's autogroup (Chromium puts itself into its own) and real-time
 * scheduling for Chromium's audio service. Needs root; without it tests still run.
 */
export function favourAudio() {
  for (const { pid, commandLine } of descendants(process.pid)) {
    try { writeFileSync(`/proc/${pid}/autogroup`, '-15'); } catch { /* not permitted */ }
    if (commandLine.includes('audio.mojom.AudioService')) {
      spawnSync('chrt', ['--rr', '--all-tasks', '--pid', '9', String(pid)], { stdio: 'ignore' });
    }
  }
}
