// The suite's own web server: the bench page, the built package, whatever a case
// puts there, and the place where pages send their recordings.

import { createReadStream, existsSync, statSync } from 'node:fs';
import http from 'node:http';
import { extname, join, normalize } from 'node:path';

const TYPES = {
  '.html': 'text/html; charset=utf-8', '.js': 'text/javascript', '.mjs': 'text/javascript',
  '.wasm': 'application/wasm', '.css': 'text/css', '.json': 'application/json', '.svg': 'image/svg+xml',
  '.opus': 'audio/ogg', '.ogg': 'audio/ogg', '.mp3': 'audio/mpeg',
};

export class Site {
  #server;
  #routes = new Map();
  #folders = [];
  #recordings = new Map();
  /** What pages reported about themselves: `{page, kind, text}`. */
  reports = [];

  async start() {
    this.#server = http.createServer((request, response) => {
      this.#answer(request, response).catch((error) => {
        response.writeHead(500).end(String(error));
      });
    });
    await new Promise((done) => this.#server.listen(0, '127.0.0.1', done));
    this.origin = `http://127.0.0.1:${this.#server.address().port}`;
    return this;
  }

  /** Serves a folder below a path that begins and ends with a slash. */
  folder(path, folder) { this.#folders.push([path, folder]); }

  /** Serves one path by a function of request and response. */
  route(path, handler) { this.#routes.set(path, handler); }

  /** A recording that a page has sent; each can be taken once. */
  take(name) {
    const recording = this.#recordings.get(name);
    if (!recording) throw new Error(`no recording named ${name} was sent`);
    this.#recordings.delete(name);
    return recording;
  }

  async #answer(request, response) {
    const url = new URL(request.url, this.origin);
    const path = decodeURIComponent(url.pathname);
    // `?isolated` and `?csp` choose a page's headers, so one server does for all.
    const headers = { 'cache-control': 'no-store', 'cross-origin-resource-policy': 'cross-origin' };
    if (url.searchParams.has('isolated')) {
      headers['cross-origin-opener-policy'] = 'same-origin';
    }
    // Workers need it too when their page is isolated, and it harms nobody else here.
    headers['cross-origin-embedder-policy'] = 'require-corp';
    if (url.searchParams.has('csp')) {
      headers['content-security-policy'] = "default-src 'none'; script-src 'self' 'wasm-unsafe-eval'; " +
        "connect-src 'self' http://127.0.0.1:* ws://127.0.0.1:*; worker-src 'self'; style-src 'self'; img-src 'self'";
    }
    if (request.method === 'POST') {
      const parts = [];
      for await (const part of request) parts.push(part);
      this.#received(path, url.searchParams, Buffer.concat(parts));
      response.writeHead(204, headers).end();
      return;
    }
    const handler = this.#routes.get(path);
    if (handler) {
      for (const [name, value] of Object.entries(headers)) response.setHeader(name, value);
      await handler(request, response, url);
      return;
    }
    for (const [prefix, folder] of this.#folders) {
      if (!path.startsWith(prefix)) continue;
      const file = join(folder, normalize(`/${path.slice(prefix.length)}`));
      if (!existsSync(file) || !statSync(file).isFile()) continue;
      response.writeHead(200, { ...headers, 'content-type': TYPES[extname(file)] ?? 'application/octet-stream', 'content-length': statSync(file).size });
      createReadStream(file).pipe(response);
      return;
    }
    response.writeHead(path === '/favicon.ico' ? 204 : 404, headers).end();
  }

  #received(path, query, body) {
    if (path === '/report') {
      this.reports.push(JSON.parse(body.toString()));
    } else if (path.startsWith('/recording/')) {
      const count = Number(query.get('channels'));
      const frames = Number(query.get('frames'));
      // A copy of its own, since a pooled Buffer need not be aligned for floats.
      const samples = new Float32Array(new Uint8Array(body).buffer);
      const channels = Array.from({ length: count }, (_, c) => samples.slice(c * frames, (c + 1) * frames));
      this.#recordings.set(path.slice('/recording/'.length), {
        rate: Number(query.get('rate')), firstFrame: Number(query.get('first')), holes: JSON.parse(query.get('holes')), channels,
      });
    }
  }

  async stop() {
    this.#server.closeAllConnections();
    await new Promise((done) => this.#server.close(done));
  }
}
