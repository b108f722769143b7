// The package as pages use it: the decoder alone, a strict policy, no secure context.

import assert from 'node:assert/strict';
import { createHash } from 'node:crypto';
import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import { pathToFileURL } from 'node:url';
import { chained, file } from '../lib/fixtures.mjs';

/** What a `StreamDecoder` makes of `bytes` cut by `pieces`: a digest and counts. The same text runs in page and Node. */
async function decodeAll(StreamDecoder, cuttings, sha256) {
  const decoder = await StreamDecoder.create();
  const results = [];
  for (const pieces of cuttings) {
    const planes = [];
    let errors = 0;
    const keep = (out) => {
      errors += out.errors.length;
      out.channelData.forEach((plane, c) => (planes[c] ??= []).push(plane.slice()));
    };
    for (const piece of pieces) keep(decoder.decode(piece));
    keep(decoder.flush());
    decoder.reset();
    results.push({ sha: await sha256(...planes.flat()), frames: planes[0]?.reduce((sum, plane) => sum + plane.length, 0) ?? 0, channels: planes.length, errors });
  }
  decoder.free();
  return results;
}

/** Node's side of the comparison. */
async function inNodeToo(root, bytes) {
  const built = process.env.SEAMCAST_WEB ?? join(root, 'web', 'dist');
  const { StreamDecoder } = await import(pathToFileURL(join(built, 'player', 'decoder.js')));
  return decodeAll(StreamDecoder, bytes.map((one) => [one]), async (...arrays) => {
    const hash = createHash('sha256');
    for (const array of arrays) hash.update(new Uint8Array(array.buffer, array.byteOffset, array.byteLength));
    return hash.digest('hex');
  });
}

/** The page's side: each file cut once per seed. */
const inPageToo = (page, urls, seeds) => page.run(async ({ urls, seeds, decodeAll }) => {
  const { StreamDecoder } = await bench.import('/seamcast/player/decoder.js');
  // A function cannot cross from the suite to the page, its text can.
  const module = URL.createObjectURL(new Blob([`export default ${decodeAll}`], { type: 'text/javascript' }));
  const decode = (await bench.import(module)).default;
  const results = [];
  for (const url of urls) {
    const bytes = await bench.load(url);
    results.push(await decode(StreamDecoder, seeds.map((seed) => bench.pieces(bytes, seed, 4096)), bench.sha256));
  }
  return results;
}, { urls, seeds, decodeAll: String(decodeAll) });

export default [
  {
    name: 'package: StreamDecoder in a page gives what it gives in Node',
    async run(tools) {
      const page = await tools.page();
      const files = [
        file(tools, 'noise', 'opus', { seconds: 2 }), file(tools, 'noise', 'mp3', { seconds: 2 }),
        chained(tools, [file(tools, 'noise', 'opus', { seconds: 1.3 }), file(tools, 'sine', 'opus', { seconds: 1 })]),
      ];
      const inPage = await inPageToo(page, files.map(({ url }) => url), [1, 2]);
      const inNode = await inNodeToo(tools.root, files.map(({ path }) => readFileSync(path)));
      files.forEach(({ path, reference }, n) => {
        const frames = reference(path.endsWith('.mp3') ? 44100 : 48000).channels[0].length;
        for (const cutting of inPage[n]) {
          assert.equal(cutting.errors, 0);
          assert.equal(cutting.frames, frames, `${path}: the reference has ${frames} frames`);
          // Planes of several blocks are joined in the digest, so cuttings must not show.
          assert.deepEqual(cutting, inNode[n], path);
        }
      });
      tools.note(inNode.map(({ frames, sha }) => `${frames} frames ${sha.slice(0, 12)}`).join(', '));
    },
  },
  {
    name: 'package: the corpus decodes in a page as in Node, with the reference length',
    browsers: ['chromium'],
    limit: 180_000,
    async run(tools) {
      const corpus = process.env.SEAMCAST_CORPUS;
      if (!corpus) return tools.note('skipped: SEAMCAST_CORPUS names no folder');
      const [head, ...rows] = readFileSync(join(corpus, 'MANIFEST.tsv'), 'utf8').trimEnd().split('\n').map((line) => line.split('\t'));
      const files = rows.map((row) => Object.fromEntries(head.map((name, n) => [name, row[n]])))
        .filter((one) => one.class === 'strict' && ['opus', 'mp3'].includes(one.codec));
      tools.site.folder('/corpus/', corpus);
      const page = await tools.page();
      const inPage = await inPageToo(page, files.map(({ file }) => `/corpus/${file.split('/').map(encodeURIComponent).join('/')}`), [3]);
      const inNode = await inNodeToo(tools.root, files.map(({ file }) => readFileSync(join(corpus, file))));
      const wrong = files.flatMap(({ file, samples }, n) => {
        const [ours] = inPage[n];
        if (ours.sha !== inNode[n].sha || ours.errors !== inNode[n].errors) return [`${file}: other samples or errors than in Node`];
        // Streams that break the standard's own rules on purpose are decoded whole, but not without a word.
        return ours.frames === Number(samples) && (ours.errors === 0 || file.includes('nonstandard')) ? [] : [`${file}: ${ours.frames} frames of ${samples}, ${ours.errors} errors`];
      });
      tools.note(`${files.length - wrong.length} of ${files.length} strict files`);
      assert.deepEqual(wrong, []);
    },
  },
  {
    name: 'package: works under a policy of script-src self and wasm-unsafe-eval',
    async run(tools) {
      const path = '/bench/bench.html?csp';
      const { headers } = await fetch(new URL(path, tools.site.origin));
      assert.match(headers.get('content-security-policy'), /script-src 'self' 'wasm-unsafe-eval'/);
      // Whatever the policy forbids is reported by the page and fails the case.
      const page = await tools.page(path);
      const media = file(tools, 'noise', 'opus', { seconds: 1.5 });
      const { stats } = await page.run(async (url) => {
        const listening = await bench.Listening.start({ rate: 48000, options: { mode: 'complete' } });
        bench.appendAll(listening.player, await bench.load(url), 7, 8192);
        await listening.play();
        await listening.wait('ended');
        return listening.finish('policy');
      }, media.url);
      // A page that is not isolated: WebKit's port would stall with it.
      if (!process.env.SEAMCAST_OUTPUT) assert.equal(stats.output, tools.browserName === 'webkit' ? 'buffers' : 'worklet');
      tools.seamless(media.reference(48000), tools.site.take('policy'), { limit: 2e-4 });
    },
  },
  {
    name: 'package: plays in a page that is no secure context',
    browsers: ['chromium'],
    browserOptions: { args: ['--host-resolver-rules=MAP lan.test 127.0.0.1'] },
    async run(tools) {
      const media = file(tools, 'noise', 'opus', { seconds: 2 });
      const page = await tools.page(`http://lan.test:${new URL(tools.site.origin).port}/bench/bench.html`);
      const result = await page.run(async (url) => {
        if (isSecureContext || AudioContext.prototype.audioWorklet) throw new Error('this page was to be no secure context');
        const listening = await bench.Listening.start({ rate: 48000, options: { mode: 'complete' } });
        bench.appendAll(listening.player, await bench.load(url), 8, 8192);
        await listening.play();
        await listening.wait('ended');
        return listening.finish('insecure', 0.4);
      }, media.url);
      tools.seamless(media.reference(48000), tools.site.take('insecure'), { limit: 2e-4 });
      assert.equal(result.stats.output, 'buffers');
    },
  },
];
