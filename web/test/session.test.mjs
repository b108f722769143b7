import assert from 'node:assert/strict';
import { test } from 'node:test';
import { Session, message } from '../src/session.js';
import { tagsOf } from '../src/tags.js';

const welcome = { type: 'welcome', mount: '/a.opus', epoch: 'e1', oldest: 2, head: 40, live: true, from: 30, media_time: 3, server_time: 1_000_500, recovered: false, seekable: [0.2, 4] };

const joined = () => {
  const session = new Session();
  session.control(JSON.stringify(welcome), 1_000_000);
  return session;
};

test('a welcome says where the stream stands', () => {
  const session = new Session();
  assert.equal(session.resumePoint, null);
  const notice = session.control(JSON.stringify(welcome), 1_000_000);
  assert.equal(notice?.type, 'welcome');
  assert.equal(session.resumePoint, 'e1:30');
  assert.deepEqual(session.seekable, [0.2, 4]);
  assert.equal(session.clockOffset, 500);
});

test('chunks move the resume point and the live edge', () => {
  const session = joined();
  assert.equal(session.chunk(30, 3.1), true);
  assert.equal(session.resumePoint, 'e1:31');
  session.chunk(31, 4.1);
  assert.deepEqual(session.seekable, [0.2, 4.1]);
});

test('chunks received before are dropped, so that a resume never repeats', () => {
  const session = joined();
  session.chunk(30, 3.1);
  assert.equal(session.chunk(30, 3.1), false);
  assert.equal(session.chunk(31, 3.2), true);
  assert.equal(session.resumePoint, 'e1:32');
});

test('a gap moves the position, backwards too after a seek', () => {
  const session = joined();
  session.control('{"type":"gap","from":30,"to":35,"reason":"lag"}', 0);
  assert.equal(session.resumePoint, 'e1:35');
  session.control('{"type":"gap","from":35,"to":5,"reason":"seek"}', 0);
  assert.equal(session.chunk(5, 0.6), true);
  assert.equal(session.resumePoint, 'e1:6');
});

test('another epoch is never a recovery', () => {
  const session = joined();
  const notice = session.control(JSON.stringify({ ...welcome, epoch: 'e2', recovered: true }), 0);
  assert.equal(notice?.type === 'welcome' && notice.recovered, false);
  const same = session.control(JSON.stringify({ ...welcome, epoch: 'e2', recovered: true }), 0);
  assert.equal(same?.type === 'welcome' && same.recovered, true);
});

test('the quickest exchange sets the clock offset', () => {
  const session = joined();
  session.control('{"type":"time","t0":1000,"t1":1560}', 1100);
  assert.equal(session.clockOffset, 510);
  session.control('{"type":"time","t0":2000,"t1":2900}', 2400);
  assert.equal(session.clockOffset, 510, 'a slow exchange says less');
  session.control('{"type":"time","t0":3000,"t1":3505}', 3010);
  assert.equal(session.clockOffset, 500);
});

test('config carries the codec headers', () => {
  const notice = new Session().control('{"type":"config","generation":2,"container":"ogg","codec":"opus","sample_rate":48000,"channels":2,"headers":"T2dnUw=="}', 0);
  assert.deepEqual([notice.generation, notice.container, notice.headers], [2, 'ogg', new Uint8Array([79, 103, 103, 83])]);
});

test('tags get upper-case names and text values', () => {
  const notice = new Session().control('{"type":"metadata","at":1.5,"tags":{"title":"A","Artist":["B","C"],"n":3}}', 0);
  assert.ok(notice?.type === 'metadata' && notice.at === 1.5);
  assert.deepEqual(tagsOf(Object.entries(notice.tags)), { TITLE: 'A', ARTIST: 'B; C', N: '3' });
  assert.deepEqual(tagsOf([['artist', 'A'], ['title', 'T'], ['ARTIST', 'B']]), { ARTIST: 'A; B', TITLE: 'T' });
});

test('what is unknown is skipped, what is broken is named', () => {
  const session = joined();
  session.control('{"type":"later"}', 0);
  assert.equal(session.resumePoint, 'e1:30');
  assert.throws(() => session.control('{', 0), { name: 'PlayerError', reason: 'bad_message', message: /1 characters is broken/ });
  assert.throws(() => session.control('{"type":"config","headers":"*"}', 0), { name: 'PlayerError', reason: 'bad_message' });
});

test('every field may be missing or of another type', () => {
  for (const type of ['welcome', 'config', 'metadata', 'gap', 'offline', 'online', 'end', 'goaway', 'time', 'error']) {
    assert.equal(new Session().control(JSON.stringify({ type }), 0)?.type, type);
    assert.equal(new Session().control(JSON.stringify({ type, at: 'x', tags: null, from: {}, seekable: 1, epoch: 5, url: [] }), 0)?.type, type);
  }
  assert.equal(new Session().control('null', 0), null);
});

test('what we send', () => {
  assert.equal(message('seek', { from: '-30' }), '{"type":"seek","from":"-30"}');
  assert.equal(message('time', { t0: 7 }), '{"type":"time","t0":7}');
});
