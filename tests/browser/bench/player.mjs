#!/usr/bin/env node
// What playing costs, beside what browsers bring and another player, in one run
// of Chromium against one relay: time to the first sound, live latency,
// processor time, memory. Sound is recorded where it reaches the sound card.
//
//   node tests/browser/bench/player.mjs [--rounds N] [--seconds S] [--soak MINUTES] [--json FILE] [--only WHAT]...
//
// WHAT: start, latency, load, memory, soak. The relay is `SEAMCAST_RELAY`, or else built now.

import { existsSync, mkdirSync, readdirSync, readFileSync, writeFileSync } from 'node:fs';
import { dirname, join, resolve } from 'node:path';
import { fileURLToPath } from 'node:url';
import { parseArgs } from 'node:util';
import { open } from '../lib/browsers/chromium.mjs';
import { Machine } from '../lib/machine.mjs';
import { descendants, sleep, until } from '../lib/process.mjs';
import { Relay, relayBinary } from '../lib/relay.mjs';
import { Site } from '../lib/site.mjs';
import { Clicks, music } from './mounts.mjs';
import { Sink } from './sink.mjs';
import { soak } from './soak.mjs';

const here = dirname(fileURLToPath(import.meta.url));
const root = resolve(here, '../../..');
const PEER = join(root, 'tests/node/node_modules/icecast-metadata-player/build');
/** Ticks of /proc/PID/stat in a second. */
const TICKS = 100;

const { values: options } = parseArgs({ options: {
  rounds: { type: 'string', default: '7' }, seconds: { type: 'string', default: '60' }, soak: { type: 'string', default: '30' },
  json: { type: 'string' }, only: { type: 'string', multiple: true },
} });
const wanted = (what) => !options.only || options.only.includes(what);
const [rounds, seconds, minutes] = [options.rounds, options.seconds, options.soak].map(Number);
if (![rounds, seconds, minutes].every((n) => n > 0)) throw new Error('--rounds, --seconds and --soak take numbers above 0');
if (!existsSync(PEER)) throw new Error(`${PEER} is missing: npm ci --prefix tests/node`);

const script = `/peer/${readdirSync(PEER).find((name) => name.endsWith('main.min.js'))}`;
const BUFFERS = ['seamcast, buffers', 'seamcast', { output: 'buffers' }];
const WORKLET = ['seamcast, worklet', 'seamcast', { output: 'worklet' }];
const ELEMENT = ['<audio>', 'audio', {}];
const OTHER = ['icecast-metadata-player', 'peer', { script }];
/** Name in the table, way in the page, its options. */
const PLAYERS = { opus: [BUFFERS, WORKLET, ELEMENT, OTHER], mp3: [BUFFERS, WORKLET, ELEMENT, OTHER] };
const EACH = Object.entries(PLAYERS).flatMap(([codec, players]) =>
  players.map(([name, way, own]) => ({ name: `${codec === 'mp3' ? 'MP3' : 'Opus'}: ${name}`, way, own, mount: `/music.${codec}` })));

const median = (values) => {
  const sorted = values.filter((one) => one !== null).sort((a, b) => a - b);
  return sorted.length ? sorted[sorted.length >> 1] : null;
};
const show = (value, digits = 0) => (value === null || value === undefined ? '–' : value.toFixed(digits));
const table = (heads, rows) => {
  console.log(`\n| ${heads.join(' | ')} |\n|---${'|---:'.repeat(heads.length - 1)}|`);
  for (const row of rows) console.log(`| ${row.join(' | ')} |`);
};

const machine = new Machine();
const site = await new Site().start();
const sink = new Sink();
const relay = new Relay(relayBinary(root), join(machine.folder, 'relay'));
const programs = [];
const results = { rounds, seconds, minutes };

site.folder('/player-bench/', join(here, 'pages'));
site.folder('/seamcast/', process.env.SEAMCAST_WEB ?? join(root, 'web/dist'));
site.folder('/peer/', PEER);

