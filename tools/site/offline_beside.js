// In place of beside.js where a page is opened from a file: that page may start no
// worker from the file beside it, nor fetch anything, but it may run scripts. So the
// worker is a text in the page's script, and the weights come as scripts of their own.

import worker from "./worker.txt";

export { MODELS } from "../models.js";

const here = document.currentScript.src;

export function weights(file) {
  return new Promise((resolve, reject) => {
    const script = document.createElement("script");
    script.src = new URL(`${file}.js`, here);
    script.onload = () => resolve(window.playgroundWeights);
    script.onerror = () => reject(new Error(`there is no _static/${file}.js in the folder`));
    document.head.append(script);
  }).finally(() => delete window.playgroundWeights);
}

export function startWorker() {
  return new Worker(URL.createObjectURL(new Blob([worker], { type: "text/javascript" })));
}
