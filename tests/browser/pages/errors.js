// Everything that must not happen in a page, reported where every browser can:
// WebKit's driver has no access to the console.
(() => {
  // Only Chromium's stacks begin with the message.
  const told = (error) => (error?.stack ? `${error.message}\n${error.stack}` : String(error));
  const report = (kind, text) => {
    (globalThis.benchErrors ??= []).push(`${kind}: ${text}`);
  };
  addEventListener('error', (event) => report('error', event.error ? told(event.error) : event.message ?? `${event.target?.src ?? event.target?.href} did not load`), true);
  addEventListener('unhandledrejection', (event) => report('unhandled rejection', told(event.reason)));
  addEventListener('securitypolicyviolation', (event) => report('policy violation', `${event.violatedDirective} ${event.blockedURI}`));
  const original = console.error;
  console.error = (...parts) => {
    report('console.error', parts.map(String).join(' '));
    original.apply(console, parts);
  };
})();
