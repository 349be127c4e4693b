// The playground: buttons, and what they do to a text. All that can change is in
// `here`; `draw` shows it, and nothing else but `say` writes on the page.

import { MODELS, startWorker, weights as addressOf } from "./beside.js";
import { drawBars } from "./draw.js";
import { FIRST } from "./first.js";
import { keep, kept, packed } from "./kept.js";
import { Model } from "./model.js";
import { readAgain, readOn, stateAfter } from "./reading.js";
import { chance, choose, distribution } from "./sample.js";
import {
  branchName, fitting, linkTo, nextSeed, onScale, seedProblem, settingsIn,
} from "./settings.js";
import {
  beginning, bytes, extend, path, shownInText, shownOnOneLine, tokenName,
} from "./text.js";
import * as view4 from "./view4.js";
import * as view7 from "./view7.js";

const VIEWS = { "RWKV-4": view4, "RWKV-7": view7 };
const LONGEST = 2000; // tokens in a text: rewinding needs the states that have been
const MEMORY = 2 ** 26; // bytes: of states that need more, not all are kept
const LIKELIEST = 12;
const SHORT = 50; // tokens that are read before anybody would look at a bar
const END_OF_TEXT = 0;

const playground = document.getElementById("playground");
const element = (id) => document.getElementById(`pg-${id}`);
const percent = (share) =>
  share < 1e-4 ? "< 0.01 %" : `${(100 * share).toFixed(share < 0.01 ? 2 : 1)} %`;
const size = (bytes) =>
  bytes < 1e6
    ? `${Math.round(bytes / 1024)} KiB`
    : `${(bytes / 2 ** 20).toFixed(1)} MiB`;

const here = {
  model: null, // until it has been fetched
  about: recordedModel(), // its name, and what it said of itself: layers, state, ...
  every: 1, // one in so many states is kept
  choice: FIRST.model, // the name that is chosen: another one while that is fetched
  branches: [recorded()], // each a name, a seed and the last node of its text; `unread`
  // where the model has yet to read it, and `recorded` where it is not the reader's own
  current: 0,
  leftOut: 0, // bytes of the last prompt for which there was no room
  failed: false, // whether the last file that was fetched was of no use
  turn: 0, // goes up with every command: what an older one still does is dropped
  busy: false, // a command is at work, other than writing on and on: no other begins
  running: false,
  looked: null, // place of the token that is looked at; null: the newest one
  pointed: null, // the same, while the mouse rests on it
  arrivals: [], // times of the last tokens that were written in this run
  took: [], // milliseconds of the last steps
};

const view = () => VIEWS[here.about.name];
const branch = () => here.branches[here.current];
const place = () => here.pointed ?? here.looked ?? branch().node.length - 1;

// What stands here before a model has been fetched: a text of nodes without states.
function recordedModel() {
  const { model, layers, channels } = FIRST;
  return { name: model, layers: Array.from({ length: layers }), channels };
}

function recorded() {
  const node = FIRST.tokens.reduce(
    (last, token, at) => extend(last, token, {}, at >= FIRST.read),
    beginning(null),
  );
  node.logits = FIRST.logits;
  return { name: "A", seed: FIRST.seed, node, unread: true, recorded: true };
}

function say(sentence, kind = "") {
  element("status").textContent = sentence;
  element("status").dataset.kind = kind;
}

function progress(done, of) {
  element("progress").hidden = done >= of;
  Object.assign(element("progress"), { max: of, value: done });
}

// --- the model --------------------------------------------------------------------

