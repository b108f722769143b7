// Chromium through Playwright. It needs no audio device: without one its clock
// runs at 1.0001 of the wall clock.

import { existsSync } from 'node:fs';
import { chromium } from 'playwright-core';
import { descendants } from '../process.mjs';
import { favourAudio } from '../machine.mjs';

const PLACES = ['/usr/bin/chromium', '/usr/bin/chromium-browser', '/usr/bin/google-chrome'];

export async function open(machine, { audible = false, autoplay = true, args = [] } = {}) {
  const executablePath = process.env.CHROMIUM ?? PLACES.find((place) => existsSync(place));
  if (!executablePath) throw new Error('chromium is not installed; `cargo xtask test` installs it, or set CHROMIUM');
  if (audible) await machine.pulse();
  const before = new Set(descendants(process.pid).map(({ pid }) => pid));
  const browser = await chromium.launch({
    executablePath,
    env: { ...process.env, ...machine.env },
    ignoreDefaultArgs: audible ? ['--mute-audio'] : [],
    args: [
      '--headless', '--no-sandbox', '--disable-gpu', '--disable-quic', '--no-first-run', '--disable-dev-shm-usage',
      '--disable-background-networking', '--disable-component-update', '--disable-sync',
      ...(autoplay ? ['--autoplay-policy=no-user-gesture-required'] : []), ...args,
    ],
  });
  favourAudio();
  const own = () => descendants(process.pid).filter(({ pid }) => !before.has(pid));
  return {
    name: 'chromium',
    version: browser.version(),
    renderers: () => own().filter(({ commandLine }) => commandLine.includes('--type=renderer')).map(({ pid }) => pid),
    async page(options = {}) {
      const context = await browser.newContext(options);
      const page = await context.newPage();
      const errors = [];
      page.on('console', (message) => {
        if (message.type() === 'error' || message.text().includes('panicked at')) errors.push(`console: ${message.text()}`);
      });
      page.on('pageerror', (error) => errors.push(`page: ${error.stack ?? error}`));
      page.on('crash', () => errors.push('the page crashed'));
      return {
        native: page,
        async goto(url) {
          await page.goto(url, { waitUntil: 'load' });
          favourAudio();
        },
        run: (f, argument) => page.evaluate(f, argument),
        errors: async () => errors,
        screenshot: (path) => page.screenshot({ path }),
        close: () => context.close(),
      };
    },
    close: () => browser.close(),
  };
}
