// @ts-check
/** The list of mounts: asked for again and again, shown as it changes. */

/**
 * @typedef {object} Mount
 * @property {string} name Path with its leading slash.
 * @property {string} title
 * @property {string} artist
 * @property {boolean} live Whether a source is connected.
 * @property {string} codec For people, short: "Opus 128 kbit/s".
 * @property {string} format For people: "Opus · 48 kHz · stereo · 128 kbit/s".
 * @property {number} listeners
 * @property {boolean} closed Whether listeners need a token.
 * @property {string} label What its source calls it.
 * @property {string} description
 */

const CODECS = /** @type {Record<string, string>} */ ({ opus: 'Opus', mp3: 'MP3' });
const LAYOUTS = /** @type {Record<number, string>} */ ({ 1: 'mono', 2: 'stereo', 6: '5.1', 8: '7.1' });

/** @param {any} m @returns {Mount} */
export function readMount(m) {
  const name = String(m.mount ?? '');
  /** @type {Record<string, string>} */
  const tags = {};
  for (const [tag, value] of Object.entries(m.metadata ?? m.tags ?? {})) tags[tag.toUpperCase()] = String(value);
  const rate = m.sample_rate ? `${+(m.sample_rate / 1000).toFixed(2)} kHz` : '';
  const bits = m.bitrate ? `${Math.round(m.bitrate >= 4000 ? m.bitrate / 1000 : m.bitrate)} kbit/s` : '';
  const codec = CODECS[m.codec] ?? m.codec ?? '';
  return {
    name: name.startsWith('/') ? name : `/${name}`,
    title: m.title || tags.TITLE || '',
    artist: m.artist || tags.ARTIST || '',
    live: Boolean(m.live ?? m.online ?? m.source ?? true),
    codec: [codec, bits].filter(Boolean).join(' '),
    format: [codec, rate, LAYOUTS[m.channels] ?? (m.channels ? `${m.channels} channels` : ''), bits].filter(Boolean).join(' · '),
    listeners: Array.isArray(m.listeners) ? m.listeners.length : (m.listeners ?? 0),
    closed: Boolean(m.closed),
    label: m.name || '',
    description: m.description || '',
  };
}

/** @param {Error} cause */
function whySilent({ name, message }) {
  if (!navigator.onLine) return 'This device is offline.';
  if (name === 'TimeoutError') return 'It took longer than 8 seconds.';
  return name === 'TypeError' ? 'It cannot be reached.' : message;
}

const EVERY_MS = 2500;
const AT_MOST_MS = 20_000;

/** Polls while the page is visible; slower and slower while the relay is silent. */
export class MountList extends EventTarget {
  constructor() {
    super();
    /** @type {Mount[] | null} Null before the first answer. */
    this.mounts = null;
    /** Answers missed in a row. */
    this.missed = 0;
    /** @type {ReturnType<typeof setTimeout> | undefined} */
    this.timer = undefined;
    this.busy = false;
    document.addEventListener('visibilitychange', () => document.hidden || this.ask());
    addEventListener('online', () => this.ask());
    addEventListener('offline', () => this.ask());
  }

  async ask() {
    clearTimeout(this.timer);
    if (this.busy) return;
    this.busy = true;
    try {
      const response = await fetch('api/mounts', { cache: 'no-store', signal: AbortSignal.timeout(8000) });
      if (!response.ok) throw new Error(`It answered with status ${response.status}.`);
      const answer = await response.json();
      const list = Array.isArray(answer) ? answer : answer.mounts;
      this.mounts = list.map(readMount).sort((/** @type {Mount} */ a, /** @type {Mount} */ b) => Number(b.live) - Number(a.live) || a.name.localeCompare(b.name));
      this.missed = 0;
      this.dispatchEvent(new Event('change'));
    } catch (cause) {
      this.missed += 1;
      this.dispatchEvent(new CustomEvent('silent', { detail: whySilent(/** @type {Error} */ (cause)) }));
    } finally {
      this.busy = false;
      if (!document.hidden) this.timer = setTimeout(() => this.ask(), Math.min(AT_MOST_MS, EVERY_MS * 1.6 ** this.missed));
    }
  }
}
