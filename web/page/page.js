// @ts-check
/** The page at `/`: what is on air, and one player. */
import { Player } from '../src/index.js';
import { MountList } from './mounts.js';
import { Visual } from './visual.js';

/** @typedef {import('./mounts.js').Mount} Mount */
/** @typedef {import('../src/index.js').PlayerError} PlayerError */

/**
 * @template {HTMLElement} [T=HTMLElement]
 * @param {string} id
 */
const el = (id) => /** @type {T} */ (document.getElementById(id));
/** @param {string} id @param {string} value */
const say = (id, value) => {
  const node = el(id);
  // Written only on change: a live region re-announces whatever is set.
  if (node.textContent !== value) node.textContent = value;
};
/** @param {number} n */
const seconds = (n) => (Number.isFinite(n) ? (n < 10 ? `${n.toFixed(2)} s` : `${n.toFixed(1)} s`) : '–');
/** @param {number} n */
const millis = (n) => (Number.isFinite(n) && n >= 0 ? (n < 1 ? `${Math.round(n * 1000)} ms` : `${n.toFixed(2)} s`) : '–');
/** @param {number} n */
const bytes = (n) => (n < 1e6 ? `${Math.round(n / 1000)} kB` : `${(n / 1e6).toFixed(1)} MB`);
/** @param {number} n @param {string} one @param {string} [many] */
const count = (n, one, many = `${one}s`) => `${n} ${n === 1 ? one : many}`;

const stage = el('stage');
const playButton = /** @type {HTMLButtonElement} */ (el('play'));
const volume = /** @type {HTMLInputElement} */ (el('volume'));
const muteButton = el('mute');
const gauge = el('gauge');
const list = new MountList();
const player = new Player();
const visual = new Visual(/** @type {HTMLCanvasElement} */ (el('visual')));
visual.wake();

/** @type {Mount | null} */
let chosen = null;
/** Tags heard last; empty for a mount that sends none. @type {Record<string, string>} */
let tags = {};
/** Whether the listener wants sound. */
let wanted = false;
/** @type {Mount[] | null} */
let drawn = null;

/* ── Player ─────────────────────────────────────────────────────────── */

const token = new URLSearchParams(location.search).get('token');

/** @param {Mount} mount */
function addressOf(mount) {
  const url = new URL(mount.name.slice(1), document.baseURI);
  url.protocol = url.protocol === 'https:' ? 'wss:' : 'ws:';
  // A closed mount's listeners are given the page's address with their token in it.
  if (token) url.searchParams.set('token', token);
  return url.href;
}

/** @param {'idle' | 'busy' | 'playing' | 'error'} kind @param {string} state @param {string} [detail] */
function show(kind, state, detail = '') {
  stage.dataset.state = kind;
  say('state', state);
  say('detail', detail);
  playButton.disabled = !chosen;
  playButton.setAttribute('aria-label', kind === 'playing' || kind === 'busy' ? 'Pause' : kind === 'error' ? 'Try again' : 'Play');
  visual.set(kind === 'playing');
}

/** @param {Mount} mount */
function choose(mount) {
  const other = chosen?.name !== mount.name;
  chosen = mount;
  if (other) {
    tags = {};
    player.src = addressOf(mount);
    history.replaceState(null, '', `#${mount.name}`);
  }
  describeChosen();
  drawn = null;
  drawList();
}

async function start() {
  if (!chosen) return;
  wanted = true;
  show('busy', 'Connecting…', chosen.name);
  try {
    await player.unlock();
    visual.listen(player.node);
    await player.play();
  } catch (cause) {
    const e = /** @type {Error} */ (cause);
    if (e.name !== 'AbortError' && wanted) failed(e);
  }
}

function stop() {
  wanted = false;
  player.pause();
  show('idle', 'Paused');
}

