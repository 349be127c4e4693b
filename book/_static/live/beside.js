// Where a page's files are. The script of the live figures lies beside the weights, and
// the edition that opens from a folder has them as scripts (tools/site/offline.py): there
// a page may fetch nothing, but it may run a script.

export async function weights(file) {
  const { src } = document.querySelector('script[src*="_static/live.js"]');
  const address = new URL(`./${file}`, src);
  if (address.protocol !== "file:") return address;
  const script = document.createElement("script");
  script.src = `${address}.js`;
  await new Promise((resolve, reject) => {
    script.onload = resolve;
    script.onerror = () => reject(new Error("a page opened from a file may fetch nothing"));
    document.head.append(script);
  });
  const found = window.playgroundWeights;
  delete window.playgroundWeights;
  return found;
}
