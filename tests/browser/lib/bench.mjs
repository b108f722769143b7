// What a case works with: one browser at a time, pages whose errors fail the
// case, recordings and where to put them.

import { existsSync, mkdirSync } from 'node:fs';
import { dirname, join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { compare } from './analysis.mjs';
import { descendants, sleep } from './process.mjs';
import { Machine } from './machine.mjs';
import { relayBinary, Relay } from './relay.mjs';
import { Site } from './site.mjs';
import { writeWav } from './reference.mjs';

const PAGES = join(dirname(fileURLToPath(import.meta.url)), '..', 'pages');

export class Bench {
  versions = {};
  #machine = new Machine();
  #site;
  #browser;
  #browserKey;
  #kept = new Map();
  #relay;
  /** What the case waits for, for those that are late. */
  doing = 'nothing yet';

  constructor({ root, artefacts }) {
    this.root = root;
    this.artefacts = artefacts;
  }

  /** Runs one case. Everything it opened is closed after it, and pages must be without errors. */
  async run(one, browserName, note) {
    this.#site ??= await this.#startSite();
    const key = JSON.stringify([browserName, one.browserOptions ?? {}]);
    const pages = [];
    const closers = [];
    let used;
    const browser = async () => {
      if (this.#browserKey !== key) {
        await this.#closeBrowser();
        const { open } = await import(`./browsers/${browserName}.mjs`);
        this.doing = 'starting the browser';
        this.#browser = await open(this.#machine, one.browserOptions);
        this.#browserKey = key;
      }
      return used = this.#browser;
    };
    const tools = {
      browserName, note, site: this.#site, machine: this.#machine, root: this.root,
      browser,
      /**
       * A page at `path` of the suite's site, or at a whole URL. Its errors fail the case unless `tolerate` matches them. Players
       * have the worklet there by default, with shared memory; in WebKit, most of whose pages have none, buffers.
       */
      page: async (path = `/bench/bench.html?isolated${browserName === 'webkit' ? '&output=buffers' : ''}`, { tolerate, ...options } = {}) => {
        const opened = await browser();
        this.doing = 'opening a page';
        const page = await opened.page(options);
        pages.push({ page, tolerate });
        const url = new URL(path, this.#site.origin);
        // The whole suite again with another output: SEAMCAST_OUTPUT=buffers or worklet, or worklet-port for one without shared memory.
        const [output, way] = (process.env.SEAMCAST_OUTPUT ?? '').split('-');
        if (output && !url.searchParams.has('output')) url.searchParams.set('output', output);
        if (way) url.searchParams.delete('isolated');
        this.doing = `loading ${url.pathname}`;
        await page.goto(url.href);
        this.doing = 'running the case';
        return page;
      },
      relay: async (args) => {
        const binary = this.relayBinary();
        const folder = join(this.#machine.folder, `relay-${closers.length}-${Date.now()}`);
        mkdirSync(folder);
        const relay = new Relay(binary, folder);
        closers.push(() => relay.stop());
        return relay.start(args);
      },
      folder: this.#machine.folder,
      /** Something costly that several cases share. */
      once: (name, make) => {
        if (!this.#kept.has(name)) this.#kept.set(name, make());
        return this.#kept.get(name);
      },
      artefact: (name) => join(this.artefacts, `${browserName}-${one.name.replace(/\W+/g, '-')}-${name}`),
      /** Compares and fails the case, leaving both sounds behind, unless it is seamless. */
      seamless: (reference, recorded, options, what = '') => {
        const result = compare(reference, recorded, options);
        if (result.failures.length > 0) {
          writeWav(tools.artefact(`${what.replace(/\W+/g, '-')}recorded.wav`), recorded);
          writeWav(tools.artefact(`${what.replace(/\W+/g, '-')}reference.wav`), reference);
          throw new Error(`${what}: ${result.failures.join('; ')}`);
        }
        note(`${what ? `${what}: ` : ''}${result.frames} frames at ${recorded.rate} Hz, SNR ${result.snr.toFixed(1)} dB, largest error ${result.worst.toExponential(1)}, ` +
          `length ${result.lengthDifference >= 0 ? '+' : ''}${result.lengthDifference}${result.lost > 0 ? `, ${result.lost} frames never rendered` : ''}`);
        return result;
      },
      /** Runs at the end of the case, whatever comes of it. */
      finally: (closer) => closers.push(closer),
    };
    let thrown;
    try {
      await one.run(tools);
    } catch (error) {
      thrown = error;
    }
    this.doing = 'closing pages and browser';
    if (used) this.versions[browserName] = used.version;
    const complaints = [];
    for (const { page, tolerate } of pages) {
      try {
        const seen = new Set([...await page.errors(), ...await page.run(() => globalThis.benchErrors ?? [])]);
        complaints.push(...[...seen].filter((text) => !tolerate?.test(text)));
      } catch (error) {
        complaints.push(`the page is gone: ${error.message}`);
      }
      await page.close().catch(() => {});
    }
    // Firefox's main process has been seen to stall after a few cases: each gets a new one.
    if (browserName === 'firefox' && used && this.#browser === used) await this.#closeBrowser();
    for (const closer of closers.reverse()) await Promise.resolve(closer()).catch((error) => complaints.push(String(error)));
    if (thrown) {
      if (complaints.length > 0) thrown.stack += `\n${complaints.join('\n')}`;
      // A browser that failed a case is not trusted with the next. A late case may find that it was left already.
      if (this.#browser === used) await this.#closeBrowser();
      throw thrown;
    }
    if (complaints.length > 0) throw new Error(`the page complained: ${complaints.join('\n')}`);
  }

  /** Builds the relay if need be; called before any case's time runs. */
  relayBinary() {
    return this.#relay ??= relayBinary(this.root);
  }

  async #startSite() {
    const site = await new Site().start();
    site.folder('/bench/', PAGES);
    const built = process.env.SEAMCAST_WEB ?? join(this.root, 'web', 'dist');
    if (existsSync(built)) site.folder('/seamcast/', built);
    return site;
  }

  /** Leaves a browser that may not answer any more, and the sound server that it may have hung up with. */
  async discardBrowser() {
    await this.#closeBrowser();
    await this.#machine.close();
  }

  async #closeBrowser() {
    const browser = this.#browser;
    this.#browser = this.#browserKey = undefined;
    if (!browser) return;
    const closed = browser.close().then(() => true, () => false);
    if (await Promise.race([closed, sleep(10_000)])) return;
    for (const { pid, commandLine } of descendants(process.pid)) {
      if (!/firefox|chromium|MiniBrowser|WebKit/.test(commandLine)) continue;
      try { process.kill(pid, 'SIGKILL'); } catch { /* it has ended meanwhile */ }
    }
  }

  async close() {
    await this.#closeBrowser();
    await this.#machine.close();
    await this.#site?.stop();
  }
}
