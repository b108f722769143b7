/** The built package's decoder. */
import { pathToFileURL } from 'node:url';
import { join, resolve } from 'node:path';

/** Loads the decoder with `player.wasm` (or another module) from the built package in `folder`. */
export async function load(folder, file = 'player.wasm') {
  // The package keeps its module to itself; its memory is asked for here alone.
  let memory;
  const { Instance } = WebAssembly;
  WebAssembly.Instance = function (...args) {
    const instance = new Instance(...args);
    memory = instance.exports.memory;
    return instance;
  };
  const { StreamDecoder } = await import(pathToFileURL(resolve(join(folder, 'decoder.js'))));
  await new StreamDecoder({ wasmUrl: pathToFileURL(resolve(join(folder, file))) }).ready;
  WebAssembly.Instance = Instance;
  return { StreamDecoder, memory };
}
