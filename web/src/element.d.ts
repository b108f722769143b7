import type { Player } from './index.js';

/**
 * `<seamcast-player src="wss://…/live.opus" controls>`. Importing the module defines it.
 *
 * Attributes: `src`, `controls`, `autoplay`, `muted`, `volume` (0 to 1), `label` (shown until the
 * stream names a title), `mode` and `latency` (read once, before the first `play()`).
 * Style it with `--seamcast-accent`, `--seamcast-on-accent`, `--seamcast-ink`, `--seamcast-soft`,
 * `--seamcast-line`, `--seamcast-background` and the parts `box`, `play`, `mute`, `volume`.
 * The player's events are dispatched on the element as well.
 */
export class SeamcastPlayerElement extends HTMLElement {
  /** Everything the element does not show. */
  readonly player: Player;
  src: string | null;
  play(): Promise<void>;
  pause(): void;
}

declare global {
  interface HTMLElementTagNameMap {
    'seamcast-player': SeamcastPlayerElement;
  }
}
