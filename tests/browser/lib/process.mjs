// Processes of the suite: each in a group of its own, none left behind.

import { spawn, spawnSync } from 'node:child_process';
import { readFileSync, readdirSync } from 'node:fs';
import net from 'node:net';

const running = new Set();

export const sleep = (ms) => new Promise((done) => setTimeout(done, ms));

/** Polls until `check` returns something truthy; throws `what` after `ms`. */
export async function until(check, ms, what) {
  const end = Date.now() + ms;
  for (;;) {
    const value = await check();
    if (value) return value;
    if (Date.now() > end) throw new Error(`${what} did not happen within ${ms} ms`);
    await sleep(20);
  }
}

/** A port of 127.0.0.1 that nobody listens on right now. */
export function freePort() {
  return new Promise((done, fail) => {
    const server = net.createServer().on('error', fail);
    server.listen(0, '127.0.0.1', () => {
      const { port } = server.address();
      server.close(() => done(port));
    });
  });
}

export class Program {
  #output = '';
  #child;

  /** Starts `command`; it and its children are ended with the suite at the latest. */
  constructor(command, args, { env = {}, cwd, input } = {}) {
    this.name = command.split('/').pop();
    // Inherited pipes would keep a caller waiting for programs that outlive a crash.
    this.#child = spawn(command, args.map(String), {
      cwd, env: { ...process.env, ...env }, detached: true, stdio: ['pipe', 'pipe', 'pipe'],
    });
    running.add(this);
    for (const pipe of [this.#child.stdout, this.#child.stderr]) {
      pipe.on('data', (bytes) => { this.#output = (this.#output + bytes).slice(-200_000); });
    }
    this.#child.stdin.on('error', () => {});
    this.#child.stdin.end(input);
    this.ended = new Promise((done) => {
      this.#child.on('error', (error) => { running.delete(this); done({ error }); });
      this.#child.on('exit', (code, signal) => {
        running.delete(this);
        this.exit = { code, signal };
        done(this.exit);
      });
    });
  }

  get pid() { return this.#child.pid; }
  get output() { return this.#output; }

  /** Waits for a line of output that matches. */
  async said(pattern, ms = 20_000) {
    let over = false;
    this.ended.then(() => { over = true; });
    return until(() => {
      const match = pattern.exec(this.#output);
      if (!match && over) throw new Error(`${this.name} ended before it said ${pattern}:\n${this.#output}`);
      return match;
    }, ms, `${this.name} saying ${pattern}; it said\n${this.#output}\n: that`);
  }

  /** Waits for exit code 0. */
  async succeeded(ms = 60_000) {
    const end = await Promise.race([this.ended, sleep(ms).then(() => 'late')]);
    if (end === 'late') this.kill();
    if (end === 'late' || end.error || end.code !== 0) {
      const how = end === 'late' ? `was killed after ${ms} ms` : `ended with ${end.error ?? end.code ?? end.signal}`;
      throw new Error(`${this.name} ${how}:\n${this.#output.slice(-2000)}`);
    }
  }

  signal(name) {
    try { process.kill(-this.pid, name); } catch { /* it has ended */ }
  }

  kill() {
    if (this.pid && !this.exit) this.signal('SIGKILL');
  }

  /** Asks it to end, then makes it. */
  async stop(ms = 3000) {
    this.signal('SIGTERM');
    await Promise.race([this.ended, sleep(ms)]);
    this.kill();
    await Promise.race([this.ended, sleep(1000)]);
  }
}

/** Runs to the end and returns what it wrote to standard output. */
export function output(command, args, { input, ms = 60_000 } = {}) {
  const run = spawnSync(command, args.map(String), { input, timeout: ms, maxBuffer: 1 << 29 });
  if (run.error || run.status !== 0) {
    throw new Error(`${command} ${args.join(' ')}: ${run.error ?? run.stderr}`);
  }
  return run.stdout;
}

export function killAll() {
  for (const program of running) program.kill();
  for (const { pid } of descendants(process.pid)) {
    try { process.kill(pid, 'SIGKILL'); } catch { /* it has ended */ }
  }
}

process.on('exit', killAll);
for (const name of ['SIGINT', 'SIGTERM', 'SIGHUP']) process.on(name, () => process.exit(130));

/** Every process below `pid`, with its command line. */
export function descendants(pid) {
  const children = new Map();
  for (const entry of readdirSync('/proc')) {
    if (!/^\d+$/.test(entry)) continue;
    try {
      const stat = readFileSync(`/proc/${entry}/stat`, 'utf8');
      const parent = Number(stat.slice(stat.lastIndexOf(')') + 2).split(' ')[1]);
      if (!children.has(parent)) children.set(parent, []);
      children.get(parent).push(Number(entry));
    } catch { /* it ended meanwhile */ }
  }
  const found = [];
  const visit = (parent) => {
    for (const child of children.get(parent) ?? []) {
      let commandLine = '';
      try { commandLine = readFileSync(`/proc/${child}/cmdline`, 'utf8').replaceAll('\0', ' '); } catch { /* ended */ }
      found.push({ pid: child, commandLine });
      visit(child);
    }
  };
  visit(pid);
  return found;
}
