// One look at a page that uses the package: what it decoded and played, and whether it complained.

import assert from 'node:assert/strict';
import { existsSync } from 'node:fs';
import { join } from 'node:path';

/**
 * Opens `url`, waits until the page has left its findings in `globalThis.findings` (see pages/check.js), and checks them.
 * `more` may then do something with the page.
 * The console must stay empty of errors and warnings. `worker: false` where none can be had: then the
 * player must do without, and silently so. Returns the findings and what was fetched.
 */
export async function visit(tools, url, { expected, more, worker = true }) {
  const page = await (await tools.browser()).page();
  const { native } = page;
  const warnings = [];
  const fetched = [];
  native.on('console', (message) => { if (message.type() === 'warning') warnings.push(message.text()); });
  native.on('response', (response) => fetched.push(`${response.status()} ${response.url()}`));
  let findings;
  try {
    await page.goto(url);
    findings = await native.waitForFunction(() => globalThis.findings, undefined, { timeout: 60_000 }).then((handle) => handle.jsonValue());
    assert.equal(findings.error, undefined, `the page says ${findings.error}`);
    await more?.(native);
    assert.deepEqual([...await page.errors(), ...warnings], [], 'the console is clean');
  } catch (error) {
    throw new Error(`${error.message}\n${[...await page.errors(), ...warnings, `at ${url}, which fetched`, ...fetched].join('\n')}`, { cause: error });
  } finally {
    await page.close();
  }
  assert.equal(findings.decoded.errors, 0);
  assert.deepEqual(findings.decoded, expected, 'the page decodes to the very samples that Node does');
  for (const { events, seconds } of findings.played) {
    assert.ok(events.includes('playing') && events.at(-1) === 'ended', `played to the end: ${events}`);
    assert.ok(Math.abs(seconds - tools.frames / 48000) < 0.02, `played ${seconds} s of ${tools.frames / 48000}`);
  }
  const ways = findings.played.map(({ output, thread, underruns }) => `${output} from ${thread}${underruns > 0 ? `, ${underruns} underruns` : ''}`);
  if (existsSync(join(tools.plain, 'node_modules/seamcast/dist/player/worker.js'))) {
    assert.equal(ways[0].split(',')[0], worker ? 'worklet from worker' : 'buffers from main', 'the way the player took by default');
    assert.equal(ways[1].split(',')[0], 'buffers from main', 'the way the player took when asked for buffers');
  }
  const files = fetched.filter((line) => /\.wasm(\?|$)|work(er|let)/.test(line));
  tools.note(`${ways.join('; ')}\n${[...new Set(files)].join('\n')}`);
  return { findings, fetched };
}
