// The playground: buttons, and what they do to a text. All that can change is in
// `here`; `draw` shows it, and nothing else but `say` writes on the page.

import { WEIGHTS } from "./beside.js";
import { drawBars, LayerPicture, PAST } from "./draw.js";
import { FIRST } from "./first.js";
import { halfLife, listening } from "./listening.js";
import { Model } from "./model.js";
import { chance, choose, distribution } from "./sample.js";
import {
  beginning, bytes, extend, path, shownInText, shownOnOneLine, tokenName,
} from "./text.js";

const LONGEST = 2000; // tokens in a text: rewinding needs every state that has been
const LIKELIEST = 12;
const END_OF_TEXT = 0;

const element = (id) => document.getElementById(`pg-${id}`);
const percent = (share) =>
  share < 1e-4 ? "< 0.01 %" : `${(100 * share).toFixed(share < 0.01 ? 2 : 1)} %`;
const size = (bytes) =>
  bytes < 1e6
    ? `${Math.round(bytes / 1024)} KiB`
    : `${(bytes / 2 ** 20).toFixed(1)} MiB`;

const here = {
  model: null, // and what it said of itself: layers, parameters, readingTime, state
  about: null,
  branches: [recorded()], // each a name, a seed and the last node of its text
  current: 0,
  turn: 0, // goes up with every command: what an older one still does is dropped
  busy: false, // a command is at work, other than writing on and on: no other begins
  running: false,
  looked: null, // place of the token that is looked at; null: the newest one
  pointed: null, // the same, while the mouse rests on it
  arrivals: [], // times of the last tokens that were written in this run
  took: [], // milliseconds of the last steps
};

const branch = () => here.branches[here.current];
const place = () => here.pointed ?? here.looked ?? branch().node.length - 1;

// The text that stands here before a model has been fetched: nodes without states.
function recorded() {
  const node = FIRST.tokens.reduce(
    (last, token, at) => extend(last, token, {}, at >= FIRST.read),
    beginning(null),
  );
  node.logits = FIRST.logits;
  return { name: "A", seed: FIRST.seed, node, recorded: true };
}

function say(sentence, kind = "") {
  element("status").textContent = sentence;
  element("status").dataset.kind = kind;
}

// --- the model --------------------------------------------------------------------

async function ready() {
  if (here.about) return true;
  here.model?.end();
  here.model = new Model((received, total) => {
    const of = total ? ` of ${(total / 1e6).toFixed(1)}` : "";
    say(`Fetching the model: ${(received / 1e6).toFixed(1)}${of} MB`);
  });
  say("Fetching the model …");
  try {
    here.about = await here.model.load(WEIGHTS);
  } catch (error) {
    const reason = error.message || "no reason was given";
    say(
      `The model could not be loaded (${reason}). Check the connection and press ` +
        "the button again; or go on reading, the other pages do without it.",
      "error",
    );
    return false;
  }
  say("");
  setUpPictures();
  return true;
}

// Read one more token at the end of a branch; false if that is no longer wanted.
async function read(token, written, to, turn) {
  const { node } = to;
  const answer = await here.model.step(token, node.state);
  if (turn !== here.turn) return false;
  to.node = extend(node, token, answer, written);
  here.took = [...here.took.slice(-49), answer.milliseconds];
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

// A command stops what is running, and needs the model and a text that has begun.
function command(action, begins = true) {
  return async () => {
    if (here.busy) return;
    const turn = ++here.turn;
    const wasRunning = here.running;
    Object.assign(here, { busy: true, running: false });
    try {
      if (!(await ready())) return;
      if (begins && branch().recorded) await startOver(turn);
      if (turn === here.turn) await action(turn, wasRunning);
    } catch (error) {
      say(`That went wrong: ${error.message}. Start over with the prompt.`, "error");
    } finally {
      if (turn === here.turn) here.busy = false;
      drawSoon();
    }
  };
}

async function startOver(turn) {
  const node = beginning(here.about.state);
  here.branches = [{ name: "A", seed: +element("seed").value, node }];
  here.current = 0;
  here.looked = null;
  return append(turn);
}

async function append(turn) {
  here.looked = null;
  say("Reading …");
  const to = branch();
  const tokens = bytes(element("prompt").value);
  if (!tokens.length && !to.node.length) tokens.push(END_OF_TEXT);
  for (const token of tokens.slice(0, LONGEST - to.node.length)) {
    if (!(await read(token, false, to, turn))) return;
  }
  say(isFull() ? full() : `Read ${tokens.length} tokens.`);
}

const isFull = () => branch().node.length >= LONGEST;
const full = () =>
  `${LONGEST} tokens: this page stops here, because it keeps every state for ` +
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
  here.looked = null;
  say(`Back at ${keep} tokens.`);
}

async function split() {
  const nodes = path(branch().node);
  const node = nodes[here.looked ?? nodes.length - 1];
  const seed = Math.max(...here.branches.map((each) => each.seed)) + 1;
  const name = String.fromCharCode("A".charCodeAt(0) + here.branches.length);
  here.branches.push({ name, seed, node });
  switchTo(here.branches.length - 1);
  say(`Branch ${name} begins here, with seed ${seed}.`);
}

