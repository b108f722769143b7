// A TCP proxy between browser and relay: the network's faults on demand.

import net from 'node:net';

export class Proxy {
  #pairs = new Set();
  #stalled = false;
  #refusing = false;
  connections = 0;

  constructor(port) { this.target = port; }

  async start() {
    this.server = net.createServer((client) => {
      this.connections++;
      if (this.#refusing) { client.destroy(); return; }
      const relay = net.connect(this.target, '127.0.0.1');
      const pair = { client, relay };
      this.#pairs.add(pair);
      const end = () => {
        client.destroy();
        relay.destroy();
        this.#pairs.delete(pair);
      };
      for (const socket of [client, relay]) socket.on('error', end).on('close', end).setNoDelay(true);
      client.on('data', (bytes) => relay.write(bytes));
      relay.on('data', (bytes) => {
        if (!client.write(bytes)) {
          relay.pause();
          client.once('drain', () => { if (!this.#stalled) relay.resume(); });
        }
      });
      if (this.#stalled) relay.pause();
    });
    await new Promise((done) => this.server.listen(0, '127.0.0.1', done));
    this.port = this.server.address().port;
    return this;
  }

  url(path) { return `http://127.0.0.1:${this.port}${path}`; }
  ws(path) { return `ws://127.0.0.1:${this.port}${path}`; }

  /** Nothing more arrives at listeners until `flow`. */
  stall() {
    this.#stalled = true;
    for (const { relay } of this.#pairs) relay.pause();
  }

  flow() {
    this.#stalled = false;
    for (const { relay } of this.#pairs) relay.resume();
  }

  /** Breaks every connection; with `refuse`, new ones too until `accept`. */
  cut({ refuse = false } = {}) {
    this.#refusing = refuse;
    for (const { client, relay } of this.#pairs) {
      client.resetAndDestroy();
      relay.destroy();
    }
  }

  accept() { this.#refusing = false; }

  async stop() {
    this.cut();
    await new Promise((done) => this.server.close(done));
  }
}