/** The player's errors speak to developers; these are for listeners. @type {Record<string, string>} */
const PLAIN_WORDS = {
  unreachable: 'The relay cannot be reached. Check the network, then try again.',
  connection_lost: 'The connection was lost and could not be made again. Press play to try once more.',
  mount_not_found: 'This mount is not there any more. Choose another, or wait for its source.',
  decode: 'What arrives is not Ogg/Opus or MP3, or it is damaged beyond playing.',
  unsupported_media: 'This browser’s player has no decoder for this mount.',
  wasm: 'The decoder could not be loaded. Reload the page.',
  no_audio: 'This browser has no Web Audio.',
};

/** @param {{message: string, reason?: string, detail?: string}} e */
function failed(e) {
  wanted = false;
  if (chosen?.closed && e.reason === 'http_status') {
    show('error', token ? 'This token does not open it' : 'Listeners need a token', `Ask who runs this station, and open the page as ${home.pathname}?token=TOKEN`);
    return;
  }
  show('error', 'Playback stopped', PLAIN_WORDS[e.reason ?? ''] ?? e.detail ?? e.message);
}

player.addEventListener('playing', () => show('playing', 'Playing'));
player.addEventListener('waiting', () => wanted && show('busy', 'Buffering…', 'Measuring how steadily the audio arrives.'));
player.addEventListener('stalled', () => wanted && stage.dataset.state === 'playing' && say('detail', 'Nothing has arrived for a while; playing from the buffer.'));
player.addEventListener('reconnecting', (event) => {
  if (!wanted) return;
  const { attempt } = /** @type {CustomEvent} */ (event).detail;
  if (stage.dataset.state === 'playing') say('detail', 'Connection lost; reconnecting while the buffer plays.');
  else show('busy', 'Reconnecting…', attempt > 1 ? `Attempt ${attempt}. The stream goes on where it stopped.` : 'The stream goes on where it stopped.');
});
player.addEventListener('reconnected', () => stage.dataset.state === 'playing' && say('detail', ''));
player.addEventListener('sourceoffline', () => wanted && say('detail', 'The source is gone; the relay waits for it to come back.'));
player.addEventListener('sourceonline', () => say('detail', ''));
player.addEventListener('ended', () => {
  wanted = false;
  show('idle', 'The programme is over', 'Everything that was sent has been played.');
});
player.addEventListener('error', () => player.error && failed(player.error));
player.addEventListener('unlockrequired', () => {
  wanted = false;
  show('idle', 'Press play', 'The browser wants a click before it lets a page make sound.');
});
player.addEventListener('metadata', (event) => {
  tags = /** @type {CustomEvent} */ (event).detail.tags;
  describeChosen();
});

function describeChosen() {
  if (!chosen) return;
  const title = tags.TITLE || chosen.title;
  say('mount-name', chosen.name);
  say('title', title || chosen.label || nameOf(chosen));
  say('artist', tags.ARTIST || chosen.artist || (title && chosen.label) || chosen.description);
  el('badge').hidden = !chosen.live;
  document.title = `${title || chosen.name} – Seamcast`;
  say('f-codec', chosen.codec || '–');
  say('f-listeners', chosen.live ? String(chosen.listeners) : '–');
}

/** "/evening-jazz.opus" → "Evening jazz" @param {Mount} mount */
function nameOf({ name }) {
  const words = name.slice(1).replace(/\.\w+$/, '').replace(/[-_/]+/g, ' ').trim() || name;
  return words[0].toUpperCase() + words.slice(1);
}

/* ── Numbers ────────────────────────────────────────────────────────── */