function switchTo(number) {
  here.turn++;
  Object.assign(here, { running: false, busy: false, current: number, looked: null });
  element("seed").value = branch().seed;
  drawSoon();
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
  const isRecorded = Boolean(branch().recorded);
  document.getElementById("playground").dataset.tokens = isRecorded ? 0 : nodes.length;
  if (!nodes.length) return;
  const at = here.looked !== null;
  element("rewind").textContent = at ? "Rewind to here" : "Rewind";
  element("branch").textContent = at ? "Branch here" : "Branch";
  element("rewind").disabled = isRecorded || nodes.length < 2;
  element("append").disabled = element("branch").disabled = isRecorded;
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
    const layers = here.about.layers.map(({ decayRate, bonus }, layer) =>
      listening(nodes.map((node) => node.keys[layer]), decayRate, bonus));
    const restUntil = now + 10 * (performance.now() - now);
    weights = { of: nodes.at(-1), layers, restUntil };
    shade();
  }
  drawShares(nodes);
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
    "Mean over the channels of each layer. A full bar is the whole average, two thirds " +
    "of a bar a tenth of it, one third a hundredth. If all were heard alike, each would " +
    `have ${percent(1 / nodes.length)}.`;
  for (const marked of document.querySelectorAll("#pg-text .pg-looked")) {
    marked.classList.remove("pg-looked");
  }
  if (here.looked !== null || here.pointed !== null) {
    spanOf(at)?.classList.add("pg-looked");
  }
}

let pictures = [];
function drawState(nodes) {
  if (branch().recorded) return;
  const style = getComputedStyle(element("state"));
  const colours = ["--pg-minus", "--pg-plus"].map((name) =>
    style.getPropertyValue(name).match(/\w\w/g).map((digits) => parseInt(digits, 16)));
  const recent = nodes.slice(-PAST);
  pictures.forEach((picture, layer) =>
    picture.draw(recent.map((node) => node.state[layer]), colours));
}

function drawCost(nodes) {
  const { layers, channels } = FIRST;
  const state = 5 * 4 * channels * layers;
  const cache = 2 * 2 * channels * layers * nodes.length;
  const most = Math.max(state, cache);
  drawBars(element("memory"), [
    { name: "state", share: state / most, number: size(state) },
    { name: "KV cache", share: cache / most, number: size(cache), mark: "pg-other" },
  ]);
  element("memory-note").textContent =
    `After ${nodes.length} tokens. The state is 5 arrays × ${channels} channels × ` +
    `${layers} layers × 4 bytes, always. A transformer of this width and depth keeps ` +
    `a key and a value for every token, 2 × ${channels} channels × ${layers} layers ` +
    "× 2 bytes, and reads all of them for the next one.";
  const { arrivals, took } = here;
  const seconds = (arrivals.at(-1) - arrivals[0]) / 1000;
  if (arrivals.length > 2) {
    element("rate").textContent = ((arrivals.length - 1) / seconds).toFixed(1);
  }
  if (!took.length) return;
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
      option = radio("pg-branch-choice", number, () => switchTo(number));
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

function setUpChoice() {
  for (let layer = 0; layer < FIRST.layers; layer++) {
    const option = radio("pg-layer", layer, () => (shade(), drawSoon()));
    option.querySelector("span").textContent = ` layer ${layer}`;
    option.querySelector("input").checked = layer === 0;
    element("layers").append(option);
  }
  element("layers").hidden = false;
}

function setUpPictures() {
  pictures = here.about.layers.map(({ decayRate }, layer) => {
    const lives = Float32Array.from(decayRate, halfLife).sort();
    const [quick, middle, slow] = [0.05, 0.5, 0.95].map((part) => {
      const life = lives[Math.floor(part * lives.length)];
      return life < 10 ? life.toFixed(life < 0.1 ? 2 : 1) : Math.round(life);
    });
    const figure = document.createElement("figure");
    figure.innerHTML = `
      <figcaption>Layer ${layer}</figcaption>
      <div class="pg-strips">
        <div aria-hidden="true"><span>x_time</span><span>num / den</span>
          <span>log den</span><span>x_channel</span><span>num / den, before</span></div>
        <canvas role="img"></canvas>
      </div>
      <p class="pg-axis"><span>half-life ${quick}</span><span>${middle}</span>
        <span>${slow} tokens</span></p>`;
    const canvas = figure.querySelector("canvas");
    canvas.setAttribute(
      "aria-label",
      `State of layer ${layer}: ${decayRate.length} channels as columns of ` +
        `colour, with half-lives from ${quick} to ${slow} tokens. Quick ones flicker ` +
        "from token to token, slow ones stay as they are.",
    );
    element("state").append(figure);
    return new LayerPicture(canvas, decayRate);
  });
}

// --- the page ---------------------------------------------------------------------

element("start").addEventListener("click", command(startOver, false));
element("append").addEventListener("click", command(append));
element("run").addEventListener("click", command(run));
element("step").addEventListener("click", command(stepOnce));
element("rewind").addEventListener("click", command(rewind));
element("branch").addEventListener("click", command(split));
element("temperature").addEventListener("input", drawSoon);
element("top-p").addEventListener("input", drawSoon);
element("seed").addEventListener("input", () => {
  branch().seed = +element("seed").value;
  drawSoon();
});
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
document.getElementById("playground").hidden = false;
setUpChoice();
say("A recorded text: no model has been fetched yet. Run writes it anew, here.");
draw();
shade();
