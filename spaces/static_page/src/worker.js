// The models, in a thread of their own: loads the graphs from the Hub and answers texts, window by window.
//
// Takes { hub, tasks } once, then { text, number } or { cancel: number }; texts are read side by side, window by window.
// Tells { loading: share of the files }, { ready: true }, { reading: windows done, of: all, number },
// { reads, latency, number } or { failed: words, number }, of what was loaded without a number.

import { AutoModel, AutoTokenizer, Tensor, env } from "@huggingface/transformers";
import { plan, readLabel, readSpans, SIZE } from "./reading.js";
import { locateTokens, splitEveryDigit } from "./tokens.js";

const DTYPES = { "onnx/model.onnx": "fp32", "onnx/model_quantized.onnx": "q8" };
// All that runs lies beside this file: the only other host is the Hub.
env.backends.onnx.wasm.wasmPaths = { wasm: new URL("ort-wasm-simd-threaded.wasm", import.meta.url).href };
env.backends.onnx.wasm.numThreads = 1; // more need an isolated page, which a Space in its frame is not
env.allowLocalModels = false;

let tasks, graphs;
const live = new Set(); // the numbers of texts that are read

onmessage = async ({ data }) => {
  try {
    if (data.cancel) live.delete(data.cancel);
    else if (data.tasks) await load(data);
    else await answer(data);
  } catch (error) {
    console.error(error);
    postMessage({ failed: String(error?.message ?? error), number: data.number });
  }
};

async function load({ hub, tasks: given }) {
  tasks = Object.values(given);
  env.remoteHost = `${hub}/`;
  const sizes = new Map();
  const progress_callback = ({ status, name, file, loaded, total }) => {
    if (status !== "progress" || !total) return;
    sizes.set(`${name} ${file}`, [loaded, total]);
    const [done, all] = [...sizes.values()].reduce(([a, b], [c, d]) => [a + c, b + d]);
    postMessage({ loading: done / all });
  };
  graphs = new Map();
  for (const { graph: { repo, revision, file } } of tasks) {
    if (graphs.has(repo)) continue;
    const options = { revision, progress_callback };
    const tokenizer = await AutoTokenizer.from_pretrained(repo, options);
    // The encoder's class, which hands over whatever outputs a graph has.
    const model = await AutoModel.from_pretrained(repo, { ...options, dtype: DTYPES[file], device: "wasm" });
    graphs.set(repo, open(tokenizer, model));
  }
  postMessage({ ready: true });
}

/** Return what asks a graph: a function that encodes texts, and one from token ids to its outputs. */
function open(tokenizer, model) {
  const { normalizer, pre_tokenizer } = tokenizer._tokenizer;
  splitEveryDigit(pre_tokenizer);
  const bare = tokenizer.encode("a", { add_special_tokens: false }), framed = tokenizer.encode("a");
  const first = framed.indexOf(bare[0]);
  return {
    frame: { before: framed.slice(0, first), behind: framed.slice(first + bare.length) },
    most: Math.min(SIZE, tokenizer.model_max_length ?? SIZE, model.config.max_position_embeddings ?? SIZE),
    encode(text) {
      const { ids, tokens } = tokenizer._tokenizer.encode(text, { add_special_tokens: false });
      return { ids, offsets: locateTokens(text, tokens, normalizer !== null) };
    },
    async run(ids) {
      const tensor = values => new Tensor("int64", BigInt64Array.from(values, BigInt), [1, ids.length]);
      return model({ input_ids: tensor(ids), attention_mask: tensor(ids.map(() => 1)) });
    },
  };
}

async function answer({ text, number }) {
  live.add(number);
  const encoded = new Map(), ran = new Map(), reads = {}, took = {};
  for (const { graph: { repo } } of tasks) if (!encoded.has(repo)) encoded.set(repo, graphs.get(repo).encode(text));
  const cuts = tasks.map(task => {
    const graph = graphs.get(task.graph.repo);
    return plan(encoded.get(task.graph.repo), graph.frame, graph.most, task.head !== "classification");
  });
  const keys = tasks.map((task, turn) => cuts[turn].windows.map(window => `${task.graph.repo} ${window}`));
  const all = new Set(keys.flat()).size;
  for (const [turn, task] of tasks.entries()) {
    const start = performance.now(), { repo, output, labels } = task.graph, logits = [];
    for (const [place, key] of keys[turn].entries()) {
      if (!ran.has(key)) {
        await new Promise(resolve => setTimeout(resolve)); // lets a message in
        if (!live.has(number)) return;
        if (all > 2) postMessage({ reading: ran.size, of: all, number });
        ran.set(key, await graphs.get(repo).run(cuts[turn].rows[place]));
      }
      logits.push(pick(ran.get(key)[output], graphs.get(repo).frame, cuts[turn].windows[place]));
    }
    reads[task.name] = task.head === "spans" ? readSpans(text, cuts[turn], logits, labels)
      : readLabel(text, cuts[turn], logits, labels, task.positive);
    took[task.name] = performance.now() - start;
  }
  live.delete(number);
  postMessage({ reads, latency: share(took), number });
}

/** Return the milliseconds of each task: those of one graph share its time. */
function share(took) {
  return Object.fromEntries(tasks.map(({ name, graph }) => {
    const together = tasks.filter(other => other.graph.repo === graph.repo).map(other => took[other.name]);
    return [name, together.reduce((a, b) => a + b) / together.length];
  }));
}

/** Return the logits of a window: of the text as a whole, or of each of its tokens, special ones left out. */
function pick({ data, dims }, frame, [start, stop]) {
  if (dims.length === 2) return data;
  const [, , width] = dims, first = frame.before.length;
  return Array.from({ length: stop - start }, (_, place) => data.subarray((first + place) * width, (first + place + 1) * width));
}
