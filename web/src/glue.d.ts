/** Made by wasm-bindgen (`cargo xtask web`): what the module imports, and where its functions find it. */
export const imports: WebAssembly.Imports;
export function __wbg_set_wasm(exports: WebAssembly.Exports): void;
