//! The built wasm in Node on every file of the corpus: the counts of the native
//! decode, the same for every cutting, nothing thrown, memory bounded.

mod decode_common;

use std::time::Duration;

use decode_common::{corpus, decode};
use tests::support::{Program, require, workspace_root};

const MOST_MEMORY: u64 = 32 << 20;

#[test]
fn node_decodes_like_native() {
    require(&["node"]);
    let Some(files) = corpus() else { return };
    let package = workspace_root().join("web/dist/player");
    for module in ["player.wasm", "player-nosimd.wasm"] {
        assert!(
            package.join(module).exists(),
            "{module} is not built; run `cargo xtask wasm`"
        );
        let list: Vec<String> = files.iter().map(|f| f.path.display().to_string()).collect();
        let out = Program::new("node")
            .arg("decode-hashes.mjs")
            .arg(&package)
            .arg(module)
            .in_dir(&workspace_root().join("tests/node"))
            .input(list.join("\n").into_bytes())
            .limit(Duration::from_secs(600))
            .run()
            .expect("decode-hashes.mjs");
        let text = String::from_utf8(out.stdout).expect("JSON lines");
        let lines: Vec<serde_json::Value> = text
            .lines()
            .map(|line| serde_json::from_str(line).expect("JSON"))
            .collect();
        assert_eq!(lines.len(), files.len());
        for (file, line) in files.iter().zip(&lines) {
            let bytes = std::fs::read(&file.path).expect("corpus file");
            let native = decode(&bytes, 0);
            let name = &file.name;
            assert_eq!(line["frames"], native.frames(), "{name} in {module}");
            assert_eq!(line["errors"], native.errors.len(), "{name} in {module}");
            assert_eq!(
                line["same"], true,
                "{name} in {module}: the cutting mattered"
            );
            assert_eq!(line["finite"], true, "{name} in {module}");
            let memory = line["memory"].as_u64().unwrap_or(u64::MAX);
            assert!(
                memory <= MOST_MEMORY,
                "{name} in {module}: {memory} bytes of wasm memory"
            );
        }
    }
}
