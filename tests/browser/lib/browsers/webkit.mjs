// WebKitGTK through its WebDriver, which is plain HTTP. MiniBrowser needs an X
// server, and its audio goes through GStreamer to PulseAudio.

import { existsSync, writeFileSync } from 'node:fs';
import { Program, freePort, until } from '../process.mjs';
import { favourAudio } from '../machine.mjs';

const PLACES = ['/usr/lib/x86_64-linux-gnu', '/usr/lib/aarch64-linux-gnu', '/usr/libexec']
  .map((place) => `${place}/webkit2gtk-4.1/MiniBrowser`);

export async function open(machine, { autoplay = true } = {}) {
  const binary = process.env.MINIBROWSER ?? PLACES.find((place) => existsSync(place));
  if (!binary) throw new Error('MiniBrowser is not installed; `cargo xtask test` installs webkit2gtk-driver, or set MINIBROWSER');
  await machine.pulse();
  await machine.display();
  await machine.bus();
  const port = await freePort();
  const driver = new Program('WebKitWebDriver', [`--port=${port}`, '--host=127.0.0.1'], {
    env: {
      ...machine.env, JSC_useSharedArrayBuffer: '1', NO_AT_BRIDGE: '1', GTK_A11Y: 'none',
      // Root has no user namespaces to build WebKit's sandbox from in many containers.
      WEBKIT_DISABLE_SANDBOX_THIS_IS_DANGEROUS: '1', LIBGL_ALWAYS_SOFTWARE: '1',
    },
  });
  const call = async (method, path, body) => {
    const response = await fetch(`http://127.0.0.1:${port}${path}`, {
      method, body: body && JSON.stringify(body), headers: { 'content-type': 'application/json' },
    });
    const { value } = await response.json();
    if (!response.ok) throw new Error(`${value.error}: ${value.message}`);
    return value;
  };
  await until(() => fetch(`http://127.0.0.1:${port}/status`).then((r) => r.ok, () => false), 15_000, 'WebKitWebDriver answering');
  let version = '';
  const close = async () => driver.stop(1000);
  return {
    name: 'webkit',
    get version() { return version; },
    // One session, so one MiniBrowser, per page: WebKitGTK's driver has one window per automation view.
    async page() {
      const session = await call('POST', '/session', { capabilities: { alwaysMatch: {
        timeouts: { script: 120_000, pageLoad: 60_000 },
        'webkitgtk:browserOptions': { binary, args: ['--automation', ...(autoplay ? ['--autoplay-policy=allow'] : [])] },
      } } });
      version = `${session.capabilities.browserName} ${session.capabilities.browserVersion}`;
      const at = `/session/${session.sessionId}`;
      favourAudio();
      // The page's function may throw or reject: both must come back as an error here.
      const run = async (f, argument) => {
        const script = `const done = arguments[1];
          Promise.resolve().then(() => (${f})(arguments[0])).then(
            (value) => done({ value }), (error) => done({ error: String(error && error.stack ? error.message + '\\n' + error.stack : error) }));`
          .replace('(arguments[0])', '(argument)').replace('const done', 'const argument = arguments[0]; const done');
        const result = await call('POST', `${at}/execute/async`, { script, args: [argument ?? null] });
        if (result.error !== undefined) throw new Error(result.error);
        return result.value;
      };
      return {
        goto: (url) => call('POST', `${at}/url`, { url }),
        run,
        errors: () => run(() => globalThis.benchErrors ?? []),
        screenshot: async (path) => writeFileSync(path, Buffer.from(await call('GET', `${at}/screenshot`), 'base64')),
        close: () => call('DELETE', at),
      };
    },
    close,
  };
}
