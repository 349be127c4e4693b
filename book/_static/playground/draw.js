// Pictures of numbers: strips of colour for a state, and rows of bars.

const STRIPS = 4;
const TALL = 8; // rows of pixels for a strip, the last of them empty
export const PAST = 40;

// A layer's state as four strips, and its averages after each of the last tokens below
// them, newest on top. Channels stand from the quickest to forget to the slowest.
export class LayerPicture {
  constructor(canvas, decayRate) {
    this.canvas = canvas;
    this.order = [...decayRate.keys()].sort((a, b) => decayRate[b] - decayRate[a]);
    this.usual = new Array(STRIPS).fill(0);
    canvas.width = decayRate.length;
    canvas.height = TALL * STRIPS + PAST;
  }

  // states: the layer's, after each of the last tokens; colours: RGB below and above 0.
  draw(states, colours) {
    const { width, height } = this.canvas;
    const context = this.canvas.getContext("2d");
    const image = context.createImageData(width, height);
    const paint = (row, values, usual) =>
      this.order.forEach((channel, column) => {
        const strength = values[channel] / usual;
        const [red, green, blue] = colours[strength < 0 ? 0 : 1];
        const at = 4 * (row * width + column);
        image.data[at] = red;
        image.data[at + 1] = green;
        image.data[at + 2] = blue;
        image.data[at + 3] = Math.min(255, 150 * Math.abs(strength));
      });
    strips(states.at(-1)).forEach((values, strip) => {
      this.usual[strip] = Math.max(this.usual[strip], rootMeanSquare(values));
      paint(strip * TALL, values, this.usual[strip]);
      const start = 4 * width * strip * TALL;
      for (let more = 1; more < TALL - 1; more++) {
        image.data.copyWithin(start + 4 * width * more, start, start + 4 * width);
      }
    });
    states.slice(-PAST).reverse().forEach((state, age) =>
      paint(STRIPS * TALL + age, average(state), this.usual[1]));
    context.putImageData(image, 0, 0);
  }
}

// What one can look at in a layer's five arrays: sums say little without their scale.
function strips([xTime, num, den, logScale, xChannel]) {
  const heard = den.map((d, c) => Math.log(d) + logScale[c]);
  return [xTime, average([xTime, num, den]), heard, xChannel];
}

const average = ([, num, den]) => num.map((n, c) => n / den[c]);

const rootMeanSquare = (values) =>
  Math.sqrt(values.reduce((sum, v) => sum + v * v, 0) / values.length);

// Rows of name, bar and number in a list, made once and then only changed.
export function drawBars(list, rows) {
  while (list.children.length < rows.length) list.append(emptyRow());
  [...list.children].forEach((item, place) => {
    const row = rows[place];
    item.hidden = !row;
    if (!row) return;
    const [name, bar, number] = item.children;
    if (name.textContent !== row.name) name.textContent = row.name;
    bar.firstElementChild.style.width = `${100 * Math.max(0, row.share)}%`;
    if (number.textContent !== row.number) number.textContent = row.number;
    item.className = row.mark ?? "";
  });
}

function emptyRow() {
  const item = document.createElement("li");
  item.innerHTML = `<span></span><span aria-hidden="true"><i></i></span><span></span>`;
  return item;
}
