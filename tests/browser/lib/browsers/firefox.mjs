// Firefox through WebDriver BiDi. Without an audio device its contexts stay
// suspended, so it plays into PulseAudio's null sink.

import { existsSync } from 'node:fs';
import { join } from 'node:path';
import puppeteer from 'puppeteer-core';
import { favourAudio } from '../machine.mjs';

const PLACES = ['/usr/bin/firefox-esr', '/usr/bin/firefox'];

export async function open(machine, { autoplay = true } = {}) {
  const executablePath = process.env.FIREFOX ?? PLACES.find((place) => existsSync(place));
  if (!executablePath) throw new Error('firefox is not installed; `cargo xtask test` installs it, or set FIREFOX');
  await machine.pulse();
  const browser = await puppeteer.launch({
    browser: 'firefox', executablePath, headless: true,
    userDataDir: join(machine.folder, `firefox-${Date.now()}`),
    env: { ...process.env, ...machine.env },
    extraPrefsFirefox: {
      ...(autoplay ? { 'media.autoplay.default': 0, 'media.autoplay.blocking_policy': 0 } : {}),
      'datareporting.policy.dataSubmissionEnabled': false,
      'network.captive-portal-service.enabled': false,
    },
  });
  favourAudio();
  return {
    name: 'firefox',
    version: await browser.version(),
    async page() {
      const page = await browser.newPage();
      page.setDefaultTimeout(60_000);
      const errors = [];
      page.on('console', (message) => {
        if (message.type() === 'error' || message.text().includes('panicked at')) errors.push(`console: ${message.text()}`);
      });
      page.on('pageerror', (error) => errors.push(`page: ${error.stack ?? error}`));
      return {
        native: page,
        goto: (url) => page.goto(url, { waitUntil: 'load' }),
        // As text: BiDi gives an object that occurs twice only once.
        run: async (f, argument) => {
          const result = await page.evaluate(`(async () => JSON.stringify(await (${f})(${JSON.stringify(argument)})))()`);
          return result === undefined ? undefined : JSON.parse(result);
        },
        errors: async () => errors,
        screenshot: (path) => page.screenshot({ path }),
        close: () => page.close(),
      };
    },
    close: () => browser.close(),
  };
}