/** A browser with one page at `path`. */
async function visit(path, args = []) {
  const browser = await open(machine, { audible: true, args });
  results.browser ??= `Chromium ${browser.version}`;
  const page = await browser.page();
  await page.goto(new URL(path, site.origin).href);
  return { browser, page };
}

/** When the sound came that was asked for at `at`. */
async function heard(page, name, at) {
  try {
    return await until(() => sink.sound(at), 20_000, `${name} playing`);
  } catch (error) {
    throw new Error(`${error.message}; it says ${await page.run(() => bench.failure)}, the page ${(await page.errors()).join('; ')}`);
  }
}

const PLAY = '/player-bench/play.html?isolated';
const silent = () => until(() => sink.quiet(400), 20_000, 'silence');

/** ms from `play()` to the sound, in a page that has played before; and the same from opening a page. */
async function starts() {
  const rows = [];
  for (const { name, way, own, mount } of EACH) {
    const warm = [];
    const cold = [];
    const { browser, page } = await visit(PLAY);
    await page.run(({ way, own }) => bench.make(way, own), { way, own });
    for (let n = -1; n < rounds; n++) {
      await silent();
      const at = await page.run((url) => bench.play(url), relay.url(mount));
      const first = await heard(page, name, at);
      if (n >= 0) warm.push(first - at);
      await page.run(() => bench.stop());
      await sleep(200 + 37 * n);
    }
    await page.close();
    for (let n = 0; n < rounds; n++) {
      await silent();
      const fresh = await browser.page();
      const query = new URLSearchParams({ way, options: JSON.stringify(own), url: relay.url(mount) });
      await fresh.goto(new URL(`${PLAY}&${query}`, site.origin).href);
      const at = await fresh.run(() => performance.timeOrigin);
      cold.push(await heard(fresh, name, at) - at);
      await fresh.close();
    }
    await browser.close();
    rows.push({ name, warm, cold });
    console.error(`${name}: warm ${warm.map((one) => one.toFixed(0))}; cold ${cold.map((one) => one.toFixed(0))}`);
  }
  results.start = rows;
  table(['start, ms', 'play() → sound, warm', 'worst', 'page opened → sound', 'worst'],
    rows.map(({ name, warm, cold }) => [name, show(median(warm)), show(Math.max(...warm)), show(median(cold)), show(Math.max(...cold))]));
}

/** ms from a page of 20 ms being written by the source to its sound. */
async function latencies() {
  const clicks = new Clicks(machine.folder, 400);
  clicks.start(relay, '/clicks.opus?chunk_ms=20');
  programs.push(clicks);
  await relay.mounted('/clicks.opus');
  await sleep(3000);
  const rows = [];
  for (const [name, way, own] of [BUFFERS, WORKLET, ELEMENT]) {
    const { browser, page } = await visit(PLAY);
    await page.run(({ way, own }) => bench.make(way, own), { way, own: { ...own, latency: { max: 0.1 } } });
    await page.run((url) => bench.play(url), relay.url('/clicks.opus'));
    await sleep(5000);
    const from = clicks.written.length;
    await until(() => clicks.written.length >= from + 10, 20_000, 'clicks');
    await sleep(800);
    const found = clicks.written.slice(from, -1).map(({ at, into }) => {
      const sound = sink.sound(at - 20, 0.1);
      // A burst comes every second: later than that is another's.
      return sound === null ? null : sound - into - at;
    });
    const stats = await page.run(() => bench.stats());
    rows.push({ name, found, stats });
    await browser.close();
  }
  results.latency = rows;
  table(['source write → sound, ms', 'median', 'least', 'worst', 'n', 'of it: output', 'underruns'], rows.map(({ name, found, stats }) => {
    const heard = found.filter((one) => one !== null);
    return [name, show(median(heard)), show(Math.min(...heard)), show(Math.max(...heard)), heard.length,
      show(stats && stats.outputLatency * 1000), show(stats?.underrunEvents)];
  }));
}

/** Processor time of these processes, seconds. */
function busy(pids) {
  let ticks = 0;
  for (const pid of pids) {
    try {
      const fields = readFileSync(`/proc/${pid}/stat`, 'latin1').split(') ')[1].split(' ');
      ticks += Number(fields[11]) + Number(fields[12]);
    } catch { /* it has ended */ }
  }
  return ticks / TICKS;
}

