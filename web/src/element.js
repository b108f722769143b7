// @ts-check
/** `<seamcast-player src="wss://…/live.opus" controls>`: a button, a line of text, a volume slider. */
import { Player, PlayerError } from './index.js';

const CSS = `
:host { display: inline-block; width: min(100%, 26rem); font: 15px/1.35 system-ui, -apple-system, "Segoe UI", Roboto, sans-serif;
  --_ink: var(--seamcast-ink, light-dark(#1a2322, #e9f0ed)); --_soft: var(--seamcast-soft, light-dark(#56625f, #9db0ab));
  --_bg: var(--seamcast-background, light-dark(#fffdf9, #141e1f)); --_line: var(--seamcast-line, light-dark(#ddd6c8, #2b3a3c));
  --_thread: var(--seamcast-accent, light-dark(#a83c14, #ff9a6e)); --_on: var(--seamcast-on-accent, light-dark(#fff, #1d0f08)); }
:host([hidden]), :host(:not([controls])) { display: none; }
div { display: flex; align-items: center; gap: 12px; box-sizing: border-box; padding: 10px 14px 10px 10px; border: 1px solid var(--_line);
  border-radius: 99px; background: var(--_bg); color: var(--_ink); }
button { border: 0; border-radius: 50%; width: 44px; height: 44px; flex: none; display: grid; place-items: center; cursor: pointer;
  background: var(--_thread); color: var(--_on); }
button.mute { width: 36px; height: 36px; background: none; color: inherit; }
button:disabled { opacity: .5; cursor: default; }
:focus-visible { outline: 2px solid var(--_thread); outline-offset: 2px; }
svg { width: 22px; height: 22px; fill: currentcolor; stroke: currentcolor; stroke-width: 0; stroke-linecap: round; }
p { margin: 0; min-width: 0; flex: 1; } b, span { display: block; overflow: hidden; text-overflow: ellipsis; white-space: nowrap; }
b { font-weight: 600; } span { color: var(--_soft); font-size: 13px; }
input { width: 72px; min-width: 40px; accent-color: var(--_thread); }
.wait { animation: turn 1.1s linear infinite; fill: none; stroke-width: 2.4; stroke-dasharray: 36 18; }
@keyframes turn { to { transform: rotate(360deg); } }
@media (prefers-reduced-motion: reduce) { .wait { animation: none; } }`;

const PLAY = 'M8 5v14l11.5-7z';
const PAUSE = 'M6 5h4v14H6zM14 5h4v14h-4z';
const WAIT = 'M12 3.5a8.5 8.5 0 1 0 0 17a8.5 8.5 0 1 0 0-17';
const LOUD = 'M4 9.5v5h3.2L12 19V5L7.2 9.5zM15 8.5v7a4 4 0 0 0 0-7z';
const QUIET = 'M4 9.5v5h3.2L12 19V5L7.2 9.5z';
const SVG = 'http://www.w3.org/2000/svg';
const RELAYED = ['loadedmetadata', 'durationchange', 'canplay', 'play', 'playing', 'pause', 'waiting', 'stalled', 'timeupdate', 'seeking', 'seeked', 'ended', 'error', 'volumechange', 'ratechange', 'emptied',
  'underrun', 'targetlatencychange', 'metadata', 'reconnecting', 'reconnected', 'interrupted', 'unlockrequired', 'codecchange', 'skip', 'decodeerror', 'sourceoffline', 'sourceonline'];

/** @param {string} tag @param {Record<string, string>} [attributes] @param {Node[]} children */
function make(tag, attributes = {}, ...children) {
  const node = document.createElement(tag);
  for (const [name, value] of Object.entries(attributes)) node.setAttribute(name, value);
  node.append(...children);
  return node;
}

/** @param {string} path */
function icon(path) {
  const svg = document.createElementNS(SVG, 'svg');
  svg.setAttribute('viewBox', '0 0 24 24');
  svg.setAttribute('aria-hidden', 'true');
  svg.append(document.createElementNS(SVG, 'path'));
  draw(svg, path);
  return svg;
}

