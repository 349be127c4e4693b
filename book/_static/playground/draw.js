// Pictures of numbers: grids of colour, and rows of bars.

const FULL = 1.7; // times what is usual: from there on a colour is as strong as it gets

// The number that has the full colour, as it is written beside a picture.
export const fullColour = (usual) => `±${Number((FULL * usual).toPrecision(2))}`;

// Numbers as pixels, from the row `top` and the column `left` of an image on: the
// stronger, the larger a number is against `usual`. colours: RGB below 0 and above.
export function paint(image, top, left, rows, usual, colours) {
  rows.forEach((values, row) =>
    values.forEach((value, column) => {
      const strength = value / usual;
      const at = 4 * ((top + row) * image.width + left + column);
      image.data.set(colours[strength < 0 ? 0 : 1], at);
      image.data[at + 3] = Math.min(255, (255 / FULL) * Math.abs(strength));
    }));
}

export const rootMeanSquare = (values) =>
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
