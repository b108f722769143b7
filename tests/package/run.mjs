#!/usr/bin/env node
// The package suite: packs `seamcast`, installs the tarball where users would, and uses it from there.
//
//   node tests/package/run.mjs [--quick] [--case TEXT]... [--list]
//
// `--quick` leaves out the projects of bundlers, whose tools are fetched from the registry.

import { existsSync, mkdirSync, readdirSync } from 'node:fs';
import { dirname, join, resolve } from 'node:path';
import { fileURLToPath, pathToFileURL } from 'node:url';
import { parseArgs } from 'node:util';
import { open } from '../browser/lib/browsers/chromium.mjs';
import { Machine } from '../browser/lib/machine.mjs';
import { sleep } from '../browser/lib/process.mjs';
import { decode, encode, signal } from '../browser/lib/reference.mjs';
import { Host } from './lib/host.mjs';
import { install, pack } from './lib/project.mjs';

const here = dirname(fileURLToPath(import.meta.url));
const root = resolve(here, '../..');
const work = join(process.env.CARGO_TARGET_DIR ?? join(root, 'target'), 'package');

const { values: options } = parseArgs({ options: {
  quick: { type: 'boolean' }, case: { type: 'string', multiple: true }, list: { type: 'boolean' },
} });
const cases = [];
for (const file of readdirSync(join(here, 'cases')).filter((name) => name.endsWith('.mjs')).sort()) {
  cases.push(...(await import(pathToFileURL(join(here, 'cases', file)))).default);
}
const chosen = cases.filter(({ name, slow }) => !(options.quick && slow) && (!options.case || options.case.some((text) => name.includes(text))));
if (options.list) {
  for (const { name } of chosen) console.log(name);
  process.exit(0);
}
if (chosen.length === 0) {
  console.error('no case matches; --list shows them all');
  process.exit(2);
}
const built = process.env.SEAMCAST_WEB ?? join(root, 'web/dist');
if (!existsSync(join(built, 'player/index.js'))) {
  console.error(`missing: the built package in ${built} (cargo xtask wasm)`);
  process.exit(1);
}

mkdirSync(work, { recursive: true });
const machine = new Machine();
const begun = Date.now();
let browser;
let failed = 0;
/** Cases share what is costly: the tarball, a project without tools, the test stream, the browser. */
const tarball = pack(dirname(built), work);
const plain = await install(join(work, 'plain'), tarball);
const media = await new Host().start();
const stream = encode(machine.folder, 'stream', signal('noise', 1.2, 48000), 'opus');
media.file('/stream.opus', stream);
const tools = {
  root, here, work, tarball, plain, media, stream,
  streamUrl: `${media.origin}/stream.opus`,
  frames: decode(stream).channels[0].length,
  browser: async () => browser ??= await open(machine),
};

const indented = (text) => text.replace(/^/gm, '       ');

/** One case under its time limit; everything it opened is closed after it. */
async function attempt(one) {
  const notes = [];
  const closers = [];
  const started = Date.now();
  const limit = one.limit ?? 90_000;
  const late = sleep(limit).then(() => { throw new Error(`was not done within ${limit} ms`); });
  late.catch(() => {});
  let error;
  try {
    await Promise.race([one.run({ ...tools, note: (text) => notes.push(text), finally: (closer) => closers.push(closer) }), late]);
  } catch (thrown) {
    error = thrown?.stack ?? String(thrown);
  }
  for (const closer of closers.reverse()) await Promise.resolve(closer()).catch(() => {});
  return { notes, error, ms: Date.now() - started };
}

try {
  for (const one of chosen) {
    let tried = await attempt(one);
    if (tried.error) {
      // Playing takes real time, which a shared machine may not give: one more try, and the first one is told.
      console.log(`again  ${one.name}\n${indented(tried.error)}`);
      tried = await attempt(one);
    }
    console.log(`${tried.error ? 'FAILED' : 'ok    '} ${one.name} (${(tried.ms / 1000).toFixed(1)} s)`);
    for (const note of tried.notes) console.log(indented(note));
    if (tried.error) console.log(indented(tried.error));
    if (tried.error) failed += 1;
  }
} finally {
  await browser?.close();
  await media.stop();
  await machine.close();
}
console.log(`\n${chosen.length - failed} passed, ${failed} failed in ${((Date.now() - begun) / 1000).toFixed(0)} s`);
process.exit(failed > 0 ? 1 : 0);