// A model in a worker of its own; or null, and the page says what to do `instead`.
async function fetched({ name, file }, instead) {
  const model = new Model(startWorker(), (received, total) => {
    const of = total ? ` of ${(total / 1e6).toFixed(1)}` : "";
    say(`Fetching ${name}: ${(received / 1e6).toFixed(1)}${of} MB`);
    if (total) progress(received, total);
  });
  say(`Fetching ${name} …`);
  try {
    const about = { ...(await model.load(await addressOf(file), here.failed)), name };
    here.failed = false;
    const bytes = 4 * VIEWS[name].stateSize(about).numbers;
    return { model, about, every: Math.ceil((LONGEST * bytes) / MEMORY) };
  } catch (error) {
    model.end();
    here.failed = true;
    const reason = error.message || "no reason was given";
    say(
      `${name} could not be loaded (${reason}). Check the connection and ${instead}`,
      "error",
    );
    return null;
  }
}

async function ready() {
  if (here.model) return true;
  const wanted = MODELS.find(({ name }) => name === here.choice);
  const found = await fetched(
    wanted,
    "press the button again; or go on reading, the other pages do without it.",
  );
  if (!found) return false;
  say("");
  use(found);
  return true;
}

function use({ model, about, every }) {
  here.model?.end();
  Object.assign(here, { model, about, every, took: [], arrivals: [] });
  element("state").replaceChildren();
  pictures = view().pictures(element("state"), about, drawSoon);
  setUpLayers();
  showWords();
}

// Another model reads the text, with all its branches, from the first token on. What
// stands there stays until that is done.
async function changeModel(wanted) {
  const found = await fetched(
    wanted,
    `choose it again; until then ${here.about.name} goes on, and the text is as it was.`,
  );
  if (!found) return;
  await readBranches(found);
  use(found);
}

// A model reads all branches, from the first token on.
async function readBranches(reader) {
  const ends = here.branches.map(({ node }) => node);
  const all = new Set(ends.flatMap(path)).size;
  const { state, name } = reader.about;
  const again = await readAgain(ends, state, reader, (count) => {
    if (count % 50 === 0) say(`${name} reads the text: ${count} tokens so far.`);
    if (all > SHORT) progress(count, all);
  });
  here.branches = here.branches.map(({ name, seed, node }) =>
    ({ name, seed, node: again.get(node) ?? beginning(state) }));
  say(`${name} has read the text: ${again.size} tokens.`);
}

// Read one more token at the end of a branch; false if that is no longer wanted.
async function read(token, written, to, turn) {
  const { node, took } = await readOn(to.node, token, written, here);
  if (turn !== here.turn) return false;
  to.node = node;
  here.took = [...here.took.slice(-49), took];
  drawSoon();
  return true;
}

function nextToken({ node, seed }) {
  return choose(probabilities(node), chance(seed, node.length));
}

function probabilities(node) {
  const [temperature, topP] = ["temperature", "top-p"].map((id) => +element(id).value);
  return distribution(node.logits, temperature, topP);
}

// --- the commands -----------------------------------------------------------------

// A command stops what is running, and first of all does what it needs to be done.
function command(action, prepare = begin) {
  return async () => {
    if (here.busy) return drawSoon();
    const turn = ++here.turn;
    const wasRunning = here.running;
    Object.assign(here, { busy: true, running: false });
    playground.dataset.busy = true;
    try {
      if (!(await prepare(turn))) return;
      await action(turn, wasRunning);
      if (here.model) await stateAfter(branch().node, here);
    } catch (error) {
      say(`That went wrong: ${error.message}. Start over with the prompt.`, "error");
    } finally {
      if (turn === here.turn) here.busy = false;
      progress(1, 1);
      drawSoon();
    }
  };
}

// Most commands need a model and a text that has begun.
async function begin(turn) {
  if (!(await ready())) return false;
  if (branch().recorded) await startOver(turn);
  else if (branch().unread) await readBranches(here);
  return true;
}

async function startOver(turn) {
  const node = beginning(here.about.state);
  here.branches = [{ name: "A", seed: branch().seed, node }];
  here.current = 0;
  here.looked = null;
  return append(turn);
}

