// @ts-check
/** Media Session: what plays, on lock screens and to headset buttons. An entry of its own, so that only those who use it load it. */

/** Seconds back and forth where the system names none. */
const STEP = 10;
/** Whose session it is: a page has only one, and whoever began to play last has it. @type {object | null} */
let owner = null;

/**
 * @param {import('./index.js').Player} player
 * @param {import('./media-session.js').Announcement} [about]
 * @returns {() => void}
 */
export function announce(player, about = {}) {
  const session = globalThis.navigator?.mediaSession;
  if (!session) return () => {};
  const me = {};
  const { actions, ...fixed } = about;
  /** @type {Record<string, string>} */
  let tags = {};

  const show = () => {
    const heard = { title: tags.TITLE ?? '', artist: tags.ARTIST ?? '', album: tags.ALBUM ?? '' };
    // What the stream names goes before what the host says of the station.
    for (const key of /** @type {const} */ (['title', 'artist', 'album'])) heard[key] ||= fixed[key] ?? '';
    session.metadata = new MediaMetadata({ ...fixed, ...heard });
  };
  /** @param {number} to */
  const seek = (to) => {
    const { seekable } = player;
    if (seekable.length) player.seek(Math.min(Math.max(to, seekable.start(0)), seekable.end(0))).catch(() => {});
  };
  /** @type {Partial<Record<MediaSessionAction, MediaSessionActionHandler | null>>} */
  const ours = {
    play: () => void player.play().catch(() => {}),
    pause: () => player.pause(),
    stop: () => player.pause(),
    seekbackward: ({ seekOffset }) => seek(player.currentTime - (seekOffset || STEP)),
    seekforward: ({ seekOffset }) => seek(player.currentTime + (seekOffset || STEP)),
    seekto: ({ seekTime }) => seek(seekTime ?? 0),
  };
  /** @param {boolean} [none] */
  const handle = (none) => {
    for (const [action, handler] of Object.entries({ ...ours, ...actions })) {
      const useless = action.startsWith('seek') && action in ours && !actions?.[/** @type {MediaSessionAction} */ (action)] && !player.seekable.length;
      try {
        session.setActionHandler(/** @type {MediaSessionAction} */ (action), none || useless ? null : handler ?? null);
      } catch { /* an action this browser does not know */ }
    }
  };
  /** @param {MediaSessionPlaybackState} state */
  const playback = (state) => {
    if (owner === me) session.playbackState = state;
  };
  const release = () => {
    tags = {};
    if (owner !== me) return;
    playback('none');
    session.metadata = null;
    handle(true);
    owner = null;
  };

  const listening = new AbortController();
  /** @param {string} type @param {(event: any) => void} listener */
  const on = (type, listener) => player.addEventListener(type, listener, { signal: listening.signal });
  on('play', () => {
    owner = me;
    // What iOS takes for a mere page's noises is silenced by the phone's switch.
    const audio = /** @type {any} */ (navigator).audioSession;
    if (audio?.type === 'auto') audio.type = 'playback';
    show();
    handle();
    playback('playing');
  });
  on('loadedmetadata', () => owner === me && handle());
  on('metadata', (event) => {
    ({ tags } = event);
    if (owner === me) show();
  });
  on('pause', () => playback('paused'));
  // Nothing plays any more, and the system's button is to try again.
  on('error', () => playback('paused'));
  on('emptied', release);
  return () => {
    listening.abort();
    release();
  };
}
