// In place of beside.js where a page is opened from a file: that page may start no
// worker from the file beside it, nor fetch anything. So both are in the page's script,
// the weights as a data URL and the worker as a text.

import weights from "../shakespeare.safetensors";
import worker from "./worker.txt";

export const WEIGHTS = weights;

export function startWorker() {
  return new Worker(URL.createObjectURL(new Blob([worker], { type: "text/javascript" })));
}