async function append(turn) {
  here.looked = null;
  const to = branch();
  const typed = bytes(element("prompt").value);
  if (!typed.length && !to.node.length) typed.push(END_OF_TEXT);
  const tokens = fitting(typed, LONGEST - to.node.length);
  here.leftOut = typed.length - tokens.length;
  say(here.leftOut ? cut(tokens.length) : "Reading …");
  for (const [at, token] of tokens.entries()) {
    if (!(await read(token, false, to, turn))) return;
    if (tokens.length > SHORT) progress(at + 1, tokens.length);
  }
  if (!here.leftOut) say(isFull() ? full() : `Read ${tokens.length} tokens.`);
}

const cut = (count) =>
  `The prompt is cut: of its ${count + here.leftOut} bytes the first ${count} are read ` +
  `and the other ${here.leftOut} are not, because a text on this page has at most ` +
  `${LONGEST} tokens.`;

const isFull = () => branch().node.length >= LONGEST;
const full = () =>
  (here.leftOut ? `The last ${here.leftOut} bytes of the prompt were left out. ` : "") +
  `${LONGEST} tokens: this page stops here, because it keeps old states for ` +
  "rewinding. The model could go on with the last one alone.";

async function stepOnce(turn) {
  here.looked = null;
  if (isFull()) return say(full());
  const token = nextToken(branch());
  if (await read(token, true, branch(), turn)) say(`Wrote ${tokenName(token)}`);
}

async function run(turn, wasRunning) {
  if (wasRunning) return say(`Paused after ${branch().node.length} tokens.`);
  Object.assign(here, { running: true, busy: false, looked: null, arrivals: [] });
  say("");
  let due = performance.now();
  while (here.running && !isFull()) {
    if (!(await read(nextToken(branch()), true, branch(), turn))) return;
    const now = performance.now();
    here.arrivals = [...here.arrivals.filter((time) => time > now - 2000), now];
    const pace = +element("pace").value;
    due = pace ? Math.max(due + 1000 / pace, now - 100) : now;
    if (due > now) await new Promise((resolve) => setTimeout(resolve, due - now));
    if (turn !== here.turn) return;
  }
  here.running = false;
  say(full());
}

// Both act at the token that is looked at; rewinding at the newest takes it back.
async function rewind() {
  const nodes = path(branch().node);
  const keep = here.looked === null ? nodes.length - 1 : here.looked + 1;
  if (keep < 1) return say("This is the first token.");
  branch().node = nodes[keep - 1];
  Object.assign(here, { looked: null, leftOut: 0 });
  say(`Back at ${keep} tokens.`);
}

async function split() {
  const nodes = path(branch().node);
  const node = nodes[here.looked ?? nodes.length - 1];
  const seed = nextSeed(here.branches.map((each) => each.seed), +element("seed").max);
  const name = branchName(here.branches.length);
  here.branches.push({ name, seed, node });
  show(here.branches.length - 1);
  say(`Branch ${name} begins here, with seed ${seed}.`);
}

function show(number) {
  Object.assign(here, { current: number, looked: null });
  setSeed(branch().seed);
}

function setSeed(seed) {
  element("seed").value = branch().seed = seed;
  sayOfSeed("");
}

// What was typed becomes the seed, or a sentence says why not.
function checkSeed() {
  const { value, min, max, validity } = element("seed");
  const problem = seedProblem(value, +min, +max, !validity.badInput);
  if (!problem) branch().seed = +value;
  sayOfSeed(
    problem &&
      `A seed is a whole number from ${min} to ${max}, and ${problem}: seed ` +
        `${branch().seed} stays in use.`,
  );
}

function sayOfSeed(sentence) {
  element("seed-note").textContent = sentence;
  element("seed").setAttribute("aria-invalid", Boolean(sentence));
}

function look(at) {
  const last = branch().node.length - 1;
  here.looked = at < last ? at : null;
  drawSoon();
}

// --- what is shown ----------------------------------------------------------------

