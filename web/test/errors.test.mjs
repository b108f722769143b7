import assert from 'node:assert/strict';
import { test } from 'node:test';
import { PlayerError, describe, toBytes } from '../src/errors.js';
import { ranges } from '../src/ranges.js';

test('an error has a code, a reason, a remedy and its cause', () => {
  const cause = new Error('x');
  const e = new PlayerError('unreachable', 'cannot fetch http://a/', { cause });
  assert.ok(e instanceof Error);
  assert.deepEqual([e.name, e.code, e.reason, e.cause], ['PlayerError', 2, 'unreachable', cause]);
  assert.equal(e.message, `cannot fetch http://a/: ${e.remedy}`);
  assert.equal(new PlayerError('decode', 'x').code, 3);
  assert.equal(new PlayerError('unsupported_media', 'x').code, 4);
});

test('every BufferSource is bytes, without a copy', () => {
  const buffer = new ArrayBuffer(8);
  assert.equal(toBytes(buffer, 'f').length, 8);
  assert.equal(toBytes(new DataView(buffer, 2, 3), 'f').byteOffset, 2);
  assert.equal(toBytes(new Int16Array(buffer, 2, 2), 'f').length, 4);
  assert.equal(toBytes(new SharedArrayBuffer(3), 'f').length, 3);
  const bytes = new Uint8Array(buffer, 1, 3);
  assert.equal(toBytes(bytes, 'f').buffer, buffer);
  assert.equal(toBytes(bytes, 'f').byteOffset, 1);
});

test('anything else is named', () => {
  assert.throws(() => toBytes('abc', 'decode'), { name: 'TypeError', message: 'decode takes a Uint8Array or another BufferSource, got "abc"' });
  const cases = [[null, 'null'], [undefined, 'undefined'], [5, '5'], [true, 'true'], [[1], 'Array'], [{}, 'Object'], [() => 0, '() => 0'], ['x'.repeat(60), `"${'x'.repeat(39)}…`]];
  for (const [value, said] of cases) assert.equal(describe(value), said);
});

test('ranges behave like TimeRanges', () => {
  const made = ranges([[1, 2], [5, 5]]);
  assert.equal(made.length, 1);
  assert.deepEqual([made.start(0), made.end(0)], [1, 2]);
  assert.throws(() => made.end(1), { name: 'IndexSizeError' });
});
