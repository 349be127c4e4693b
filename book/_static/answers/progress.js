// What a reader solved and where they stopped: in their browser, and nowhere else.
// A browser may refuse to store anything; then a page remembers until it is left.

const KEY = "rwkv-book-progress";
let kept = {};

export function progress() {
  try {
    kept = JSON.parse(localStorage.getItem(KEY)) ?? kept;
  } catch { /* refused, or not ours */ }
  const solved = Array.isArray(kept?.solved) ? kept.solved : [];
  return { solved: solved.filter((one) => typeof one === "string"), stop: kept?.stop };
}

function keep(changed) {
  kept = { ...progress(), ...changed };
  try {
    localStorage.setItem(KEY, JSON.stringify(kept));
  } catch { /* refused, or full */ }
}

export function solve(number) {
  keep({ solved: [...new Set([...progress().solved, number])] });
}

export function stopAt(stop) {
  keep({ stop });
}

export function forget() {
  kept = {};
  try {
    localStorage.removeItem(KEY);
  } catch { /* refused: nothing was stored */ }
}