// At most once a frame, and while tokens arrive at most a third of the time.
const hurried = () => here.running || here.busy;
let drawing = false;
let restUntil = 0;
function drawSoon() {
  if (drawing || (hurried() && performance.now() < restUntil)) return;
  drawing = true;
  requestAnimationFrame(() => {
    const start = performance.now();
    drawing = false;
    draw();
    restUntil = start + 3 * (performance.now() - start);
  });
}

function draw() {
  element("run").textContent = here.running ? "Pause" : "Run";
  element("temperature-is").value = (+element("temperature").value).toFixed(2);
  element("top-p-is").value = (+element("top-p").value).toFixed(2);
  const nodes = path(branch().node);
  const { recorded: isRecorded = false, unread = false } = branch();
  Object.assign(playground.dataset, { tokens: unread ? 0 : nodes.length, busy: here.busy });
  if (!nodes.length) return;
  const at = here.looked !== null;
  element("rewind").textContent = at ? "Rewind to here" : "Rewind";
  element("branch").textContent = at ? "Branch here" : "Branch";
  element("rewind").disabled = isRecorded || nodes.length < 2;
  element("append").disabled = element("branch").disabled = isRecorded;
  for (const input of document.querySelectorAll("#pg-models input")) {
    input.checked = input.value === here.choice;
  }
  drawText(nodes);
  drawNext(nodes.at(-1));
  drawWeights(nodes);
  drawState(nodes);
  drawCost(nodes);
  drawBranches();
}

// One span a character; a node whose bytes are not yet a character has none of its own.
let shown = [];
function drawText(nodes) {
  const box = element("text");
  const down = box.scrollHeight - box.scrollTop - box.clientHeight < 40;
  let same = 0;
  while (same < shown.length && shown[same].node === nodes[same]) same++;
  for (const { span } of shown.splice(same)) span?.remove();
  box.querySelector(".pg-waiting")?.remove();
  for (const node of nodes.slice(same)) {
    const span = node.text === "" ? null : document.createElement("span");
    if (span) {
      span.textContent = shownInText(node.text);
      span.dataset.place = node.length - 1;
      span.className = node.written ? "pg-written" : "pg-read";
      box.append(span);
    }
    shown.push({ node, span });
  }
  const { waiting } = nodes.at(-1);
  if (waiting.length) {
    const mark = document.createElement("span");
    mark.className = "pg-waiting";
    mark.textContent = `▯ (${waiting.length} of a character's bytes)`;
    box.append(mark);
  }
  if (down && here.looked === null) box.scrollTop = box.scrollHeight;
}

// The span that shows a token: its own, or that of the character it becomes a part of.
const spanOf = (at) => shown.slice(at).find(({ span }) => span)?.span;

function drawNext(node) {
  const sorted = probabilities(node);
  const next = choose(sorted, chance(branch().seed, node.length));
  const rows = sorted.slice(0, LIKELIEST);
  drawBars(
    element("next"),
    rows.map(({ token, probability, kept }) => ({
      name: tokenName(token),
      share: probability / rows[0].probability,
      number: percent(probability),
      mark: token === next ? "pg-chosen" : kept ? "" : "pg-cut",
    })),
  );
  const kept = sorted.filter((entry) => entry.kept).length;
  element("next-note").textContent =
    `Top-p keeps ${kept} of ${sorted.length} tokens; paler ones are cut. ` +
    `Seed ${branch().seed} will take “${tokenName(next)}”.`;
}

// Weights of long texts take a while: while tokens arrive, at most a tenth of the time.
let weights = { of: branch().node, layers: FIRST.shares, restUntil: 0 };
function drawWeights(nodes) {
  const now = performance.now();
  if (weights.of !== nodes.at(-1) && (!hurried() || now > weights.restUntil)) {
    const layers = sharesNow();
    const restUntil = now + 10 * (performance.now() - now);
    weights = { of: nodes.at(-1), layers, restUntil };
    shade();
  }
  drawShares(nodes);
}

