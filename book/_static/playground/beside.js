// What a browser is to fetch from beside these modules. The edition that opens from a
// folder has a file of its own in place of this one (tools/site/offline_beside.js).

export const WEIGHTS = new URL("../shakespeare.safetensors", import.meta.url);

export function startWorker() {
  return new Worker(new URL("worker.js", import.meta.url), { type: "module" });
}
