/** The built player's decoder, straight from its glue. */
import { readFileSync } from 'node:fs';
import { pathToFileURL } from 'node:url';
import { join, resolve } from 'node:path';

/** Loads `player.wasm` (or another module) from the built package in `folder`. */
export async function load(folder, file = 'player.wasm') {
  const glue = await import(pathToFileURL(resolve(join(folder, 'glue.js'))));
  const module = new WebAssembly.Module(readFileSync(join(folder, file)));
  const exports = glue.initSync({ module });
  return { StreamDecoder: glue.StreamDecoder, memory: exports.memory };
}