// The share of every token in what each layer hears.
function sharesNow() {
  const { node, unread } = branch(), nodes = path(node);
  if (unread || weights.of === node) return weights.layers;
  return here.about.layers.map((about, layer) =>
    view().listen(nodes.map(({ parts }) => parts[layer]), about));
}

// From a share of 0.1 % or less, 0, to a share of 1: 10 times as much is a third more.
const logarithmic = (share) => Math.max(0, 1 + Math.log10(share) / 3);

function shade() {
  const layer = +document.querySelector("#pg-layers input:checked").value;
  const shares = weights.layers[layer];
  let character = 0;
  shares.forEach((share, at) => {
    character += share;
    if (!shown[at]?.span) return;
    const shade = Math.round(20 * logarithmic(character)) / 20;
    if (shown[at].shade !== shade) shown[at].span.style.setProperty("--shade", shade);
    shown[at].shade = shade;
    character = 0;
  });
}

function drawShares(nodes) {
  const slider = element("look");
  const last = nodes.length - 1;
  const at = Math.min(place(), last);
  slider.max = nodes.length;
  if (document.activeElement !== slider || here.looked === null) slider.value = at + 1;
  const name = `“${tokenName(nodes[at].token)}”`;
  const ago = last - at;
  const age = ago === 0 ? "the newest" : `${ago} token${ago > 1 ? "s" : ""} ago`;
  const text = `token ${at + 1} of ${nodes.length}, ${name}, ${age}`;
  element("look-is").value = text;
  const shares = weights.layers.map((layer) => layer[at] ?? 0);
  const rows = shares.map((share, layer) => ({
    name: `layer ${layer}`,
    share: logarithmic(share),
    number: percent(share),
  }));
  drawBars(element("shares"), rows);
  const spoken = rows.map((row) => `${row.name} ${row.number}`).join(", ");
  slider.setAttribute("aria-valuetext", `${text}: ${spoken}`);
  element("look-note").textContent =
    `${view().heard} A full bar is all that is heard, two thirds of a bar a tenth of it, ` +
    "one third a hundredth. If all were heard alike, each would have " +
    `${percent(1 / nodes.length)}.`;
  for (const marked of document.querySelectorAll("#pg-text .pg-looked")) {
    marked.classList.remove("pg-looked");
  }
  if (here.looked !== null || here.pointed !== null) {
    spanOf(at)?.classList.add("pg-looked");
  }
}

let pictures = null;
function drawState(nodes) {
  if (branch().unread || !nodes.at(-1).state) return;
  const style = getComputedStyle(element("state"));
  const colours = ["--pg-minus", "--pg-plus"].map((name) =>
    style.getPropertyValue(name).match(/\w\w/g).map((digits) => parseInt(digits, 16)));
  pictures.draw(nodes, colours);
}

function drawCost(nodes) {
  const { layers, channels } = here.about;
  const { numbers, words } = view().stateSize(here.about);
  const state = 4 * numbers, perToken = 2 * 2 * channels * layers.length;
  const cache = perToken * nodes.length;
  const most = Math.max(state, cache);
  drawBars(element("memory"), [
    { name: "state", share: state / most, number: size(state) },
    { name: "KV cache", share: cache / most, number: size(cache), mark: "pg-other" },
  ]);
  element("memory-note").textContent =
    `After ${nodes.length} tokens. The state is ${words} × 4 bytes, always. A ` +
    "transformer of this width and depth keeps a key and a value for every token, " +
    `2 × ${channels} channels × ${layers.length} layers × 2 bytes, and reads all of ` +
    `them for the next one. Its cache overtakes the state after ` +
    `${Math.floor(state / perToken)} tokens.`;
  const { arrivals, took } = here;
  const seconds = (arrivals.at(-1) - arrivals[0]) / 1000;
  if (arrivals.length > 2) {
    element("rate").textContent = ((arrivals.length - 1) / seconds).toFixed(1);
  }
  if (!took.length) {
    for (const name of ["rate", "took", "floor"]) element(name).textContent = "–";
    return;
  }
  const middle = [...took].sort((a, b) => a - b)[took.length >> 1];
  const megabytes = (4 * here.about.parameters) / 1e6;
  const perSecond = (milliseconds) => `${Math.round(1000 / milliseconds)} a second`;
  element("took").textContent = `${middle.toFixed(1)} ms: up to ${perSecond(middle)}`;
  const floor = here.about.readingTime;
  element("floor").textContent =
    `${megabytes.toFixed(1)} MB in ${floor.toFixed(1)} ms: at most ${perSecond(floor)}`;
}

