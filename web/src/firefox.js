// @ts-check

/** Whether this is Firefox, whose main thread has a part in more than elsewhere. */
export const inFirefox = () => /Firefox/.test(globalThis.navigator?.userAgent);
