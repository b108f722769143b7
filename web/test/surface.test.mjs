/** The declarations, the code and the README name the same options, members, events, statistics and error reasons. */
import assert from 'node:assert/strict';
import { readFileSync, readdirSync } from 'node:fs';
import { join } from 'node:path';
import { test } from 'node:test';
import './fakes.mjs';
import { Player, PlayerError } from 'seamcast';
import { StreamDecoder } from 'seamcast/decoder';
import { SeamcastPlayerElement } from 'seamcast/element';

const web = join(import.meta.dirname, '..');
const read = (...path) => readFileSync(join(web, ...path), 'utf8');
const types = { index: read('src/index.d.ts'), decoder: read('src/decoder.d.ts'), element: read('src/element.d.ts') };
const readme = read('README.md');
const code = readdirSync(join(web, 'src')).filter((name) => name.endsWith('.js')).map((name) => read('src', name)).join('\n');
const engine = read('../player-wasm/src/shell/engine.rs');

/** The names declared directly inside `interface NAME` or `class NAME`. */
function declared(text, name, { statics = false } = {}) {
  const body = new RegExp(`(?:interface|class) ${name}\\b[^{]*{\\n([^]*?)\\n}`).exec(text)?.[1];
  assert.ok(body, `${name} is declared`);
  const lines = [...body.matchAll(/^  (static )?(?:readonly |get |set )*(\w+)[?(<:]/gm)];
  return [...new Set(lines.filter(([, is, member]) => Boolean(is) === statics && member !== 'constructor').map(([, , member]) => member))].sort();
}

/** What a class has beyond `EventTarget` and JavaScript's own. */
const has = (object) => Object.getOwnPropertyNames(object)
  .filter((name) => !['constructor', 'length', 'name', 'prototype', 'observedAttributes'].includes(name)).sort();

/** Names in code marks within one part of the README. */
function documented(from, to) {
  const [start, end] = [readme.indexOf(from), readme.indexOf(to)];
  assert.ok(start >= 0 && end > start, `the README has ${from} before ${to}`);
  return new Set([...readme.slice(start, end).matchAll(/`([^`]+)`/g)].flatMap(([, marked]) => marked.match(/\w+/g) ?? []));
}

const missing = (names, set) => names.filter((name) => !set.has(name));

test('each declared member of Player is there, no other is, and the README names each', () => {
  const members = declared(types.index, 'Player').filter((name) => !/^(add|remove)EventListener$/.test(name));
  assert.deepEqual(has(Player.prototype), members);
  const statics = declared(types.index, 'Player', { statics: true });
  assert.deepEqual(has(Player), statics);
  assert.deepEqual(missing([...members, ...statics], documented('## `Player`', 'Events of HTML')), []);
});

test('each declared member of StreamDecoder and the element is there, and no other is', () => {
  // `ready` belongs to the instance.
  assert.deepEqual([...has(StreamDecoder.prototype), 'ready'].sort(), declared(types.decoder, 'StreamDecoder'));
  assert.deepEqual(has(StreamDecoder), declared(types.decoder, 'StreamDecoder', { statics: true }));
  const own = ['connectedCallback', 'disconnectedCallback', 'attributeChangedCallback'];
  assert.deepEqual(has(SeamcastPlayerElement.prototype).filter((name) => !own.includes(name)), declared(types.element, 'SeamcastPlayerElement'));
});

test('each declared option is read, and the README names each', () => {
  const options = declared(types.index, 'PlayerOptions');
  const reads = new Set([...code.matchAll(/options\.(\w+)/g)].map(([, name]) => name));
  for (const [, names] of code.matchAll(/const {([^}]*)} = (?:this\.#)?options;/g)) {
    for (const name of names.split(',')) reads.add(name.trim().split(/[ :=]/)[0]);
  }
  const { output, thread } = new Player().getStats();
  // Where there is one way only, there is nothing to choose and no file to find.
  const idle = output === 'buffers' && thread === 'main' && !code.includes('new Worker(') ? ['output', 'thread', 'workerUrl', 'workletUrl'] : [];
  assert.deepEqual(missing(options, reads), idle);
  assert.deepEqual(missing(options, documented('| Option |', '| Member |')), []);
  assert.deepEqual(missing(declared(types.index, 'ReconnectOptions'), documented('| Option |', '| Member |')), []);
});

test('each declared event is dispatched, no other is, and the README names each', () => {
  const events = declared(types.index, 'PlayerEventMap');
  const ours = [...code.matchAll(/emit\('(\w+)'/g)].map(([, type]) => type);
  const engines = new Set([...engine.matchAll(/"([a-z]+)"/g)].map(([, type]) => type));
  // A live stream's rate is 1, so it never changes; the name is there for code written for media elements.
  const never = new Set(['ratechange']);
  assert.deepEqual(events.filter((type) => !ours.includes(type) && !engines.has(type) && !never.has(type)), []);
  assert.deepEqual([...new Set(ours)].filter((type) => !events.includes(type)), []);
  assert.deepEqual(missing(events, documented('Events of HTML', '## Recipes')), []);
});

test('the element passes on each declared event', () => {
  const [, list] = /const RELAYED = \[([^\]]*)\]/.exec(read('src/element.js'));
  assert.deepEqual([...list.matchAll(/'(\w+)'/g)].map(([, type]) => type).sort(), declared(types.index, 'PlayerEventMap'));
});

test('each declared statistic is told', () => {
  assert.deepEqual(Object.keys(new Player().getStats()).sort(), declared(types.index, 'PlayerStats'));
});

test('each declared error reason is used, has a code and a remedy, and stands in the README', () => {
  const reasons = [.../type PlayerErrorReason =([^;]*);/.exec(types.index)[1].matchAll(/'(\w+)'/g)].map(([, reason]) => reason);
  const uses = code.replace(/const REASONS = {[^]*?\n};/, '');
  for (const reason of reasons) {
    assert.match(uses, new RegExp(`'${reason}'`), `${reason} is never given`);
    const error = new PlayerError(/** @type {any} */ (reason), 'x');
    assert.ok([1, 2, 3, 4].includes(error.code) && error.remedy.length > 10, reason);
    assert.ok(readme.includes(`| \`${reason}\` | ${error.code} |`), `the README has no row for ${reason}, code ${error.code}`);
  }
  const given = [...uses.matchAll(/new PlayerError\(([^,]*),/g)].flatMap(([, first]) => [...first.matchAll(/'(\w+)'/g)].map(([, reason]) => reason));
  assert.deepEqual([...new Set(given)].filter((reason) => !reasons.includes(reason)), []);
});