/** Processor time of a minute of playing. */
async function load() {
  const rows = [];
  for (const { name, way, own, mount } of [{ name: 'an idle page' }, ...EACH]) {
    const before = new Set(descendants(process.pid).map(({ pid }) => pid));
    const { browser, page } = await visit(PLAY);
    const cdp = await page.native.context().newCDPSession(page.native);
    await cdp.send('Performance.enable');
    const main = async () => {
      const { metrics } = await cdp.send('Performance.getMetrics');
      return metrics.find((one) => one.name === 'TaskDuration').value;
    };
    if (way) {
      await page.run(({ way, own }) => bench.make(way, own), { way, own });
      await page.run((url) => bench.play(url), relay.url(mount));
    }
    await sleep(8000);
    const pids = descendants(process.pid).filter(({ pid, commandLine }) => !before.has(pid) && /chrom/.test(commandLine)).map(({ pid }) => pid);
    const [main0, all0, at0] = [await main(), busy(pids), performance.now()];
    await sleep(seconds * 1000);
    const [main1, all1] = [await main(), busy(pids)];
    const scale = 60_000 / (performance.now() - at0);
    if (way && sink.quiet(300)) throw new Error(`${name} does not play: ${await page.run(() => bench.failure)}`);
    rows.push({ name, main: (main1 - main0) * 1000 * scale, all: (all1 - all0) * 1000 * scale });
    await browser.close();
  }
  results.load = rows;
  const idle = rows[0].all;
  table(['processor time per minute, ms', 'main thread', 'all processes', 'less an idle page'],
    rows.map(({ name, main, all }) => [name, show(main), show(all), show(all - idle)]));
}

/** Memory of a page and its workers while it plays in real time. */
async function memory() {
  const rows = [];
  for (const [name, way, own] of [BUFFERS, WORKLET]) {
    const { browser, page } = await visit(PLAY, ['--enable-blink-features=ForceEagerMeasureMemory']);
    await page.run(({ way, own }) => bench.make(way, own), { way, own });
    await page.run((url) => bench.play(url), relay.url('/music.opus'));
    const cdp = await page.native.context().newCDPSession(page.native);
    const samples = [];
    const begun = performance.now();
    for (let n = 0; n <= 6; n++) {
      await sleep(Math.max(0, 15_000 + n * seconds * 1000 / 3 - (performance.now() - begun)));
      await cdp.send('HeapProfiler.collectGarbage');
      samples.push({ seconds: (performance.now() - begun) / 1000, bytes: await page.run(async () => (await performance.measureUserAgentSpecificMemory()).bytes) });
    }
    rows.push({ name, samples });
    await browser.close();
  }
  results.memory = rows;
  table(['page and worker, KiB', ...rows[0].samples.map(({ seconds }) => `${seconds.toFixed(0)} s`)],
    rows.map(({ name, samples }) => [name, ...samples.map(({ bytes }) => (bytes / 1024).toFixed(0))]));
}

try {
  await machine.pulse();
  mkdirSync(relay.folder);
  await relay.start();
  await sink.start(machine);
  if (['start', 'load', 'memory'].some(wanted)) {
    for (const codec of Object.keys(PLAYERS)) {
      programs.push(music(relay, machine.folder, codec, 3600));
      await relay.mounted(`/music.${codec}`);
    }
    // A burst, as at a mount that has been there for a while.
    await sleep(6000);
  }
  if (wanted('start')) await starts();
  if (wanted('latency')) await latencies();
  if (wanted('load')) await load();
  if (wanted('memory')) await memory();
  if (wanted('soak')) results.soak = await soak(process.env.SEAMCAST_WEB ?? join(root, 'web/dist'), machine.folder, minutes, table);
} finally {
  for (const program of programs) program.stop();
  sink.stop();
  await relay.stop();
  await site.stop();
  await machine.close();
}
if (options.json) writeFileSync(options.json, JSON.stringify(results, null, 2));
process.exit(0);
