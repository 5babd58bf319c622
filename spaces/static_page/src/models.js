// The worker with the models, as one function that reads a text.

/** Start the worker. `loading` is told the share of the files that is there.
 *
 * Returns a promise that is kept when the models are there, and `read`: a text's reads and milliseconds by task. It
 * tells `reading` how many windows are done, of how many; what its signal aborts is rejected. */
export function startModels(hub, tasks, loading) {
  // A worker of a blob is bound to this page's policy; one of a file would be free to speak to anybody.
  const program = new Blob([`import ${JSON.stringify(new URL("worker.js", import.meta.url).href)};`], { type: "text/javascript" });
  const worker = new Worker(URL.createObjectURL(program), { type: "module" });
  const jobs = new Map(); // by their numbers, until they are answered
  let last = 0;
  const areLoaded = new Promise((resolve, reject) => {
    const hear = {
      loading: ({ loading: share }) => loading(share),
      ready: resolve,
      reading: ({ reading, of, number }) => jobs.get(number)?.reading(reading, of),
      reads: data => take(data.number)?.resolve(data),
      failed: ({ failed, number }) => (number === undefined ? reject : take(number)?.reject)?.(new Error(failed)),
    };
    worker.onmessage = ({ data }) => { for (const key of Object.keys(hear)) if (key in data) hear[key](data); };
    worker.onerror = ({ message }) => reject(new Error(message ?? "the models could not be started"));
  });
  worker.postMessage({ hub, tasks });

  function take(number) {
    const job = jobs.get(number);
    jobs.delete(number);
    return job;
  }

  async function read(text, signal, reading = () => {}) {
    await areLoaded;
    signal.throwIfAborted();
    const number = ++last;
    return new Promise((resolve, reject) => {
      jobs.set(number, { resolve, reject, reading });
      signal.addEventListener("abort", () => {
        if (!take(number)) return;
        worker.postMessage({ cancel: number });
        reject(signal.reason);
      }, { once: true });
      worker.postMessage({ text, number });
    });
  }

  return { areLoaded, read };
}
