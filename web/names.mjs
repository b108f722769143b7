/**
 * Properties that nothing outside of `src/` knows, so that the build may shorten them as it does private ones. `test/names.test.mjs`
 * refuses names that the platform, the public types or the engine have too, and those that stand in a string.
 */
export const INTERNAL = [
  'age', 'alive', 'attempts', 'backoff', 'begun', 'chunk', 'clockOffset', 'cut', 'dismiss', 'drain', 'emit', 'fed', 'firstArrival', 'framed',
  'frozen', 'heard', 'horizon', 'lastArrival', 'lead', 'owned', 'park', 'plainNext', 'reached', 'received', 'report', 'resumePoint', 'room', 'run', 'runs', 'schedule',
  'session', 'setGain', 'settled', 'starved', 'unpark', 'work', 'worth',
];
