// Writes what the browser runs into built/: `npm ci`, then `npm run build`. The same sources give the same bytes.

import { copyFile } from "node:fs/promises";
import { createRequire } from "node:module";
import { build } from "esbuild";

const require = createRequire(import.meta.url);
await build({
  entryPoints: { static: "src/page.js", worker: "src/worker.js" },
  outdir: "built",
  bundle: true,
  format: "esm",
  target: "es2022",
  minify: true,
  charset: "utf8",
  legalComments: "none",
  conditions: ["browser"],
  // The runtime on the processor alone: that with WebGPU is twice as large.
  alias: { "onnxruntime-web/webgpu": "onnxruntime-web/wasm" },
});
await copyFile(require.resolve("onnxruntime-web/ort-wasm-simd-threaded.wasm"), "built/ort-wasm-simd-threaded.wasm");
