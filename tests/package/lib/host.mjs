// A static web server, as plain as a bucket behind a CDN: folders under prefixes, fixed headers, nothing rewritten.

import { existsSync, readFileSync, statSync } from 'node:fs';
import http from 'node:http';
import { extname, join, normalize } from 'node:path';

const TYPES = {
  '.html': 'text/html; charset=utf-8', '.js': 'text/javascript', '.mjs': 'text/javascript', '.css': 'text/css',
  '.wasm': 'application/wasm', '.json': 'application/json', '.opus': 'audio/ogg',
};

export class Host {
  #server;
  #headers;
  #folders = [];
  #files = new Map();
  /** Paths that were answered with 200. */
  served = [];

  /** @param {Record<string, string>} [headers] sent with everything; by default any origin may read. */
  constructor(headers = { 'access-control-allow-origin': '*' }) {
    this.#headers = headers;
  }

  async start() {
    this.#server = http.createServer((request, response) => this.#answer(request, response));
    await new Promise((done) => this.#server.listen(0, '127.0.0.1', done));
    this.origin = `http://127.0.0.1:${this.#server.address().port}`;
    return this;
  }

  /** Serves a folder below a path that begins and ends with a slash. */
  folder(prefix, folder) { this.#folders.push([prefix, folder]); return this; }
  /** Serves one file at a path. */
  file(path, file) { this.#files.set(path, () => readFileSync(file)); return this; }
  /** Serves text at a path. */
  text(path, text) { this.#files.set(path, () => text); return this; }

  #answer(request, response) {
    const path = decodeURIComponent(new URL(request.url, this.origin).pathname);
    const found = this.#files.get(path) ?? this.#inFolders(path);
    if (!found) {
      response.writeHead(path === '/favicon.ico' ? 204 : 404, this.#headers).end();
      return;
    }
    this.served.push(path);
    response.writeHead(200, { ...this.#headers, 'cache-control': 'no-store', 'content-type': TYPES[extname(path) || '.html'] ?? 'application/octet-stream' }).end(found());
  }

  #inFolders(path) {
    for (const [prefix, folder] of this.#folders) {
      if (!path.startsWith(prefix)) continue;
      let file = join(folder, normalize(`/${path.slice(prefix.length)}`));
      if (existsSync(file) && statSync(file).isDirectory()) file = join(file, 'index.html');
      if (existsSync(file)) return () => readFileSync(file);
    }
    return undefined;
  }

  async stop() {
    this.#server.closeAllConnections();
    await new Promise((done) => this.#server.close(done));
  }
}
