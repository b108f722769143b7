/** The packets of a single Ogg stream, headers included; enough for a benchmark's own files. */
export function packets(bytes) {
  const out = [];
  let partial = [];
  for (let at = 0; at + 27 <= bytes.length; ) {
    const segments = bytes[at + 26];
    const table = bytes.subarray(at + 27, at + 27 + segments);
    let from = at + 27 + segments;
    let to = from;
    for (const length of table) {
      to += length;
      if (length === 255) continue;
      const part = bytes.subarray(from, to);
      out.push(partial.length ? Buffer.concat([...partial, part]) : part);
      partial = [];
      from = to;
    }
    if (to > from) partial.push(bytes.subarray(from, to));
    at = to;
  }
  return out;
}
