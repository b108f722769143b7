import assert from 'node:assert/strict';
import { test } from 'node:test';
import { Backoff } from '../src/reconnect.js';

test('delays double, are capped, and half of each is random', () => {
  const longest = new Backoff({ baseDelay: 100, maxDelay: 1000 }, () => 1);
  assert.deepEqual(Array.from({ length: 6 }, () => longest.next()), [100, 200, 400, 800, 1000, 1000]);
  const shortest = new Backoff({ baseDelay: 100, maxDelay: 1000 }, () => 0);
  assert.deepEqual(Array.from({ length: 6 }, () => shortest.next()), [50, 100, 200, 400, 500, 500]);
});

test('a thousand attempts overflow nothing', () => {
  const backoff = new Backoff({ maxDelay: 1000 }, () => 1);
  for (let i = 0; i < 1000; i += 1) backoff.next();
  assert.equal(backoff.next(), 1000);
});

test('attempts run out, and success gives them back', () => {
  const backoff = new Backoff({ maxAttempts: 2 });
  assert.notEqual(backoff.next(), null);
  assert.notEqual(backoff.next(), null);
  assert.equal(backoff.next(), null);
  backoff.reset();
  assert.notEqual(backoff.next(), null);
});

test('a delay the relay asks for is obeyed', () => {
  assert.equal(new Backoff().next(1234), 1234);
});

test('no option makes a player hammer a relay', () => {
  assert.equal(new Backoff({ baseDelay: 0 }).next(), 50);
  assert.throws(() => new Backoff({ baseDelay: -1 }), { name: 'TypeError', message: /baseDelay takes a number from 0 to Infinity, got -1/ });
  assert.throws(() => new Backoff(/** @type {any} */ ({ maxDelay: '5' })), /maxDelay takes a number from 0 to Infinity, got "5"/);
});
