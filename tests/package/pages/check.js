/** What every page and Node do with the package: decode a stream to a digest, and, where there is sound, play it to its end. */

/** @param {typeof import('seamcast/decoder').StreamDecoder} StreamDecoder @param {Uint8Array} bytes */
export async function decodeAll(StreamDecoder, bytes) {
  const decoder = await StreamDecoder.create();
  /** @type {Float32Array[][]} */
  const planes = [];
  let errors = 0;
  const keep = (/** @type {import('seamcast/decoder').Decoded} */ out) => {
    errors += out.errors.length;
    out.channelData.forEach((plane, c) => (planes[c] ??= []).push(plane));
  };
  for (let at = 0; at < bytes.length; at += 1021) keep(decoder.decode(bytes.subarray(at, at + 1021)));
  keep(decoder.flush());
  decoder.free();
  const frames = planes[0]?.reduce((sum, plane) => sum + plane.length, 0) ?? 0;
  const digest = await crypto.subtle.digest('SHA-256', await new Blob(/** @type {BlobPart[]} */ (planes.flat())).arrayBuffer());
  return { errors, frames, channels: planes.length, sha: Array.from(new Uint8Array(digest), (byte) => byte.toString(16).padStart(2, '0')).join('') };
}

/** Plays `url` to its end. @param {import('seamcast').Player} player @param {string} url */
async function play(player, url) {
  /** @type {string[]} */
  const events = [];
  const ended = new Promise((resolve, reject) => {
    for (const type of /** @type {const} */ (['loadedmetadata', 'canplay', 'play', 'playing', 'waiting', 'underrun', 'decodeerror', 'ended'])) {
      player.addEventListener(type, () => events.push(type));
    }
    player.addEventListener('ended', resolve);
    player.addEventListener('error', ({ error }) => reject(error));
  });
  player.src = url;
  await player.play();
  await ended;
  const { output, thread, underrunEvents } = player.getStats();
  const seconds = player.currentTime;
  await player.close();
  return { events, seconds, output, thread, underruns: underrunEvents };
}

/**
 * Leaves what was found in `globalThis.findings`.
 * @param {{Player: typeof import('seamcast').Player, StreamDecoder: typeof import('seamcast/decoder').StreamDecoder}} seamcast
 * @param {string | null} [url] by default the page's `?stream=`
 */
export async function check({ Player, StreamDecoder }, url = new URLSearchParams(location.search).get('stream')) {
  try {
    if (!url) throw new Error('no ?stream= in the address');
    const answer = await fetch(url);
    const decoded = await decodeAll(StreamDecoder, new Uint8Array(await answer.arrayBuffer()));
    const byDefault = await play(new Player({ mode: 'complete' }), url);
    const onPage = await play(new Player({ mode: 'complete', output: 'buffers' }), url);
    Object.assign(globalThis, { findings: { decoded, played: [byDefault, onPage] } });
  } catch (error) {
    Object.assign(globalThis, { findings: { error: String(/** @type {Error} */ (error)?.stack ?? error) } });
  }
}
