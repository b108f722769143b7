/** Compiled, never run: declarations and code say the same, and users' code type-checks. */
import * as declared from '../src/index.js';
import * as decoder from '../src/decoder.js';
import type {} from '../src/element.js';
import { PlayerError as Failure } from '../src/errors.js';
import { Player as Implementation } from '../src/player.js';

/** `true` where both have the same members; else the type of the error names them. */
type Same<Code, Types> = [keyof Code, keyof Types] extends [keyof Types, keyof Code]
  ? true : { undeclared: Exclude<keyof Code, keyof Types>; missing: Exclude<keyof Types, keyof Code> };

type Public = Omit<declared.Player, 'addEventListener' | 'removeEventListener'>;
export const fits = (player: Implementation): Public => player;
export const members: Same<Implementation, declared.Player> = true;
export const statics: Pick<typeof declared.Player, 'canPlayType' | 'isSupported'> = Implementation;
export const noOtherStatics: Same<typeof Implementation, typeof declared.Player> = true;
export const failure = (error: Failure): declared.PlayerError => error;
export const failureMembers: Same<Failure, declared.PlayerError> = true;
export const constructs: [new (options?: declared.PlayerOptions) => Public, new (...args: ConstructorParameters<typeof declared.PlayerError>) => declared.PlayerError] =
  [Implementation, Failure];

export async function use(): Promise<number> {
  const player = new declared.Player({ latency: { max: 0.1 }, mode: 'complete', reconnect: { baseDelay: 200 } });
  player.addEventListener('underrun', ({ mediaTime, silenceMs, detail }) => mediaTime + silenceMs + detail.silenceMs);
  player.addEventListener('metadata', (event) => event.tags.TITLE?.toUpperCase());
  player.addEventListener('error', (event) => event.error.remedy);
  await player.append(new Uint8Array(2));
  await player.append(new Uint8Array(2) as Uint8Array);
  const { playedSeconds } = player.flush();
  const element = document.querySelector('seamcast-player');
  await element?.player.unlock();
  const pcm = (await decoder.StreamDecoder.create()).decode(new ArrayBuffer(4));
  // @ts-expect-error there is no such mode
  new declared.Player({ mode: 'fast' });
  // @ts-expect-error the duration cannot be set
  player.duration = 5;
  return playedSeconds + pcm.channelData[0].length + player.getStats().prebuffer;
}
