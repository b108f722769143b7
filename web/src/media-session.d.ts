import type { Player } from './index.js';

/** What the system shows, as in `MediaMetadata`; a stream's own title, artist and album go before. */
export interface Announcement extends MediaMetadataInit {
  /** Further actions (`nexttrack`, …), or others in place of ours; `null` takes one away. */
  actions?: Partial<Record<MediaSessionAction, MediaSessionActionHandler | null>>;
}

/**
 * Tells the browser's Media Session what the player plays, and lets its buttons play, pause and, where the source can, seek.
 * From `play` until the source is closed; of several players the one that began last. Does nothing where there is no Media Session.
 *
 * @example
 * const silence = announce(player, { title: 'Radio Example', artwork: [{ src: '/logo.png', sizes: '512x512' }] });
 * @returns a function that ends it.
 */
export function announce(player: Player, about?: Announcement): () => void;