function measure() {
  if (document.hidden || !chosen) return;
  const s = player.getStats();
  const depth = s.bufferDepth;
  const active = wanted || depth > 0;
  say('depth', active ? seconds(depth) : '–');
  say('prebuffer', active && s.prebuffer > 0 ? seconds(s.prebuffer) : '–');
  const span = Math.max(1, s.prebuffer * 2, Math.ceil(depth * 1.15));
  gauge.toggleAttribute('data-on', active && s.prebuffer > 0);
  gauge.style.setProperty('--fill', String(active ? Math.min(1, depth / span) : 0));
  gauge.style.setProperty('--mark', String(Math.min(1, s.prebuffer / span)));
  gauge.setAttribute('aria-valuemax', span.toFixed(1));
  gauge.setAttribute('aria-valuenow', depth.toFixed(2));
  gauge.setAttribute('aria-valuetext', active ? `${seconds(depth)} buffered, prebuffer ${seconds(s.prebuffer)}` : 'empty');
  say('f-latency', active ? millis(player.latency) : '–');
  say('f-startup', s.startupDelay > 0 ? millis(s.startupDelay) : '–');
  say('f-underruns', active ? (s.underrunEvents ? `${s.underrunEvents} (${millis(s.underrunDuration)})` : '0') : '–');
  say('f-received', s.bytesReceived ? bytes(s.bytesReceived) : '–');
  const { seekable } = player;
  const reach = seekable.length ? seekable.end(0) - seekable.start(0) : 0;
  el('jump').hidden = reach < 10 || !wanted;
}
setInterval(measure, 250);

/* ── Controls ───────────────────────────────────────────────────────── */

playButton.addEventListener('click', () => (wanted ? stop() : start()));
el('back').addEventListener('click', () => {
  const { seekable } = player;
  if (seekable.length) player.seek(Math.max(seekable.start(0), player.currentTime - 30)).catch(failed);
});
el('live').addEventListener('click', () => player.seek('live').catch(failed));

/** @param {string} key */
const recall = (key) => {
  try {
    return localStorage.getItem(key);
  } catch {
    return null; // Storage may be forbidden; the setting then lasts as long as the page.
  }
};
/** @param {string} key @param {string} value */
const remember = (key, value) => {
  try {
    localStorage.setItem(key, value);
  } catch { /* as above */ }
};
function loudness() {
  // Squared: equal steps of the slider then sound like equal steps.
  player.volume = (Number(volume.value) / 100) ** 2;
  volume.setAttribute('aria-valuetext', `${volume.value} percent`);
}
volume.value = recall('seamcast.volume') ?? '100';
loudness();
volume.addEventListener('input', () => {
  if (player.muted) player.muted = false;
  loudness();
  remember('seamcast.volume', volume.value);
});
muteButton.addEventListener('click', () => { player.muted = !player.muted; });
player.addEventListener('volumechange', () => muteButton.setAttribute('aria-pressed', String(player.muted)));
addEventListener('keydown', (event) => {
  if (event.ctrlKey || event.metaKey || event.altKey || !(event.target instanceof Element) || event.target.closest('button, input, a, summary, pre')) return;
  if (event.key === ' ' && chosen) playButton.click();
  else if (event.key === 'm') player.muted = !player.muted;
  else return;
  event.preventDefault();
});

/* ── List ───────────────────────────────────────────────────────────── */

/** @param {string} tag @param {string} name @param {string} value */
function part(tag, name, value) {
  const node = document.createElement(tag);
  node.className = name;
  node.textContent = value;
  return node;
}

/** @param {Mount} mount */
function row(mount) {
  const item = document.createElement('li');
  const button = /** @type {HTMLButtonElement} */ (part('button', 'mount', ''));
  button.type = 'button';
  button.dataset.name = mount.name;
  button.dataset.off = String(!mount.live);
  if (chosen?.name === mount.name) button.setAttribute('aria-current', 'true');
  const line = [mount.artist, mount.title].filter(Boolean).join(' – ') || mount.label || mount.description;
  button.append(part('span', 'name', mount.name), part('span', 'ear', mount.live ? (mount.closed && !token ? 'closed' : count(mount.listeners, 'listener')) : 'off air'));
  if (line) button.append(part('span', 'what', line));
  button.append(part('span', 'meta', mount.format || (mount.live ? 'starting' : 'waiting for its source')));
  button.addEventListener('click', () => {
    choose(mount);
    void start();
  });
  item.append(button);
  return item;
}

