// @ts-check
/** The page at `/studio`: publishes a microphone, a tab's sound or a file. */
import { Publisher } from './publisher.js';

/**
 * @template {HTMLElement} [T=HTMLInputElement]
 * @param {string} id
 */
const el = (id) => /** @type {T} */ (document.getElementById(id));
/** @param {string} id @param {string} value */
const say = (id, value) => {
  const node = el(id);
  if (node.textContent !== value) node.textContent = value;
};

const stage = el('stage');
const gauge = el('gauge');
const go = /** @type {HTMLButtonElement} */ (/** @type {unknown} */ (el('go')));
/** Sound that may wait for the network before more is dropped: 2 s. */
const MOST_WAITING = 2 * 48_000 * 2 * 2;
/** What the relay takes as it is; all else is decoded here. */
const AS_IT_IS = /\.(opus|ogg|oga|mp3|wav|flac)$/i;

/** @type {Publisher | null} */
let publisher = null;
/** What to release when the programme is over. @type {(() => unknown)[]} */
let release = [];
let dropped = 0;

/** @param {'idle' | 'busy' | 'playing' | 'error'} kind @param {string} state @param {string} [detail] */
function show(kind, state, detail = '') {
  stage.dataset.state = kind;
  say('state', state);
  say('detail', detail);
  const on = kind === 'busy' || kind === 'playing';
  go.textContent = on ? 'Go off air' : 'Go on air';
  /** @type {HTMLFieldSetElement} */ (/** @type {unknown} */ (el('settings'))).disabled = on;
  el('badge').hidden = kind !== 'playing';
}

/** @param {number} peak */
function level(peak) {
  const db = Math.max(-60, 20 * Math.log10(peak || 1e-6));
  gauge.style.setProperty('--fill', String(1 + db / 60));
  gauge.setAttribute('aria-valuenow', db.toFixed(0));
  say('level', peak > 0 ? `${db.toFixed(0)} dB` : '–');
}

/** What the relay says, as a sentence of a page. @param {string} said */
const sentence = (said) => `${said.slice(0, 1).toUpperCase()}${said.slice(1)}${/[.!?]$/.test(said) ? '' : '.'}`;

/** Errors of the browser's, in words for people. @param {unknown} cause */
function words(cause) {
  const { name, message } = /** @type {Error} */ (cause);
  if (name === 'NotAllowedError') return 'The browser was not allowed to use that sound. Allow it in the address bar, then try again.';
  if (name === 'NotFoundError') return 'There is no such sound on this device. Plug a microphone in, or choose a file.';
  if (name === 'EncodingError') return 'This browser cannot decode that file. Choose Ogg/Opus, MP3, WAV or FLAC.';
  return message;
}

/** @param {string} mount @param {Record<string, string>} more */
function address(mount, more) {
  const url = new URL(mount.replace(/^\/+/, ''), document.baseURI);
  url.protocol = url.protocol === 'https:' ? 'wss:' : 'ws:';
  const bitrate = el('bitrate').value;
  for (const [name, value] of Object.entries({ token: el('password').value, ...(bitrate && { bitrate }), ...more })) url.searchParams.set(name, value);
  return url.href;
}

const tags = () => /** @type {Record<string, string>} */ (el('title').value ? { TITLE: el('title').value } : {});

/** @param {Publisher} made */
function follow(made) {
  publisher = made;
  const mount = `/${el('mount').value.replace(/^\/+/, '')}`;
  say('where', mount);
  made.addEventListener('onair', () => {
    show('playing', 'On air');
    const link = Object.assign(document.createElement('a'), { href: `./#${mount}`, target: '_blank', rel: 'noopener', textContent: 'Open the player' });
    el('f-listen').replaceChildren(link);
  });
  made.addEventListener('progress', (event) => {
    const { seconds } = /** @type {CustomEvent} */ (event).detail;
    say('f-taken', `${seconds.toFixed(1)} s`);
    say('f-dropped', `${(dropped / 50).toFixed(1)} s`);
  });
  made.addEventListener('retrying', (event) => show('busy', 'Connecting again…', sentence(/** @type {CustomEvent} */ (event).detail.why)));
  made.addEventListener('done', () => stopped('idle', 'Off air', 'The programme is over.'));
  made.addEventListener('failed', (event) => stopped('error', 'Off air', sentence(/** @type {CustomEvent} */ (event).detail.why)));
}

