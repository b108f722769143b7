// Files that several cases play, each made once: encoded by ffmpeg, decoded by
// the reference programs.

import { copyFileSync, readFileSync, writeFileSync } from 'node:fs';
import { basename, join } from 'node:path';
import { decode, encode, resample, signal } from './reference.mjs';

/** `{path, url, reference(rate)}` of `kind` in `codec`; `url` is on the suite's site. */
export function file(tools, kind, codec, { seconds = 4, rate = codec === 'mp3' ? 44100 : 48000, more = [] } = {}) {
  const name = `${kind}-${codec}-${seconds}-${rate}${more.join('').replace(/\W+/g, '-')}`;
  return tools.once(`file ${name}`, () => {
    const path = encode(tools.folder, name, signal(kind, seconds, rate), codec, more);
    return described(tools, path);
  });
}

/** Files one after another in one stream: chained Ogg, or MP3 after MP3. */
export function chained(tools, files) {
  const name = `chain-${files.map(({ path }) => basename(path)).join('+')}`;
  return tools.once(name, () => {
    const path = join(tools.folder, name);
    writeFileSync(path, Buffer.concat(files.map((one) => readFileSync(one.path))));
    // opusdec plays a chain; mpg123 trims only the first of several MP3 tracks.
    return described(tools, path, path.endsWith('.mp3') ? () => joined(files.map((one) => decode(one.path))) : undefined);
  });
}

const joined = (sounds) => ({
  rate: sounds[0].rate,
  channels: sounds[0].channels.map((_, c) => Float32Array.from(sounds.flatMap(({ channels }) => [...channels[c]]))),
});

function described(tools, path, oracle = () => decode(path)) {
  const url = `/media/${basename(path)}`;
  tools.site.route(url, (request, response) => {
    const bytes = readFileSync(path);
    response.writeHead(200, { 'content-type': path.endsWith('.mp3') ? 'audio/mpeg' : 'audio/ogg', 'content-length': bytes.length });
    response.end(bytes);
  });
  const decodes = new Map();
  return {
    path, url,
    /** What a reference program makes of it, at `rate`. */
    reference(rate) {
      if (!decodes.has(0)) decodes.set(0, oracle());
      if (!decodes.has(rate)) decodes.set(rate, resample(decodes.get(0), rate));
      return decodes.get(rate);
    },
  };
}

/** A copy that a running ffmpeg wrote beside publishing, once it has ended. */
export function published(path) {
  const settled = `${path}.sent.${path.split('.').pop()}`;
  copyFileSync(path, settled);
  const whole = decode(settled);
  return (rate) => resample(whole, rate);
}
