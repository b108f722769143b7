// Prints what a page that plays a stream downloads, and holds it under its ceilings.
import { existsSync, readFileSync, readdirSync } from 'node:fs';
import { dirname, join, relative } from 'node:path';
import { brotliCompressSync, constants, gzipSync } from 'node:zlib';

const WASM_CEILING = 120 * 1024;
// Only ever lowered.
const JS_CEILING = 12 * 1024;

const dir = process.argv[2];
const brotli = (bytes) =>
  brotliCompressSync(bytes, {
    params: { [constants.BROTLI_PARAM_QUALITY]: 11, [constants.BROTLI_PARAM_SIZE_HINT]: bytes.length },
  }).length;
const kib = (bytes) => (bytes / 1024).toFixed(1).padStart(9);
const failures = [];

const row = (name, { raw, gzip, br }) => console.log(`${name.padEnd(24)}${kib(raw)}${kib(gzip)}${kib(br)}`);
const measure = (file) => {
  const bytes = readFileSync(file);
  return { raw: bytes.length, gzip: gzipSync(bytes, { level: 9 }).length, br: brotli(bytes) };
};

/** The modules that loading `entry` loads, by static import, in `dir`. */
function closure(entry, seen = new Set()) {
  const file = join(dir, entry);
  if (seen.has(file) || !existsSync(file)) return seen;
  seen.add(file);
  const text = readFileSync(file, 'utf8');
  for (const [, specifier] of text.matchAll(/(?:from|import)\s*["'](\.[^"']+)["']/g)) {
    closure(relative(dir, join(dirname(file), specifier)), seen);
  }
  return seen;
}

console.log(`KiB${' '.repeat(21)}      raw     gzip   brotli`);
for (const name of readdirSync(dir).filter((name) => name.endsWith('.wasm')).sort()) {
  const size = measure(join(dir, name));
  row(name, size);
  if (size.br > WASM_CEILING) failures.push(`${name} is ${size.br} bytes in brotli, the ceiling is ${WASM_CEILING}`);
}

// Everything `import 'seamcast'` brings: the facade and what it loads at run time.
const loaded = new Set();
for (const entry of ['index.js', 'worker.js', 'worklet.js']) closure(entry, loaded);
const total = { raw: 0, gzip: 0, br: 0 };
for (const file of [...loaded].sort()) {
  const size = measure(file);
  row(relative(dir, file), size);
  for (const key of Object.keys(total)) total[key] += size[key];
}
if (loaded.size > 0) {
  row('JavaScript together', total);
  if (total.br > JS_CEILING) failures.push(`the JavaScript is ${total.br} bytes in brotli, the ceiling is ${JS_CEILING}`);
}

for (const failure of failures) console.error(`too large: ${failure}`);
process.exit(failures.length === 0 ? 0 : 1);