function drawList() {
  const { mounts } = list;
  if (!mounts || JSON.stringify(mounts) === JSON.stringify(drawn)) return;
  drawn = mounts;
  const holder = el('mounts');
  const focused = /** @type {HTMLElement | null} */ (document.activeElement)?.dataset?.name;
  holder.setAttribute('aria-busy', 'false');
  holder.replaceChildren(...mounts.map(row));
  if (focused) /** @type {HTMLElement | null} */ (holder.querySelector(`[data-name="${CSS.escape(focused)}"]`))?.focus();
  const onAir = mounts.filter((m) => m.live).length;
  say('count', mounts.length ? count(onAir, 'mount') : '');
  const empty = mounts.length === 0;
  const details = /** @type {HTMLDetailsElement} */ (el('publish'));
  if (empty !== document.body.hasAttribute('data-empty')) {
    document.body.toggleAttribute('data-empty', empty);
    details.open = empty;
    say('list-title', empty ? 'Nothing on air yet' : 'On air');
    /** @type {HTMLElement} */ (details.querySelector('summary')).textContent = empty ? 'Publish the first stream' : 'Publish a stream';
  }
  if (!chosen) {
    say('mount-name', empty ? 'No mounts' : 'Nothing chosen');
    say('title', empty ? 'Quiet so far' : 'Pick a mount');
    say('artist', empty ? 'Publish something and it can be played here a moment later.' : '');
  }
}

/** The mount that the page's address names; a broken one names none. */
function linked() {
  try {
    return decodeURIComponent(location.hash.slice(1));
  } catch {
    return '';
  }
}

list.addEventListener('change', () => {
  const { mounts } = list;
  if (!mounts) return;
  el('relay').dataset.state = 'ok';
  say('relay-text', `Relay connected`);
  el('trouble').hidden = true;
  const name = chosen?.name ?? linked();
  const now = mounts.find((m) => m.name === name) ?? (chosen ? undefined : mounts.find((m) => m.live && m.codec.startsWith('Opus')) ?? mounts.find((m) => m.live) ?? mounts[0]);
  if (now && !chosen) {
    choose(now);
    show('idle', 'Ready', 'Nothing is loaded until you press play.');
  } else if (now) {
    chosen = now;
  } else if (chosen) {
    chosen = { ...chosen, live: false };
  }
  describeChosen();
  drawList();
});
list.addEventListener('silent', (event) => {
  el('relay').dataset.state = 'down';
  say('relay-text', navigator.onLine ? 'Relay unreachable' : 'Offline');
  el('trouble').hidden = false;
  say('trouble-text', `${/** @type {CustomEvent} */ (event).detail} The page keeps asking.${wanted ? ' What is playing goes on as long as its buffer lasts.' : ''}`);
  if (!list.mounts) {
    el('mounts').replaceChildren();
    el('mounts').setAttribute('aria-busy', 'false');
    say('title', 'No word from the relay');
    say('mount-name', location.host);
  }
});
el('retry').addEventListener('click', () => list.ask());

/* ── Recipes ────────────────────────────────────────────────────────── */

const home = new URL('.', document.baseURI);
const at = home.host + home.pathname;
say('c-ffmpeg', `ffmpeg -re -i music.flac -c:a libopus -b:a 128k -content_type application/ogg -f ogg icecast://source:PASSWORD@${at}live.opus`);
say('c-mic', `ffmpeg -f pulse -i default -c:a libopus -b:a 96k -page_duration 20000 -content_type application/ogg -f ogg icecast://source:PASSWORD@${at}mic.opus`);
say('c-curl', `curl -u source:PASSWORD -H 'Content-Type: audio/mpeg' --limit-rate 16k -T music.mp3 ${home.protocol}//${at}radio.mp3`);
for (const button of document.querySelectorAll('.copy')) {
  button.addEventListener('click', async () => {
    const code = el(/** @type {HTMLElement} */ (button).dataset.copy ?? '');
    try {
      await navigator.clipboard.writeText(code.textContent ?? '');
      button.textContent = 'Copied';
    } catch {
      // No clipboard without a secure context: select it, so that one key press copies.
      getSelection()?.selectAllChildren(code);
      button.textContent = 'Selected';
    }
    say('said', button.textContent === 'Copied' ? 'Command copied' : 'Command selected');
    setTimeout(() => { button.textContent = 'Copy'; say('said', ''); }, 2000);
  });
}

void list.ask();