/** @param {Element} svg @param {string} path */
function draw(svg, path) {
  svg.firstElementChild?.setAttribute('d', path);
  svg.classList.toggle('wait', path === WAIT);
}

/** The last part of an address, as people write it; left as it is where it is not encoded. @param {string} url */
function named(url) {
  const last = url.split(/[?#]/)[0].split('/').pop() ?? '';
  try {
    return decodeURIComponent(last);
  } catch {
    return last;
  }
}

/** Defines the element where there is a DOM; a server that imports this file is left alone. */
const Base = /** @type {typeof HTMLElement} */ (globalThis.HTMLElement ?? class {});

export class SeamcastPlayerElement extends Base {
  static observedAttributes = ['src', 'muted', 'volume', 'label'];
  /** @type {Player | null} */
  #player = null;
  /** @type {{play: HTMLElement, playIcon: Element, mute: HTMLElement, muteIcon: Element, title: HTMLElement, state: HTMLElement, volume: HTMLInputElement} | null} */
  #parts = null;
  #wanted = false;
  /** What is wrong with `src`, if it is no address. @type {PlayerError | null} */
  #wrong = null;

  /** The `Player` behind the element, made on first use from the attributes `mode` and `latency`. */
  get player() {
    if (this.#player) return this.#player;
    const latency = parseFloat(this.getAttribute('latency') ?? '');
    const player = new Player({
      mode: this.getAttribute('mode') === 'complete' ? 'complete' : 'live',
      // What attributes cannot be is passed over, as in HTML.
      latency: latency >= 0 && latency < Infinity ? latency : 'auto',
    });
    this.#player = player;
    for (const type of RELAYED) {
      player.addEventListener(type, (event) => {
        const { detail } = /** @type {CustomEvent} */ (event);
        this.#show(type, detail);
        this.dispatchEvent(detail ? Object.assign(new CustomEvent(type, { detail }), detail) : new Event(type));
      });
    }
    this.#loudness('volume');
    this.#loudness('muted');
    this.#load();
    return player;
  }

  get src() {
    return this.getAttribute('src');
  }

  set src(url) {
    if (url === null) this.removeAttribute('src');
    else this.setAttribute('src', url);
  }

  play() {
    const { player } = this;
    if (this.#wrong) return Promise.reject(this.#wrong);
    this.#wanted = true;
    return player.play();
  }

  pause() {
    this.#wanted = false;
    this.#player?.pause();
  }

  connectedCallback() {
    if (!this.#parts) this.#build();
    if (this.hasAttribute('autoplay')) this.play().catch(() => {});
  }

  disconnectedCallback() {
    // Moving an element in the page disconnects and connects it at once.
    queueMicrotask(() => {
      if (this.isConnected) return;
      this.#wanted = false;
      void this.#player?.close();
      this.#player = null;
      // The next one begins as the attributes say.
      this.#level();
    });
  }

  /** @param {string} name @param {string | null} before @param {string | null} value */
  attributeChangedCallback(name, before, value) {
    if (before === value) return;
    if (name === 'src') {
      this.#tags = {};
      this.#title();
      this.#load();
    } else if (name === 'label') this.#title();
    else this.#loudness(name);
    this.#enable();
  }

  #load() {
    if (!this.#player) return;
    this.#wrong = null;
    try {
      this.#player.src = this.src;
    } catch (cause) {
      this.#player.src = null;
      const error = this.#wrong = new PlayerError('unreachable', /** @type {Error} */ (cause).message, { cause });
      this.#show('error', { error });
      this.dispatchEvent(Object.assign(new CustomEvent('error', { detail: { error } }), { error }));
    }
    if (this.#wanted && this.src) this.#player.play().catch(() => {});
  }

  /** What an attribute says; what has been set otherwise since stays. @param {string} name */
  #loudness(name) {
    if (this.#player) Object.assign(this.#player, { [name]: this.#said()[/** @type {'volume'} */ (name)] });
    else this.#level();
  }

  /** The attributes' volume. */
  #said() {
    const volume = Number(this.getAttribute('volume') ?? 1);
    return { volume: volume >= 0 && volume <= 1 ? volume : 1, muted: this.hasAttribute('muted') };
  }

  #level() {
    if (!this.#parts) return;
    const { muted, volume } = this.#player ?? this.#said();
    this.#parts.mute.setAttribute('aria-pressed', String(muted));
    draw(this.#parts.muteIcon, muted ? QUIET : LOUD);
    this.#parts.volume.value = String(Math.round(Math.sqrt(volume) * 100));
  }

  #build() {
    const root = this.attachShadow({ mode: 'open', delegatesFocus: true });
    const sheet = new CSSStyleSheet();
    sheet.replaceSync(CSS);
    root.adoptedStyleSheets = [sheet];
    const playIcon = icon(PLAY);
    const muteIcon = icon(LOUD);
    const title = make('b');
    const state = make('span', { role: 'status' });
    const play = make('button', { type: 'button', part: 'play' }, playIcon);
    const mute = make('button', { type: 'button', class: 'mute', part: 'mute', 'aria-label': 'Mute', 'aria-pressed': 'false' }, muteIcon);
    const volume = /** @type {HTMLInputElement} */ (make('input', { type: 'range', min: '0', max: '100', value: '100', 'aria-label': 'Volume', part: 'volume' }));
    root.append(make('div', { role: 'group', 'aria-label': 'Audio player', part: 'box' }, play, make('p', {}, title, state), mute, volume));
    this.#parts = { play, playIcon, mute, muteIcon, title, state, volume };
    play.addEventListener('click', () => {
      if (this.#wanted) this.pause();
      else this.play().catch(() => {});
    });
    mute.addEventListener('click', () => { this.player.muted = !this.player.muted; });
    volume.addEventListener('input', () => { this.player.volume = (Number(volume.value) / 100) ** 2; });
    this.#title();
    this.#level();
    this.#face(PLAY, 'Play', 'Ready');
    this.#enable();
  }

  #enable() {
    this.#parts?.play.toggleAttribute('disabled', !this.src);
  }

  /** @type {Record<string, string>} */
  #tags = {};

  #title() {
    if (!this.#parts) return;
    const { TITLE, ARTIST } = this.#tags;
    this.#parts.title.textContent = TITLE ? [ARTIST, TITLE].filter(Boolean).join(' – ') : this.getAttribute('label') ?? named(this.src ?? '');
  }

  /** What was shown last, but for reconnecting. */
  #state = '';

  /** @param {string} path @param {string} label @param {string} state */
  #face(path, label, state) {
    if (!this.#parts) return;
    this.#state = state;
    draw(this.#parts.playIcon, path);
    this.#parts.play.setAttribute('aria-label', label);
    if (this.#parts.state.textContent !== state) this.#parts.state.textContent = state;
  }

  /** @param {string} type @param {any} detail */
  #show(type, detail) {
    switch (type) {
      case 'play':
      case 'waiting':
        this.#face(WAIT, 'Pause', 'Buffering…');
        break;
      case 'playing':
        this.#face(PAUSE, 'Pause', 'Playing');
        break;
      case 'pause':
        this.#wanted = false;
        this.#face(PLAY, 'Play', 'Paused');
        break;
      case 'emptied':
        this.#face(PLAY, 'Play', 'Ready');
        break;
      case 'ended':
        this.#face(PLAY, 'Play', 'Ended');
        break;
      case 'reconnecting':
        if (this.#parts) this.#parts.state.textContent = 'Reconnecting…';
        break;
      case 'reconnected':
        if (this.#parts) this.#parts.state.textContent = this.#state;
        break;
      case 'unlockrequired':
        this.#face(PLAY, 'Play', 'Press play for sound');
        break;
      case 'error':
        this.#wanted = false;
        this.#face(PLAY, 'Try again', detail.error.detail);
        break;
      case 'metadata':
        this.#tags = detail.tags;
        this.#title();
        break;
      case 'volumechange':
        this.#level();
        break;
      default:
    }
  }
}

if (globalThis.customElements && !customElements.get('seamcast-player')) customElements.define('seamcast-player', SeamcastPlayerElement);