/** @param {'idle' | 'error'} kind @param {string} state @param {string} detail */
function stopped(kind, state, detail) {
  publisher = null;
  for (const free of release.splice(0)) free();
  level(0);
  say('where', 'Off air');
  show(kind, state, detail);
}

/** @param {MediaStream} stream */
async function capture(stream) {
  const context = new AudioContext({ latencyHint: 'interactive' });
  release.push(() => context.close(), () => stream.getTracks().forEach((track) => track.stop()));
  if (!context.audioWorklet) throw new Error('Live sound needs a secure page: open this one by https, or as localhost.');
  if (stream.getAudioTracks().length === 0) throw new Error('That choice shares no sound. Share a tab, and tick “share audio”.');
  await context.audioWorklet.addModule('capture-worklet.js');
  await context.resume();
  const node = new AudioWorkletNode(context, 'seamcast-capture', { numberOfOutputs: 0 });
  const type = `audio/x-raw;format=s16le;rate=${context.sampleRate};channels=2`;
  follow(new Publisher(address(el('mount').value, { type }), { live: true, tags: tags() }));
  node.port.onmessage = ({ data: { buffer, peak } }) => {
    level(peak);
    if (publisher && !publisher.send(buffer, MOST_WAITING) && stage.dataset.state === 'playing') dropped += 1;
  };
  context.createMediaStreamSource(stream).connect(node);
  stream.getAudioTracks()[0].addEventListener('ended', () => publisher?.end());
}

/** @param {File} file */
async function play(file) {
  let body = file.stream();
  let more = {};
  if (!AS_IT_IS.test(file.name)) {
    const context = new OfflineAudioContext(2, 1, 48_000);
    const audio = await context.decodeAudioData(await file.arrayBuffer());
    more = { type: `audio/x-raw;format=s16le;rate=${audio.sampleRate};channels=2` };
    body = new Blob([interleaved(audio)]).stream();
  }
  const made = new Publisher(address(el('mount').value, more), { live: false, tags: tags() });
  follow(made);
  void made.stream(body);
}

/** @param {AudioBuffer} audio */
function interleaved(audio) {
  const planes = [0, Math.min(1, audio.numberOfChannels - 1)].map((channel) => audio.getChannelData(channel));
  const out = new Int16Array(audio.length * 2);
  for (let at = 0; at < out.length; at += 1) out[at] = Math.round(Math.max(-1, Math.min(1, planes[at & 1][at >> 1])) * 32767);
  return out;
}

async function start() {
  dropped = 0;
  say('f-taken', '–');
  say('f-dropped', '–');
  show('busy', 'Connecting…');
  const devices = navigator.mediaDevices;
  const sound = el('sound').value;
  if (sound === 'file') {
    const file = el('file').files?.[0];
    if (!file) throw new Error('Choose a file first.');
    return play(file);
  }
  if (!devices) throw new Error('Live sound needs a secure page: open this one by https, or as localhost.');
  if (sound === 'display') return capture(await devices.getDisplayMedia({ audio: true, video: true }));
  // Music is wanted as it is; what calls do to voices ruins it.
  return capture(await devices.getUserMedia({ audio: { echoCancellation: false, noiseSuppression: false, autoGainControl: false } }));
}

el('sound').addEventListener('change', () => { el('file-row').hidden = el('sound').value !== 'file'; });
el('title').addEventListener('change', () => publisher?.title({ TITLE: el('title').value }));
el('form').addEventListener('submit', (event) => {
  event.preventDefault();
  if (publisher) publisher.end();
  else if (stage.dataset.state !== 'busy') start().catch((cause) => stopped('error', 'Off air', words(cause)));
});
