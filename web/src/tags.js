// @ts-check

/**
 * Upper-case names with texts, as events tell them. Names may come more than once (RFC 7845 §5.2).
 * @param {[name: string, value: unknown][]} list A value may be a list, too.
 */
export function tagsOf(list) {
  /** @type {Record<string, string>} */
  const tags = {};
  for (const [name, value] of list) {
    const upper = name.toUpperCase();
    tags[upper] = [tags[upper] ?? [], value].flat(2).join('; ');
  }
  return tags;
}
