#!/usr/bin/env node
// The browser suite: plays Seamcast in real browsers, records the output at
// `player.node` and checks every frame of it.
//
//   node tests/browser/run.mjs [--browser NAME]... [--case TEXT]... [--list]
//
// Exit status 0 only when every chosen case passed. What a failing case recorded,
// and screenshots, are left in target/browser.

import { existsSync, mkdirSync, readdirSync, rmSync, writeFileSync } from 'node:fs';
import { dirname, join, resolve } from 'node:path';
import { fileURLToPath, pathToFileURL } from 'node:url';
import { parseArgs } from 'node:util';
import { Bench } from './lib/bench.mjs';
import { Jitter } from './lib/jitter.mjs';
import { sleep } from './lib/process.mjs';

const here = dirname(fileURLToPath(import.meta.url));
const root = resolve(here, '../..');
const artefacts = join(process.env.CARGO_TARGET_DIR ?? join(root, 'target'), 'browser');
const NAMES = ['chromium', 'firefox', 'webkit'];

const { values: options } = parseArgs({ options: {
  browser: { type: 'string', multiple: true }, case: { type: 'string', multiple: true }, list: { type: 'boolean' },
} });
for (const name of options.browser ?? []) {
  if (!NAMES.includes(name)) {
    console.error(`no browser named ${name}; there are ${NAMES.join(', ')}`);
    process.exit(2);
  }
}

const cases = [];
for (const file of readdirSync(join(here, 'cases')).filter((name) => name.endsWith('.mjs')).sort()) {
  cases.push(...(await import(pathToFileURL(join(here, 'cases', file)))).default);
}
const chosen = cases.filter(({ name }) => !options.case || options.case.some((text) => name.includes(text)));
const plan = (options.browser ?? NAMES).flatMap((browser) =>
  chosen.filter((one) => (one.browsers ?? NAMES).includes(browser)).map((one) => ({ browser, one })));
if (options.list) {
  for (const { browser, one } of plan) console.log(`${browser.padEnd(9)} ${one.name}`);
  process.exit(0);
}
if (plan.length === 0) {
  console.error('no case matches; --list shows them all');
  process.exit(2);
}

const missing = ['ffmpeg', 'opusdec', 'mpg123', 'sox', 'curl', 'pulseaudio', 'pactl', 'parec', 'Xvfb', 'dbus-daemon']
  .filter((program) => !(process.env.PATH ?? '').split(':').some((folder) => existsSync(join(folder, program))));
const built = process.env.SEAMCAST_WEB ?? join(root, 'web', 'dist');
if (!existsSync(join(built, 'player', 'index.js'))) missing.push(`the built package in ${built} (cargo xtask wasm)`);
if (missing.length > 0) {
  console.error(`missing: ${missing.join(', ')}\n\`cargo xtask test\` installs and builds what the tests need`);
  process.exit(1);
}

rmSync(artefacts, { recursive: true, force: true });
mkdirSync(artefacts, { recursive: true });
// A case that fails is tried up to twice more, with a new browser and sound server, and says so: real time on a shared
// machine is not reliable enough to insist. Whatever comes now and then on a quiet one is a fault to be found.
const ATTEMPTS = 3;
const jitter = new Jitter();
const bench = new Bench({ root, artefacts });
if (plan.some(({ one }) => one.relay)) bench.relayBinary();
const results = [];
const begun = Date.now();

/** One case under its time limit; a late one fails and is abandoned. */
async function attempt(one, browser) {
  const limit = one.limit ?? 90_000;
  const started = Date.now();
  const notes = [];
  let late = false;
  const running = bench.run(one, browser, (note) => notes.push(note));
  try {
    const timer = sleep(limit).then(() => {
      late = true;
      throw new Error(`was not done within ${limit} ms, ${bench.doing}`);
    });
    timer.catch(() => {});
    await Promise.race([running, timer]);
    return { ok: true, ms: Date.now() - started, notes };
  } catch (error) {
    if (late) {
      // A browser that hangs is left, which ends what waits for it.
      await bench.discardBrowser();
      await Promise.race([running.catch(() => {}), sleep(10_000)]);
    }
    return { ok: false, late, ms: Date.now() - started, notes, error: error?.stack ?? String(error) };
  }
}

try {
  for (const { browser, one } of plan) {
    await jitter.read();
    let tried = await attempt(one, browser);
    const stalled = await jitter.read();
    for (let attempts = 1; !tried.ok && attempts < ATTEMPTS; attempts++) {
      const { error } = tried;
      console.log(`again  ${browser.padEnd(9)} ${one.name} (the machine stood still for up to ${stalled.toFixed(0)} ms)`);
      console.log(error.split('\n')[0].replace(/^/gm, '         '));
      await bench.discardBrowser();
      tried = await attempt(one, browser);
      tried.notes.unshift(`attempt ${attempts + 1}, after: ${error.split('\n')[0]}`);
    }
    const result = { browser, name: one.name, stalledMs: Math.round(stalled), ...tried };
    results.push(result);
    console.log(`${result.ok ? 'ok    ' : 'FAILED'} ${browser.padEnd(9)} ${one.name} (${(result.ms / 1000).toFixed(1)} s)${result.notes.map((note) => `\n         ${note}`).join('')}`);
    if (!result.ok) console.log(result.error.replace(/^/gm, '         '));
  }
} finally {
  await bench.close();
}
writeFileSync(join(artefacts, 'results.json'), JSON.stringify({ versions: bench.versions, seconds: (Date.now() - begun) / 1000, results }, null, 2));
const failed = results.filter(({ ok }) => !ok);
console.log(`\n${results.length - failed.length} passed, ${failed.length} failed in ${((Date.now() - begun) / 1000).toFixed(0)} s; ` +
  Object.entries(bench.versions).map(([name, version]) => `${name} ${version}`).join(', '));
for (const { browser, name } of failed) console.log(`failed: ${browser} ${name}`);
process.exit(failed.length > 0 ? 1 : 0);
