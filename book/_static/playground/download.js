// A file as an ArrayBuffer; says on the way how much of it has come. again: from the
// server, whatever the browser has kept of it.
const RELOAD = "reload";

export async function download(address, again, onProgress) {
  const response = await fetch(address, again ? { cache: RELOAD } : {});
  if (!response.ok) throw new Error(`the server answered ${response.status}`);
  const total = Number(response.headers.get("Content-Length"));
  const parts = [];
  let received = 0;
  for (const reader = response.body.getReader(); ; ) {
    const { done, value } = await reader.read();
    if (done) return new Blob(parts).arrayBuffer();
    parts.push(value);
    received += value.length;
    onProgress(received, total);
  }
}