function drawBranches() {
  const box = element("branches");
  box.hidden = here.branches.length < 2;
  const options = box.querySelectorAll("label");
  [...options].slice(here.branches.length).forEach((option) => option.remove());
  here.branches.forEach(({ name, node, seed }, number) => {
    let option = options[number];
    if (!option) {
      option = radio("pg-branch-choice", number, command(() => show(number)));
      box.append(option);
    }
    option.querySelector("input").checked = number === here.current;
    const end = path(node).slice(-28).map((each) => shownOnOneLine(each.text));
    const text = ` ${name}, seed ${seed}, ${node.length} tokens: … ${end.join("")}`;
    const words = option.querySelector("span");
    if (words.textContent !== text) words.textContent = text;
  });
}

function radio(group, value, onChoice) {
  const label = document.createElement("label");
  label.innerHTML = '<input type="radio"><span></span>';
  const [input] = label.children;
  Object.assign(input, { name: group, value });
  input.addEventListener("change", onChoice);
  return label;
}

function setUpLayers() {
  const chosen = +(element("layers").querySelector("input:checked")?.value ?? 0);
  element("layers").querySelectorAll("label").forEach((option) => option.remove());
  here.about.layers.forEach((_, layer, { length }) => {
    const option = radio("pg-layer", layer, () => (shade(), drawSoon()));
    option.querySelector("span").textContent = ` layer ${layer}`;
    option.querySelector("input").checked = layer === Math.min(chosen, length - 1);
    element("layers").append(option);
  });
  element("layers").hidden = false;
}

// The models that there are; the choice is there only if there is one.
function setUpModels() {
  for (const model of MODELS) {
    const { name, parameters, bytes } = model;
    const change = command(() => changeModel(model), () => name !== here.about.name);
    const option = radio("pg-model", name, async () => {
      if (!here.busy) here.choice = name;
      await change();
      if (!here.busy) here.choice = here.about.name;
      drawSoon();
    });
    option.querySelector("span").textContent =
      ` ${name}: ${(parameters / 1e6).toFixed(1)} million parameters, ` +
      `${(bytes / 1e6).toFixed(1)} MB`;
    element("models").append(option);
  }
  element("models").hidden = MODELS.length < 2;
}

// What is said of one model and not of the other.
function showWords() {
  for (const words of document.querySelectorAll("#playground [data-model]")) {
    words.hidden = words.dataset.model !== here.about.name;
  }
}

// --- what is kept, and what a link holds --------------------------------------------

const SETTINGS = ["prompt", "temperature", "top-p", "pace"];

// All that a link may set, each with a test of what it says.
function allowed() {
  const range = (id) => (text) => {
    const { min, max, step } = element(id);
    return onScale(text, +min, +max, +step);
  };
  return {
    prompt: () => true,
    seed: (text) => !seedProblem(text, +element("seed").min, +element("seed").max),
    temperature: range("temperature"),
    "top-p": range("top-p"),
    pace: (text) => [...element("pace").options].some(({ value }) => value === text),
    model: (text) => MODELS.some(({ name }) => name === text),
  };
}

function settings() {
  const found = Object.fromEntries(SETTINGS.map((name) => [name, element(name).value]));
  return { ...found, seed: branch().seed, model: here.choice };
}

