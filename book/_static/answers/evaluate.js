// What `rwkv_book.exercises.diagnose` says about an answer, said without a kernel, by the
// data of `rwkv_book.exercises.export`. A test holds the two equal.

const SPACE = "[\\t-\\r\\x1c-\\x20\\x85\\xa0\\u1680\\u2000-\\u200a\\u2028\\u2029\\u202f\\u205f\\u3000]";
const PLAIN = "[+-]?(?:[0-9]+\\.?[0-9]*|\\.[0-9]+)(?:[eE][+-]?[0-9]+)?";
const IN_THOUSANDS =
  "[+-]?[1-9][0-9]{0,2}(?:(?:,[0-9]{3})+|(?:_[0-9]{3})+)(?:\\.[0-9]*)?";
const NUMBER = `(?:${IN_THOUSANDS}|${PLAIN})`;
const IN_CLASS = SPACE.slice(1, -1);
const EDGES = new RegExp(`^${SPACE}+|${SPACE}+$`, "gu");
const whole = (pattern) => new RegExp(`^(?:${pattern})$`, "u");

const joined = (groups) => groups.replace(new RegExp(`[.${IN_CLASS}]`, "gu"), "");
const inOnePiece = (all, groups, rest) => `Write ${joined(groups)}${rest ?? ""} for ${all}.`;
const ADVICE = [
  [`([+-]?(?:[0-9]+|[0-9]{1,3}(?:[.${IN_CLASS}][0-9]{3})+)),([0-9]+)`, (all, groups, rest) =>
    `Write ${joined(groups)}.${rest} for ${all}: a point goes before the ` +
    "fraction, and a comma only between thousands, as in 1,500."],
  [`([+-]?[0-9]{1,3}(?:${SPACE}[0-9]{3})+)(\\.[0-9]*)?`, inOnePiece],
  ["([+-]?[0-9]{1,3}(?:\\.[0-9]{3}){2,})()", inOnePiece],
  [`(${NUMBER})${SPACE}*%`, (all, number) =>
    `Write ${formatted(plainNumber(number) / 100, "g")} for ${all}.`],
  [`[(${IN_CLASS}]*[0-9][0-9.()${IN_CLASS}]*[-+*/][-+*/()0-9.${IN_CLASS}]*[0-9][)${IN_CLASS}]*`,
    (all) => `Work ${all} out first. (In Python, no quotation marks, and it does that.)`],
  [`(${NUMBER})${SPACE}*[\\p{L}\\p{Nl}\\p{No}][^\\n]*`, (all, number) =>
    `Write the number alone, without its unit: ${number}.`],
].map(([pattern, advice]) => [whole(pattern), advice]);
const READABLE = whole(NUMBER);

const plainNumber = (text) => Number(text.replace(/[,_]/g, ""));

class Wrong extends Error {}

// The number that a text means; Wrong, with a sentence for the writer, where unclear.
function read(answer) {
  const text = answer.replace(EDGES, "").replaceAll("\u2212", "-");
  if (READABLE.test(text)) return plainNumber(text);
  for (const [pattern, advice] of ADVICE) {
    const found = pattern.exec(text);
    if (found) throw new Wrong(advice(...found));
  }
  throw new Wrong("It should be a number, and is text.");
}

// A number's digits, rounded half to even as Python does, and its power of ten.
function rounded(value, places) {
  const [mantissa, power] = value.toExponential(100).split("e");
  const all = mantissa.replace(".", "");
  const count = places(Number(power));
  if (count < 0) return ["", Number(power)];
  const kept = all.slice(0, count), rest = all.slice(count).replace(/0+$/, "");
  const odd = kept !== "" && Number(kept.at(-1)) % 2 === 1;
  const up = rest > "5" || (rest === "5" && odd);
  const digits = (BigInt(kept || "0") + (up ? 1n : 0n)).toString().padStart(count, "0");
  return digits.length > count && count > 0
    ? [digits.slice(0, count), Number(power) + 1, digits]
    : [digits, Number(power), digits];
}

const scientific = (digits, power) =>
  digits[0] + (digits.length > 1 ? `.${digits.slice(1)}` : "") +
  `e${power < 0 ? "-" : "+"}${String(Math.abs(power)).padStart(2, "0")}`;

