// What a browser is to fetch from beside these modules. The edition that opens from a
// folder has a file of its own in place of this one (tools/site/offline_beside.js).

// The models that there are, each a name, a file, its bytes and its parameters: listed
// when the site is built.
export { MODELS } from "../models.js";

// The address of a model's file.
export const weights = async (file) => new URL(`../${file}`, import.meta.url);

export function startWorker() {
  return new Worker(new URL("worker.js", import.meta.url), { type: "module" });
}