function set({ seed, model, ...others }) {
  for (const [name, text] of Object.entries(others)) element(name).value = text;
  if (seed !== undefined) setSeed(+seed);
  if (model !== undefined && !here.model) here.choice = model;
}

// The settings of the link that the page was opened with; false if there are none.
function openLink() {
  const { found, bad } = settingsIn(location.hash, allowed());
  if (!bad.length && !Object.keys(found).length) return false;
  set(found);
  const problem = `This page can't use what the link says of ${bad.join(", ")}: the ` +
    "usual values stand there.";
  if (bad.length) say(problem, "error");
  else say("The prompt and the settings are those of the link: Run begins with them.");
  return true;
}

async function copyLink() {
  const link = linkTo(location.href, settings());
  try {
    await navigator.clipboard.writeText(link);
    say("The link is copied: it holds the prompt, the seed and the settings.");
  } catch {
    const field = element("link-text");
    Object.assign(field, { value: link, hidden: false });
    field.select();
    say("This browser lets no page copy for you: the link stands below the prompt.");
  }
}

// A reader who leaves and comes back finds the settings and the text.
function putAway() {
  const what = { settings: settings() };
  const { name, channels, layers } = here.about;
  if (!branch().recorded && here.branches.every(({ node }) => node.logits)) {
    const shapes = layers.map((about) => ({ heads: about?.heads, size: about?.size }));
    const short = (share) => Number(share.toPrecision(4));
    Object.assign(what, {
      about: { name, channels, layers: shapes },
      branches: packed(here.branches),
      current: here.current,
      shares: sharesNow().map((layer) => Array.from(layer, short)),
    });
  }
  keep(what);
}

// False if nothing has been put away, or it is of a site with other models.
function bringBack() {
  const old = kept();
  if (!old) return false;
  const { found } = settingsIn(new URLSearchParams(old.settings).toString(), allowed());
  if (!old.branches || !found.model) {
    set(found);
    return false;
  }
  const { about, current, shares } = old;
  Object.assign(here, { about, current, branches: old.branches });
  weights = { of: branch().node, layers: shares, restUntil: 0 };
  set(found);
  const { length } = branch().node;
  say(`Your text is back, ${length} tokens. The model reads it again as you go on.`);
  return true;
}

// A link that is followed begins anew; who comes back to one goes on.
function begun() {
  const [navigation] = performance.getEntriesByType("navigation");
  if (navigation?.type === "navigate" && openLink()) return true;
  return bringBack() || (navigation?.type !== "navigate" && openLink());
}

// --- the page ---------------------------------------------------------------------

element("start").addEventListener("click", command(startOver, ready));
element("append").addEventListener("click", command(append));
element("run").addEventListener("click", command(run));
element("step").addEventListener("click", command(stepOnce));
element("rewind").addEventListener("click", command(rewind));
element("branch").addEventListener("click", command(split));
element("temperature").addEventListener("input", drawSoon);
element("top-p").addEventListener("input", drawSoon);
element("seed").addEventListener("input", () => {
  checkSeed();
  drawSoon();
});
element("link").addEventListener("click", copyLink);
element("look").addEventListener("input", (event) => look(event.target.value - 1));
element("text").addEventListener("click", ({ target }) => {
  if (target.dataset.place) look(+target.dataset.place);
});
element("text").addEventListener("pointerover", ({ target }) => {
  here.pointed = target.dataset.place ? +target.dataset.place : null;
  drawSoon();
});
element("text").addEventListener("pointerleave", () => {
  here.pointed = null;
  drawSoon();
});
new MutationObserver(drawSoon).observe(document.documentElement, {
  attributeFilter: ["data-theme"],
});

element("absent").remove();
playground.hidden = false;
if (!begun()) {
  say("A recorded text: no model has been fetched yet. Run writes it anew, here.");
}
setUpModels();
setUpLayers();
showWords();
draw();
shade();
addEventListener("hashchange", () => openLink() && drawSoon());
addEventListener("pagehide", putAway);
