// Where a page's files are. The script of the live figures lies beside the weights and
// the worker's script, and the edition that opens from a folder has the weights as scripts
// too (tools/site/offline.py): there a page may fetch nothing, but it may run a script.

const here = () => document.querySelector('script[src*="_static/live.js"]').src;

export async function weights(file) {
  const address = new URL(`./${file}`, here());
  if (address.protocol !== "file:") return address;
  return left(`${address}.js`, "playgroundWeights", "a page opened from a file may fetch nothing");
}

// The playground's worker, from its text: no other starts in a page opened from a file.
export async function startWorker() {
  const address = new URL("./live-worker.js", here());
  const text = await left(address, "liveWorker", "its worker did not come");
  return new Worker(URL.createObjectURL(new Blob([text], { type: "text/javascript" })));
}

// What a script leaves in the window; an Error that says why it is not there.
async function left(address, name, why) {
  const script = document.createElement("script");
  script.src = address;
  await new Promise((resolve, reject) => {
    script.onload = resolve;
    script.onerror = () => reject(new Error(why));
    document.head.append(script);
  });
  const found = window[name];
  delete window[name];
  return found;
}
