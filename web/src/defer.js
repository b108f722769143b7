// @ts-check

/** @typedef {{promise: Promise<void>, resolve: () => void, reject: (e: unknown) => void}} Deferred */

/** @returns {Deferred} */
export function defer() {
  /** @type {any} */
  const d = {};
  d.promise = new Promise((resolve, reject) => Object.assign(d, { resolve, reject }));
  // A host may ignore play()'s promise; failures reach it as `error` events too.
  d.promise.catch(() => {});
  return d;
}
