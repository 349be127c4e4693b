// What a reader may set, and how much of it: a seed, the settings in a link, the length
// of a prompt, the names of branches. Nothing here touches the page.

// Why a text is no seed from `least` to `most`; empty for one that is. isNumber: false
// where a browser hides what was typed, because it is no number.
export function seedProblem(text, least, most, isNumber = true) {
  const seed = Number(text);
  if (!isNumber || Number.isNaN(seed)) return "what stands there is not a number";
  if (text.trim() === "") return "the field is empty";
  if (seed < least) return `${text} is too small`;
  if (seed > most) return `${text} is too large`;
  return Number.isInteger(seed) ? "" : `${text} is not whole`;
}

// The seed of a new branch: one more than the largest, or the first that is free.
export function nextSeed(seeds, most) {
  const next = Math.max(...seeds) + 1;
  if (next <= most) return next;
  for (let free = 0; ; free++) if (!seeds.includes(free)) return free;
}

// A, B, ... Z, AA, AB, ...: the columns of a spreadsheet.
export function branchName(number) {
  const letter = String.fromCharCode("A".charCodeAt(0) + (number % 26));
  return number < 26 ? letter : branchName(Math.floor(number / 26) - 1) + letter;
}

// As many bytes of a prompt as there is room for, without half a character at the end.
export function fitting(bytes, room) {
  if (bytes.length <= room) return bytes;
  let end = room;
  while (end > 0 && (bytes[end] & 0xc0) === 0x80) end--;
  return bytes.slice(0, end);
}

// A link to the page at `address` with settings {name: text}. They stand behind a #, so
// no server is told of them.
export const linkTo = (address, settings) =>
  `${address.split("#")[0]}#${new URLSearchParams(settings)}`;

// The settings in the part of a link from # on: {found: {name: text}, bad: [name=text]}.
// allowed: {name: test of a text}; what has another name is no setting.
export function settingsIn(hash, allowed) {
  const found = {}, bad = [];
  for (const [name, text] of new URLSearchParams(hash.replace(/^#/, ""))) {
    if (!Object.hasOwn(allowed, name)) continue;
    if (allowed[name](text)) found[name] = text;
    else bad.push(`${name}=${text.slice(0, 20)}`);
  }
  return { found, bad };
}

// Whether a text is a number that a slider has.
export function onScale(text, least, most, step) {
  const steps = (Number(text) - least) / step;
  const there = text.trim() !== "" && Number(text) >= least && Number(text) <= most;
  return there && Math.abs(steps - Math.round(steps)) < 1e-6;
}
