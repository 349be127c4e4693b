// What the page shows of an RWKV-4: strips of colour for its state, and what it costs.

import { fullColour, paint, rootMeanSquare } from "./draw.js";
import { halfLife, listening } from "./listening.js";

const STRIPS = 4;
const TALL = 8; // rows of pixels for a strip, the last of them empty
const PAST = 40;

export const heard = "Mean over the channels of each layer.";

// parts: a layer's, after each token. The share of each token in what the layer hears.
export const listen = (parts, { decayRate, bonus }) =>
  listening(parts.map(({ key }) => key), decayRate, bonus);

// The numbers in a state, and where they come from.
export const stateSize = ({ layers, channels }) => ({
  numbers: 5 * channels * layers.length,
  words: `5 arrays × ${channels} channels × ${layers.length} layers`,
});

// Pictures in `box`, one a layer; `draw` shows the last of these nodes of a text.
export function pictures(box, { layers }) {
  const all = layers.map((about, layer) => new LayerPicture(box, about, layer));
  return {
    draw(nodes, colours) {
      const recent = nodes.slice(-PAST).filter(({ state }) => state);
      all.forEach((picture, layer) =>
        picture.draw(recent.map((node) => node.state[layer]), colours));
    },
  };
}

// A layer's state as four strips, and its averages after each of the last tokens below
// them, newest on top. Channels stand from the quickest to forget to the slowest.
class LayerPicture {
  constructor(box, { decayRate }, layer) {
    this.order = [...decayRate.keys()].sort((a, b) => decayRate[b] - decayRate[a]);
    this.usual = new Array(STRIPS).fill(0);
    const figure = document.createElement("figure");
    const lives = Float32Array.from(decayRate, halfLife).sort();
    const [quick, middle, slow] = [0.05, 0.5, 0.95].map((part) => {
      const life = lives[Math.floor(part * lives.length)];
      return life < 10 ? life.toFixed(life < 0.1 ? 2 : 1) : Math.round(life);
    });
    figure.innerHTML = `
      <figcaption>Layer ${layer}</figcaption>
      <div class="pg-strips">
        <div aria-hidden="true"><span>x_time</span><span>num / den</span>
          <span>log den</span><span>x_channel</span><span>num / den, before</span></div>
        <canvas role="img"></canvas>
        <div class="pg-scales" aria-hidden="true">${"<span></span>".repeat(STRIPS)}</div>
      </div>
      <p class="pg-axis"><span>half-life ${quick}</span><span>${middle}</span>
        <span>${slow} tokens</span></p>`;
    this.canvas = figure.querySelector("canvas");
    this.scales = figure.querySelectorAll(".pg-scales span");
    this.canvas.width = decayRate.length;
    this.canvas.height = TALL * STRIPS + PAST;
    this.canvas.setAttribute(
      "aria-label",
      `State of layer ${layer}: ${decayRate.length} channels as columns of ` +
        `colour, with half-lives from ${quick} to ${slow} tokens. Quick ones flicker ` +
        "from token to token, slow ones stay as they are.",
    );
    box.append(figure);
  }

  // states: the layer's, after each of the last tokens.
  draw(states, colours) {
    const { width, height } = this.canvas;
    const context = this.canvas.getContext("2d");
    const image = context.createImageData(width, height);
    const sorted = (values) => this.order.map((channel) => values[channel]);
    strips(states.at(-1)).forEach((values, strip) => {
      this.usual[strip] = Math.max(this.usual[strip], rootMeanSquare(values));
      const rows = new Array(TALL - 1).fill(sorted(values));
      paint(image, strip * TALL, 0, rows, this.usual[strip], colours);
      this.scales[strip].textContent = fullColour(this.usual[strip]);
    });
    const past = states.map((state) => sorted(average(state))).reverse();
    paint(image, STRIPS * TALL, 0, past, this.usual[1], colours);
    context.putImageData(image, 0, 0);
  }
}

// What one can look at in a layer's five arrays: sums say little without their scale.
function strips([xTime, num, den, logScale, xChannel]) {
  const heard = den.map((d, c) => Math.log(d) + logScale[c]);
  return [xTime, average([xTime, num, den]), heard, xChannel];
}

const average = ([, num, den]) => num.map((n, c) => n / den[c]);