// As Python's format() with "", "g", ".2e", ".2f" or ",.0f".
export function formatted(value, spec) {
  if (spec === "") return String(value);
  const sign = value < 0 || Object.is(value, -0) ? "-" : "";
  const size = Math.abs(value);
  if (size === Infinity) return `${sign}inf`;
  const [, commas, point, kind] = /^(,?)(?:\.([0-9]+))?([efg])$/.exec(spec);
  const precision = Number(point ?? 6);
  if (kind === "e") return sign + scientific(...rounded(size, () => precision + 1));
  if (kind === "g") {
    const [digits, power] = rounded(size, () => precision || 1);
    const short = digits.replace(/(?<=.)0+$/, "");
    if (power < -4 || power >= (precision || 1)) return sign + scientific(short, power);
    if (power < 0) return `${sign}0.${"0".repeat(-power - 1)}${short}`;
    const rest = short.slice(power + 1);
    return sign + short.slice(0, power + 1).padEnd(power + 1, "0") + (rest && `.${rest}`);
  }
  const [, , digits = ""] = rounded(size, (power) => power + 1 + precision);
  const filled = digits.padStart(precision + 1, "0");
  const whole = filled.slice(0, filled.length - precision);
  const grouped = commas ? whole.replace(/\B(?=([0-9]{3})+$)/g, ",") : whole;
  return sign + grouped + (precision ? `.${filled.slice(-precision)}` : "");
}

const filled = (pieces, value) => pieces
  .map((piece) => (typeof piece === "string" ? piece : formatted(value, piece[0]))).join("");

// FNV-1a of the words, a line each, as 16 hexadecimal digits.
export function digest(...words) {
  let found = 0xcbf29ce484222325n;
  for (const byte of new TextEncoder().encode(words.join("\n"))) {
    found = ((found ^ BigInt(byte)) * 0x100000001b3n) & 0xffffffffffffffffn;
  }
  return found.toString(16).padStart(16, "0");
}

function judgeNumber({ right, mistakes, hint, praise }, answer) {
  const value = read(answer);
  if (!Number.isFinite(value)) {
    throw new Wrong(`It should be a finite number, and is ${formatted(value, "g")}.`);
  }
  const holds = ([low, high]) => low <= value && value <= high;
  if (holds(right)) return filled(praise, value);
  const mistake = mistakes.find(([span]) => holds(span));
  throw new Wrong(mistake ? mistake[1] : filled(hint, value));
}

function judgeOrder({ salt, names, right, mistakes, hint, praise }, answer) {
  if (JSON.stringify([...answer].sort()) !== JSON.stringify([...names].sort())) {
    throw new Wrong(`It should be a list with each of these names once: ${names.join(", ")}.`);
  }
  const hits = right.filter((one, i) => one === digest(salt, String(i), answer[i])).length;
  if (hits === right.length) return filled(praise);
  throw new Wrong(mistakes[digest(salt, ...answer)] ?? filled(hint, hits));
}

function judgeChoice({ salt, names, right, mistakes, hint, praise }, answer) {
  const found = [...new Set(answer)].sort();
  if (!found.length || !found.every((name) => names.includes(name))) {
    const [first, last] = [names[0], names.at(-1)];
    throw new Wrong(`It should be letters from ${first} to ${last}, such as '${first}${last}'.`);
  }
  for (const name of found) {
    const mistake = mistakes[digest(salt, name)];
    if (mistake) throw new Wrong(mistake);
  }
  if (found.length < right) throw new Wrong(filled(hint, right - found.length));
  return filled(praise);
}

function judgeName({ salt, longest, right, mistakes, hint, praise }, answer) {
  const name = answer.toLowerCase().replace(/[^a-z0-9]/g, "");
  if (right.includes(digest(salt, ...name))) return filled(praise);
  for (let length = Math.min(name.length, longest); length > 0; length--) {
    const mistake = mistakes[digest(salt, ...name.slice(0, length))];
    if (mistake) throw new Wrong(mistake);
  }
  throw new Wrong(filled(hint));
}

const JUDGES = {
  number: judgeNumber, order: judgeOrder, choice: judgeChoice, name: judgeName,
};

// Whether an answer, a text or a list of names, is right, and what is said of it:
// { right, text }.
export function judged(question, answer) {
  try {
    const praise = JUDGES[question.kind](question, answer);
    return { right: true, text: `Right. ${praise}` };
  } catch (error) {
    if (!(error instanceof Wrong)) throw error;
    return { right: false, text: `Not yet. ${error.message}` };
  }
}
